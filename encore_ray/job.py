"""The job, top to bottom: prepare -> score -> weigh -> compose -> evaluate -> compare, tracked, resumable, shown."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console

from encore_ray.artifacts import Comparison, Metrics
from encore_ray.check.early import refuse_early, refuse_ranges
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import JobConfig
from encore_ray.errors import ConfigError
from encore_ray.passes.compare import Compare
from encore_ray.passes.compose import Compose
from encore_ray.passes.evaluate import Evaluate
from encore_ray.passes.prepare import Prepare
from encore_ray.passes.report import write_report
from encore_ray.passes.score import Score
from encore_ray.passes.scorers.choose import choose_scorer, scorer_facts
from encore_ray.passes.scorers.scoring_cost import without_times
from encore_ray.passes.weigh import Weigh
from encore_ray.redaction import redact
from encore_ray.run import Done, hold_run
from encore_ray.schema import CONFIG_FILE
from encore_ray.storage import Folder
from encore_ray.tracking.run_context import flat_params


@dataclass(frozen=True, repr=False)
class JobResult:
    """What a finished job made.

    Attributes:
        run: the run folder.
        corpus_rows: source rows of all inputs; a trial prepared only some of them.
        prepared: counts of the prepare pass.
        scored: counts of the score pass.
        weights: as weights.json holds them. metrics: as metrics.json, whose further keys are in `metrics.content`.
        comparison: as comparison.json; None where there is no pair to compare schemes on.
        tracking_uri: the MLflow store, or None when the run was not tracked or only journaled.
        left_out: files that could not be read, with the reason, where the job was asked to leave them out.
        done: the passes that were done, by name; none where all of them stood.
        seconds: that all of it took, starts and the wait for MLflow's courier included.
    """

    run: Folder
    corpus_rows: int
    prepared: Mapping[str, int]
    scored: Mapping[str, int]
    weights: Weights
    metrics: Metrics
    comparison: Comparison | None
    tracking_uri: str | None
    left_out: Sequence[str] = ()
    done: Mapping[str, Done] = field(default_factory=dict)
    seconds: float = 0.0

    def __repr__(self) -> str:
        told = "" if self.metrics.overall.accuracy is None else f", accuracy {self.metrics.overall.accuracy:.1%}"
        return f"<job {self.run.uri}: {self.scored['scored']:,} pairs scored{told}>"


def run_job(
    config: JobConfig, *, overwrite: bool = False, limit: int | None = None, console: Console | None = None
) -> JobResult:
    """Run the whole job; the same call again resumes it.

    Args:
        config: the job.
        overwrite: redo what was made from other inputs, models, rules or options, instead of refusing.
        limit: try the job on about so many pairs only.
        console: where a command shows its progress, whose process a hang then ends; None shows nothing and ends none.

    Raises:
        EncoreError: see `encore_ray.errors`; its message says what to do.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit: expected 1 pair or more, found {limit}.")
    began = time.monotonic()
    files = refuse_early(config)
    stored, max_bad_fraction = redact(config.to_yaml()).encode(), config.prepare.max_bad_fraction
    with hold_run(
        Folder(config.run),
        cluster=config.cluster,
        tracking=config.tracking,
        params=flat_params(config),
        overwrite=overwrite,
        console=console,
    ) as run:
        if not run.folder.exists(CONFIG_FILE):
            run.folder.write_atomic(CONFIG_FILE, stored)
        prepare = Prepare(files, config.prepare, limit)
        score = Score(None, max_bad_fraction, scorer_facts(config))
        if not (run.stands(prepare) and run.stands(score)):
            scorer = choose_scorer(config, run)
            refuse_ranges(config, scorer)
            score = replace(score, scorer=scorer)
        prepared = run.do(prepare)
        scored = run.do(score)
        weights = run.do(Weigh(config.weigh))
        run.do(Compose(weights))
        metrics = run.do(Evaluate()).metrics
        comparison = run.do(Compare(config.weigh)) if metrics.overall.num_pairs else None
        run.folder.write_atomic(CONFIG_FILE, stored)
        run.tracker.log_artifact(CONFIG_FILE, stored)
        write_report(run)
        result = JobResult(
            run=run.folder,
            corpus_rows=prepared.corpus_rows,
            prepared=prepared.counts,
            scored=without_times(scored.counts),
            weights=weights,
            metrics=metrics,
            comparison=comparison,
            tracking_uri=run.tracker.uri,
            left_out=prepared.left_out,
            done=run.done,
        )
    return replace(result, seconds=time.monotonic() - began)
