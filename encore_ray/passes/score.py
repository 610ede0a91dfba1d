"""Score: every response of every unit under every rule, by a model or judge on actors, or by ratings in the data."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from encore_ray.composition.measure.binning import choose_binning
from encore_ray.engine.pools import ActorPool, Resources, TaskPool, score_pool, task_pool
from encore_ray.engine.run_units import Watch, ignore_progress, run_committed
from encore_ray.engine.unit_work import Write, unit_task
from encore_ray.engine.visible import Visible
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.commits import Commit, total_counts
from encore_ray.folder.pass_table import PassTable, check_bad_fraction
from encore_ray.folder.tables import TableUnit, table_units
from encore_ray.passes.scorers.api_forward import unit_by_api
from encore_ray.passes.scorers.api_judge import POOL, ApiJudge
from encore_ray.passes.scorers.data_ratings import FACTS, unit_by_ratings
from encore_ray.passes.scorers.model_forward import score_writer, unit_by_model
from encore_ray.passes.scorers.outputs import OutputWriter
from encore_ray.passes.scorers.planned_model import PlannedModel, ScoringModel
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.rules import RuleSet

logger = logging.getLogger("encore_ray")

# Units looked at before saying that scores leave their scale: enough to be typical, few enough to stop in time.
FIRST_UNITS = 4


def score_pairs(
    pairs: str,
    output: PassTable,
    *,
    model: ScoringModel,
    max_bad_fraction: float,
    have: Resources,
    embeddings: PassTable | None = None,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Score all units of pairs/ with a model; resumable.

    Args:
        embeddings: after `open_embeddings`: where the embeddings of the units that are scored go.

    Returns:
        Counts: rows, scored, quarantined, truncated, and those of Effort.

    Raises:
        ResumeRefused: the folder holds scores of another model, rule set or option.
    """
    output = output.open(model.decisive_facts, overwrite=overwrite)
    return _run(
        pairs,
        output,
        partial(unit_by_model, model, score_writer(model, embeddings)),
        rules=model.rules,
        pool=lambda num_units: score_pool(model.options, have, num_units=num_units),
        max_bad_fraction=max_bad_fraction,
        visible=visible,
        overwrite=overwrite,
        watch=watch,
    )


def rules_of_ratings(rated: Sequence[str], rules: RuleSet | None) -> RuleSet:
    """The rules of a corpus that brings its own ratings, once it is certain that they are the same.

    Raises:
        ConfigError: no ratings, or no rules. DataError: a rule without ratings.
    """
    if not rated:
        raise ConfigError(
            "The job names no model, and the data carries no ratings (chosen__<rule> columns). Set `model` or `judge`."
        )
    if rules is None:
        raise ConfigError(
            f"The data carries ratings of {', '.join(rated)}: name a rules.yaml with `rules` that says which "
            "direction is better and on which scale."
        )
    missing = [name for name in rules.names if name not in rated]
    if missing:
        raise DataError(f"The data has no ratings of {', '.join(missing)}; it has {', '.join(rated)}.")
    return rules


def take_ratings(
    pairs: str,
    output: PassTable,
    *,
    rules: RuleSet,
    max_bad_fraction: float,
    have: Resources,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Make scores/ from ratings that the corpus brought along; no model is needed. Counts as `score_pairs`."""
    output = output.open({**FACTS, "rules": rules.scoring_fingerprint}, overwrite=overwrite)
    return _run(
        pairs,
        output,
        partial(unit_by_ratings, rules),
        rules=rules,
        pool=lambda num_units: task_pool(have),
        max_bad_fraction=max_bad_fraction,
        visible=visible,
        overwrite=overwrite,
        watch=watch,
    )


def rate_pairs(
    pairs: str,
    output: PassTable,
    *,
    judge: ApiJudge,
    max_bad_fraction: float,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Rate all units of pairs/ by a judge behind an API; resumable.

    Returns:
        Counts: rows, scored, quarantined, requests, known_answers.

    Raises:
        ResumeRefused: the folder holds scores of another judge, rule set or option.
    """
    output = output.open({**judge.facts, "rules": judge.rules.scoring_fingerprint}, overwrite=overwrite)
    return _run(
        pairs,
        output,
        partial(unit_by_api, judge, ScoreWriter(judge.rules)),
        rules=judge.rules,
        pool=lambda num_units: POOL,
        max_bad_fraction=max_bad_fraction,
        visible=visible,
        overwrite=overwrite,
        watch=watch,
    )


def _run(
    pairs: str,
    output: PassTable,
    factory: Callable[[], Write],
    *,
    rules: RuleSet,
    pool: Callable[[int], ActorPool | TaskPool],
    max_bad_fraction: float,
    visible: Visible | None,
    overwrite: bool,
    watch: Watch,
) -> dict[str, int]:
    units = table_units(pairs)
    seen: list[Commit] = []

    def look(commit: Commit) -> None:
        seen.append(commit)
        if len(seen) == min(FIRST_UNITS, len(units)):
            for warning in range_warnings(rules, [commit.notes for commit in seen]):
                logger.warning("%s", warning)

    return finish_scored(
        units,
        output,
        factory,
        pool=pool,
        max_bad_fraction=max_bad_fraction,
        visible=visible,
        overwrite=overwrite,
        watch=watch,
        on_commit=look,
    )


def run_by_model(
    pairs: str,
    output: PassTable,
    writer: OutputWriter,
    *,
    model: PlannedModel,
    max_bad_fraction: float,
    have: Resources,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Do all units of pairs/ on a model's actors, each written by `writer`; resumable.

    Returns:
        Counts: rows, scored, quarantined, truncated, and those of Effort.

    Raises:
        ResumeRefused: the folder holds what another model or option has made.
    """
    output = output.open(model.decisive_facts, overwrite=overwrite)
    how = {"max_bad_fraction": max_bad_fraction, "visible": visible, "overwrite": overwrite, "watch": watch}
    return finish_by_model(pairs, output, partial(unit_by_model, model, writer), model=model, have=have, **how)


def finish_by_model(
    pairs: str, output: PassTable, factory: Callable[[], Write], *, model: PlannedModel, have: Resources, **how: Any
) -> dict[str, int]:
    """Finish an opened pass over pairs/ on a model's actors; `how` and counts as of `finish_scored`."""
    units = table_units(pairs)
    return finish_scored(
        units, output, factory, pool=lambda num_units: score_pool(model.options, have, num_units=num_units), **how
    )


def finish_scored(
    units: Sequence[TableUnit],
    output: PassTable,
    factory: Callable[[], Write],
    *,
    pool: Callable[[int], ActorPool | TaskPool],
    max_bad_fraction: float,
    visible: Visible | None,
    overwrite: bool,
    watch: Watch,
    on_commit: Callable[[Commit], None] = lambda commit: None,
) -> dict[str, int]:
    """Finish an opened pass whose units count scored and quarantined rows, check the account, and seal it."""
    tasks = [unit_task(unit) for unit in units]
    commits = run_committed(
        output,
        tasks,
        factory,
        pool=pool,
        visible=visible,
        watch=watch,
        overwrite=overwrite,
        leaves_out=True,
        on_commit=on_commit,
    )
    counts = total_counts(commits.values())
    rows_in = sum(unit.rows for unit in units)
    assert counts["scored"] + counts["quarantined"] == rows_in, (counts, rows_in)
    check_bad_fraction(counts, max_bad_fraction, output)
    output.seal([task.unit for task in tasks], commits, counts)
    return counts


def range_warnings(rules: RuleSet, notes: list[Any]) -> list[str]:
    """A sentence for each rule whose scores leave its declared scale, with the line of rules.yaml that would fit."""
    warnings = []
    for k, rule in enumerate(rules):
        lows = [note["low"][k] for note in notes if note["low"][k] is not None]
        highs = [note["high"][k] for note in notes if note["high"][k] is not None]
        if rule.out_of_range == "clip" or not lows:
            continue
        low, high = min(lows), max(highs)
        if choose_binning(rule).outside(np.array([low, high])).any():
            fitting = f"`scale: {{lo: {_outward(low, -1):g}, hi: {_outward(high, 1):g}}}` or "
            warnings.append(
                f"Rule {rule.name}: scores from {low:.6g} to {high:.6g} in the first units leave its scale of "
                f"{rule.scale.lo:g} to {rule.scale.hi:g}. In rules.yaml write {fitting if low < high else ''}"
                "`out_of_range: clip`; the scores are kept, only weigh stops at them."
            )
    return warnings


def _outward(value: float, direction: int) -> float:
    """The value with two significant digits, rounded away from the range's middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return (math.floor if direction < 0 else math.ceil)(value / step) * step
