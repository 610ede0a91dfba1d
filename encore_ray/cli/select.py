"""The command that chooses the rules which each pair deserves."""

from dataclasses import dataclass
from typing import Annotated, Literal

from rich.console import Console

from encore_ray.cli.flags import Path, Switch, flag, section_flags
from encore_ray.cli.passes import open_command_job
from encore_ray.config import ClusterOptions
from encore_ray.errors import ConfigError
from encore_ray.schema import SCORES_DIR
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Select:
    """Choose the rules that each pair deserves, and label it by what they say (RuleAdapter).

    They are those whose scores tell its two responses most apart.

    Ties stay ties. `compare` then shows what the selected rules get right.
    """

    run: Path
    """Run folder, after `score` or `rate`."""
    num_rules: Annotated[int, flag("R")] = 5
    """Rules a pair: just so many are selected, equal ones by rule order."""
    score_range: Annotated[Literal["declared", "unit", "raw"], flag()] = "declared"
    """Rules of different range: declared refuses, unit maps to [0, 1], raw mixes."""
    overwrite: Switch = False
    """Start over where scores, rules or options have changed, instead of refusing."""
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        if self.num_rules < 1:
            raise ConfigError(f"--num-rules {self.num_rules}: expected 1 or more.")
        require_paths([Folder(absolute(self.run)).path(SCORES_DIR)])
        from encore_ray.passes.select import Selecting
        from encore_ray.terminal import show_counts

        how = Selecting(self.num_rules, self.score_range, by_adapter=False)
        with open_command_job(self, console, params=vars(how)) as job:
            job.see()
            counts = job.select(how)
        show_counts(counts, console=console)
