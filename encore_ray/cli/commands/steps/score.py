"""The score command: scores by a reward model."""

from dataclasses import dataclass, field
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    OptionalPathFlag,
    PathFlag,
    Switch,
    check_max_bad_fraction,
    default_bad_fraction,
    flag,
    section_flags,
)
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, ScoreOptions
from encore_ray.config.sources import read_rules, resolve_model
from encore_ray.console.ending import Ending
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score all pairs of a run under the rules of a multi-head model, on the whole cluster.

    Example: encore-ray score --run runs/first --model owner/model
    """

    run: PathFlag
    """Run folder, after `prepare`."""
    model: Annotated[str, flag("PATH_OR_HUB_ID")]
    """Folder or hub id of the model."""
    rules: OptionalPathFlag = None
    """rules.yaml, instead of the one that comes with the model."""
    max_bad_fraction: float = field(default_factory=default_bad_fraction)
    """Share of pairs without finite scores past which the pass fails."""
    overwrite: Switch = False
    """Start over where the model, its rules or options have changed, instead of refusing."""
    options: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import PAIRS_DIR

        check_max_bad_fraction(self.max_bad_fraction)
        path = resolve_model(self.model)
        require_paths([Folder(absolute(self.run)).path(PAIRS_DIR), path])
        from encore_ray.cli.command import open_command
        from encore_ray.console.scored import end_scored
        from encore_ray.folder.spec import SCORE
        from encore_ray.passes.score import Score as ScorePass
        from encore_ray.passes.scorers.by_model import score_by_model
        from encore_ray.passes.scorers.model.plan import plan_model

        rules = read_rules(absolute(self.rules)) if self.rules else None
        with open_command(
            absolute(self.run),
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params={"model": path},
        ) as run:
            model = plan_model(path, self.options, resources=run.resources_for(SCORE), rules=rules)
            scored = run.do(ScorePass(score_by_model(model), self.max_bad_fraction))
        return end_scored("scored", self.run, scored, console=console)
