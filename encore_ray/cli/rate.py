"""The command that makes scores of a language model's answers."""

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import OptionalPath, Path, Switch, flag, section_flags
from encore_ray.cli.passes import open_command_job
from encore_ray.config import ClusterOptions, ScoreOptions
from encore_ray.config_sources import read_rules, resolve_model
from encore_ray.rules import rule_pool
from encore_ray.schema import PAIRS_DIR
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Rate all pairs of a run under rules by a judge: any causal language model, on the whole cluster.

    Each rule is a question behind the conversation, which is computed once for all of them.

    Ratings are P(Yes) - P(No), or the expected level of a rule that has levels.

    They are the run's scores: `weigh`, `compose` and `compare` go on from them.
    """

    run: Path
    """Run folder, after `prepare`."""
    judge: Annotated[str, flag("PATH_OR_HUB_ID")]
    """Folder or hub id of the language model."""
    rules: OptionalPath = None
    """rules.yaml. Default: the ten rules of `encore-ray rules`."""
    max_bad_fraction: float = 0.01
    """Share of pairs without finite ratings past which the pass fails."""
    overwrite: Switch = False
    """Start over where the judge, its rules or options have changed, instead of refusing."""
    options: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        path = resolve_model(self.judge)
        require_paths([Folder(absolute(self.run)).path(PAIRS_DIR), path])
        from encore_ray.passes.model_plan import plan_judge
        from encore_ray.terminal import show_counts

        rules = read_rules(absolute(self.rules)) if self.rules else rule_pool()
        with open_command_job(self, console, params={"judge": path}) as job:
            model = plan_judge(path, self.options, have=job.have, rules=rules)
            job.see(model_path=path)
            counts = job.score(model, max_bad_fraction=self.max_bad_fraction)
        show_counts(counts, console=console)
