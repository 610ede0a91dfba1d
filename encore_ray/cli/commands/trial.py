"""A trial: the whole job on a few pairs, then what the whole corpus will take."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.config import JobConfig
from encore_ray.console.show import show_job
from encore_ray.engine.display import duration
from encore_ray.folder.status import run_status
from encore_ray.job import JobResult, run_job


@dataclass(frozen=True)
class Estimate:
    """What scoring the whole corpus will take, from a trial on the same cluster.

    Attributes:
        trial_pairs, corpus_rows: size of the trial and of the whole.
        rows_per_second: of the score pass in the trial, start-up left out; None if it had too few units to tell.
        cost_per_hour: of the cluster, as configured.
    """

    trial_pairs: int
    corpus_rows: int
    rows_per_second: float | None
    cost_per_hour: float | None

    @property
    def seconds(self) -> float | None:
        return self.corpus_rows / self.rows_per_second if self.rows_per_second else None

    def __str__(self) -> str:
        if self.seconds is None:
            return f"The trial was too short to measure a rate: try a larger --limit than {self.trial_pairs}."
        text = (
            f"Measured: {self.rows_per_second:,.1f} pairs/s on {self.trial_pairs:,} pairs. "
            f"The whole corpus, {self.corpus_rows:,} rows, will take about {duration(self.seconds)}"
        )
        if self.cost_per_hour is None:
            return f"{text}. Set cost_per_hour to see the price."
        return f"{text} and cost about {self.seconds / 3600 * self.cost_per_hour:,.2f}."


def run_trial(config: JobConfig, *, limit: int, console: Console) -> Estimate:
    """Run the job on about `limit` pairs in a folder of its own beside the run folder, and print the estimate."""
    trial = config.model_copy(update={"run": f"{config.run.rstrip('/')}-trial-{limit}"})
    result = run_job(trial, overwrite=True, limit=limit, console=console)
    show_job(result, console=console)
    found = estimate_whole(result, cost_per_hour=config.cost_per_hour)
    console.print(f"\n{found}", soft_wrap=True)
    return found


def estimate_whole(result: JobResult, *, cost_per_hour: float | None) -> Estimate:
    """What the whole will take, from a finished trial's commits."""
    score = next(status for status in run_status(result.run) if status.name == "score")
    return Estimate(result.scored["rows"], result.corpus_rows, score.rows_per_second, cost_per_hour)
