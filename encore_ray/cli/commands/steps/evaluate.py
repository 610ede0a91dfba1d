"""The evaluate command: how often rewards agree with labels."""

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    OptionalPathFlag,
    section_flags,
)
from encore_ray.cli.scores import ScoreColumnFlags, open_rewards
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions
from encore_ray.console.ending import Ending, next_step
from encore_ray.console.steps import export_step
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Count how often the composed reward agrees with the human label, in all and per subset.

    Example: encore-ray evaluate --run runs/first
    """

    run: OptionalPathFlag = None
    """Run folder, after `compose`. Or give --rewards and --output."""
    rewards: OptionalPathFlag = None
    """Folder of rewards, or a table of them from elsewhere: Parquet, CSV, TSV, Arrow or JSONL."""
    weights: OptionalPathFlag = None
    """weights.json of rewards from elsewhere. Default: the one beside them."""
    output: OptionalPathFlag = None
    """Folder for metrics.json and report/. Default: the run folder."""
    columns: ScoreColumnFlags
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.cli.command import explicit_paths, open_command, refuse_over_inputs, require_made
        from encore_ray.schema import METRICS_FILE, REPORT_DIR, REWARDS_DIR

        rewards, output = explicit_paths("evaluate", run=self.run, output=self.output, inputs={"rewards": self.rewards})
        if self.run:
            require_made(Folder(absolute(self.run)).path(REWARDS_DIR), "compose", "--run", self.run)
        weights = absolute(self.weights) if self.weights else None
        require_paths([rewards, weights])
        if output is not None:
            made = [Folder(output).path(name) for name in (METRICS_FILE, REPORT_DIR)]
            refuse_over_inputs(made, {"rewards": rewards, "weights": weights}, instead="evaluation")
        from encore_ray.console.sentences import tell_metrics
        from encore_ray.console.show import show_metrics
        from encore_ray.passes.evaluate import Evaluate as EvaluatePass
        from encore_ray.passes.report import write_report

        folder = output or absolute(self.run or "")
        with open_command(folder, cluster=self.cluster, console=console, journal=output is None) as run:
            with open_rewards(run, rewards, self.columns, self.weights) as table:
                made = run.do(EvaluatePass(table))
            write_report(run, weights=made.weights if rewards else None)
        show_metrics(made.metrics, console=console)
        steps = [
            next_step("look at all figures again", "inspect", Folder(self.output or self.run or "").path(METRICS_FILE)),
            next_step("see all of it in the browser", "report", self.output or self.run or "", "--open"),
        ]
        if self.run:
            steps = [
                next_step("see whether another weighting is better on these pairs", "compare", "--run", self.run),
                export_step(self.run),
            ]
        return Ending(tell_metrics(made.metrics, str(self.output or self.run)), steps, made.metrics.content)
