"""What a run was made with that flags say and its file does not, and what the file by itself would then do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from encore_ray.config import SECTIONS, JobConfig
from encore_ray.config.sources import load_config
from encore_ray.errors import ConfigError
from encore_ray.passes.compare import Compare
from encore_ray.passes.weigh import Weigh
from encore_ray.run import look_at_run
from encore_ray.shell import near
from encore_ray.storage import Folder

_OTHERWISE = "makes other results, or is refused"
_DECIDE_NOTHING = frozenset({"run", "cluster", "tracking", "cost_per_hour"})  # of the results


@dataclass(frozen=True)
class Unsaid:
    """Options that a file does not have.

    Attributes:
        lines: of YAML, that say them.
        alone: what a run of the file by itself does, as a predicate.
    """

    lines: tuple[str, ...]
    alone: str


def find_unsaid(file: str, made: JobConfig, flags: Mapping[str, Any]) -> Unsaid | None:
    """What a finished run was made with that its file does not say; None where that is nothing.

    Args:
        file: of the job.
        made: what it was made with.
        flags: what was put over the file, as of `load_config`.
    """
    try:
        plain = load_config(file)
    except ConfigError:  # it is no whole job without the flags
        plain = None
    has = plain.model_dump(mode="json") if plain else {}
    was = made.model_dump(mode="json", exclude_none=True)
    options: dict[str, Any] = {}
    for name, value in flags.items():
        if name in _DECIDE_NOTHING:
            continue
        if name not in SECTIONS:
            options |= {name: was.get(name)} if has.get(name) != was.get(name) else {}
            continue
        own = {option: was[name].get(option) for option in value}
        differ = {option: each for option, each in own.items() if has.get(name, {}).get(option) != each}
        options |= {name: differ} if differ else {}
    if not options:
        return None
    lines = yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=1 << 20).splitlines()
    if plain is None:
        alone = "is refused, since it is no whole job"
    elif plain.run != made.run:
        alone = f"works in {near(plain.run)}"
    else:
        alone = _alone(plain) if set(options) == {"weigh"} else _OTHERWISE
    return Unsaid(tuple(lines), alone)


def _alone(plain: JobConfig) -> str:
    """What a run of a file does that weighs otherwise, and is the same in all else."""
    run = look_at_run(Folder(plain.run))
    try:
        stands = all(run.stands(step) for step in (Weigh(plain.weigh), Compare(plain.weigh)))
    except ConfigError:
        return "is refused"
    return "finds all of it done" if stands else _OTHERWISE
