"""What commands that do passes share: the run that they open, what they are told to read, and where they write."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console

from encore_ray.config import ClusterOptions, Section, TrackingOptions
from encore_ray.config.sources import options_of_run, section_defaults
from encore_ray.errors import ConfigError
from encore_ray.run import Run, hold_run
from encore_ray.schema import REWARDS_DIR, WEIGHTS_FILE
from encore_ray.shell import again, command, near, to_paste
from encore_ray.storage import Folder, absolute, is_remote, require_paths


def open_command(
    folder: str,
    *,
    cluster: ClusterOptions,
    console: Console,
    overwrite: bool = False,
    options: Section | None = None,
    params: Mapping[str, Any] | None = None,
    journal: bool = True,
) -> AbstractContextManager[Run]:
    """The run of a single command.

    Args:
        folder: its run folder, or the folder of its explicit output.
        cluster: section of the command.
        console: where progress goes.
        overwrite: redo what was made from other inputs or options.
        options: section of the pass, tracked with `params`.
        journal: whether `folder` is a run folder, whose own options say where it is tracked.
    """
    of_run = options_of_run(TrackingOptions, Folder(folder)) if journal else {}
    return hold_run(
        Folder(folder),
        cluster=cluster,
        tracking=section_defaults(TrackingOptions, run=of_run),
        params={**(params or {}), **(options.model_dump(mode="json") if options else {})},
        overwrite=overwrite,
        console=console,
        journal=journal,
    )


def require_made(path: str, *words: str, beside: Sequence[str | None] = ()) -> None:
    """ConfigError where a file or folder is not there, with the command that makes it.

    Args:
        beside: paths that the command reads; those that are not there are named with it, and nothing makes it then.
    """
    require_paths([*beside, path] if any(each and not Folder(each).exists() for each in beside) else [])
    if not Folder(path).exists():
        raise ConfigError(f"No such file or folder: {path}. First:\n  {command('encore-ray', *words)}")


# What the explicit paths of a command are called where a person has yet to choose a name.
_USUAL = {
    "weigh": {"scores": "SCORES", "output": WEIGHTS_FILE},
    "compose": {"scores": "SCORES", "weights": WEIGHTS_FILE, "output": REWARDS_DIR},
    "evaluate": {"rewards": REWARDS_DIR, "output": "evaluation"},
    "compare": {"scores": "SCORES", "output": "comparison"},
}


def explicit_paths(
    command: str, *, run: str | None, output: str | None, inputs: Mapping[str, str | None]
) -> tuple[str | None, str | None]:
    """The input table and the output of a command that takes --run or explicit paths; both None with --run.

    Args:
        command: its name, for messages.
        inputs: flags that it needs without --run, the table first.
    """
    table = next(iter(inputs))
    if run is None and (output is None or None in inputs.values()):
        asked = {**_USUAL[command], **inputs, "output": output}
        missing = {name: _USUAL[command][name] for name, value in asked.items() if value is None}
        needs = f"{command} needs --run, or {', '.join(f'--{flag}' for flag in inputs)} and --output"
        raise ConfigError(f"{needs}:\n  {again(run='RUN') if len(missing) == len(asked) else again(**missing)}")
    if run is not None and (inputs[table] or output):
        raise ConfigError(f"{command} takes --run, or --{table} with --output, not both.")
    found = inputs[table]
    return (absolute(found) if found else None), (absolute(output) if output else None)


def refuse_over_inputs(outputs: Iterable[str], inputs: Mapping[str, str | None], *, instead: str) -> None:
    """ConfigError where what a command would write is what it reads, lies in it, or has it within.

    Args:
        outputs: absolute paths of the files and folders that it writes.
        inputs: absolute paths of what it reads, by their flags.
        instead: what --output could be, to paste.
    """
    for output in outputs:
        for flag, read in inputs.items():
            if read is None or not (how := _how_it_lies(_real(output), _real(read))):
                continue
            raise ConfigError(
                f"{near(output)}, which this command would write, {how} --{flag} {near(read)}, which it reads. Have "
                f"the results elsewhere{to_paste(output=instead)}"
            )


def _how_it_lies(output: str, read: str) -> str | None:
    if output == read or _is_one_file(output, read):
        return "is"
    if output.startswith(f"{read.rstrip('/')}/"):
        return "lies in"
    return "would replace" if read.startswith(f"{output}/") else None


def _is_one_file(*paths: str) -> bool:
    """Whether both are there and one and the same, as by a hard link."""
    return not any(map(is_remote, paths)) and all(map(os.path.exists, paths)) and os.path.samefile(*paths)


def _real(path: str) -> str:
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)
