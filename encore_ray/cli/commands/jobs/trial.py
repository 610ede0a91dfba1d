"""A trial: the whole job on a few pairs, then what the whole corpus will take."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.config import JobConfig
from encore_ray.console.ending import Ending, next_step
from encore_ray.console.job import job_content, job_warnings
from encore_ray.console.show import show_job
from encore_ray.engine.display import duration
from encore_ray.engine.engines import NUMBERS_PER_S
from encore_ray.folder.spec import PREPARE, SCORE
from encore_ray.folder.status import run_status
from encore_ray.job import JobResult, run_job
from encore_ray.shell import near


@dataclass(frozen=True)
class Estimate:
    """What the whole corpus will take, from a trial on the same cluster.

    Attributes:
        trial_pairs, corpus_rows: size of the trial and of the whole.
        rows_per_second: of the score pass in the trial, start-up left out; None if it had too few units to tell.
        trial_s: seconds that the trial took, all starts included; None where its scores stood already.
        other_s: seconds that the passes without a model will take for the rows that the trial had not.
        cost_per_hour: of the cluster, as configured.
    """

    trial_pairs: int
    corpus_rows: int
    rows_per_second: float | None
    trial_s: float | None
    other_s: float
    cost_per_hour: float | None

    @property
    def scoring_s(self) -> float | None:
        """Seconds that the scores of the other rows will take."""
        if not self.rows_per_second:
            return None
        return max(self.corpus_rows - self.trial_pairs, 0) / self.rows_per_second

    @property
    def seconds(self) -> float | None:
        if self.scoring_s is None:
            return None
        return (self.trial_s or 0.0) + self.scoring_s + self.other_s

    def __str__(self) -> str:
        if self.seconds is None or self.scoring_s is None:
            return f"The trial was too short to measure a rate: try a larger --limit than {self.trial_pairs}."
        parts = [f"{duration(self.scoring_s)} to score the rest", f"{duration(self.other_s)} for its other passes"]
        if self.trial_s is not None:
            parts.insert(0, f"{duration(self.trial_s)} as the trial, starts included")
        text = (
            f"Measured: {self.rows_per_second:,.1f} pairs/s scored on {self.trial_pairs:,} pairs. "
            f"The whole corpus, {self.corpus_rows:,} rows, will take about {duration(self.seconds)} "
            f"({', '.join(parts)}{'' if self.trial_s is not None else '; starts come on top'})"
        )
        if self.cost_per_hour is None:
            return f"{text}. Set cost_per_hour to see the price."
        return f"{text} and cost about {self.seconds / 3600 * self.cost_per_hour:,.2f}."


def run_trial(config: JobConfig, *, limit: int, overwrite: bool, console: Console) -> tuple[JobResult, Estimate]:
    """Run the job on about `limit` pairs in a folder of its own beside the run folder, and estimate the whole.

    Raises:
        ResumeRefused: a trial of as many pairs was made by other options, and is not to be overwritten.
    """
    trial = config.model_copy(update={"run": f"{config.run.rstrip('/')}-trial-{limit}"})
    result = run_job(trial, overwrite=overwrite, limit=limit, console=console)
    show_job(result, console=console)
    return result, estimate_whole(result, cost_per_hour=config.cost_per_hour)


def trial_ending(result: JobResult, estimate: Estimate, *, whole: list[str]) -> Ending:
    """What a trial ends with.

    Args:
        whole: the words of the command that runs the whole job.
    """
    content = {"estimate": {**vars(estimate), "seconds": estimate.seconds}, "trial": job_content(result)}
    return Ending(
        str(estimate),
        [next_step("run the whole", *whole), next_step("look at the trial", "inspect", near(result.run.uri))],
        content,
        warnings=job_warnings(result),
    )


def estimate_whole(result: JobResult, *, cost_per_hour: float | None) -> Estimate:
    """What the whole will take, from a finished trial's commits and times.

    Passes without a model take what they took for the few pairs, and more by the numbers that they will read beyond.
    Preparing has looked at the whole corpus already, and converts the rest of it.
    """
    score = next(status for status in run_status(result.run) if status.name == SCORE.name)
    rows = result.scored["rows"]
    rest = max(result.corpus_rows - rows, 0)
    numbers = {name: done.numbers or 0 for name, done in result.done.items()}
    numbers.pop(SCORE.name, None)  # counted by its rate
    read = numbers.pop(PREPARE.name, 0) * rest / max(result.corpus_rows, 1)
    read += sum(numbers.values()) * rest / max(rows, 1)
    return Estimate(
        trial_pairs=rows,
        corpus_rows=result.corpus_rows,
        rows_per_second=score.rows_per_second,
        trial_s=result.seconds if SCORE.name in result.done else None,
        other_s=read / NUMBERS_PER_S,
        cost_per_hour=cost_per_hour,
    )
