"""Evaluate: how often the composed reward agrees with the human label, in all and per subset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.composition.evaluate.evaluation import RewardStatistics
from encore_ray.composition.evaluate.margins import margin_reach
from encore_ray.composition.evaluate.rewardbench2 import Responses
from encore_ray.composition.weigh.rewards import margin_tolerance
from encore_ray.errors import DataError
from encore_ray.folder.composed import composed_weights
from encore_ray.folder.protocol.versions import code_digest
from encore_ray.folder.reading.columns import first_texts, holds_numbers, holds_texts, subsets
from encore_ray.folder.reading.score_block import resampling_keys
from encore_ray.folder.reading.tables import TableUnit, count_numbers, table_units
from encore_ray.folder.reading.vetoes import VETOES, read_vetoes
from encore_ray.folder.spec import EVALUATE
from encore_ray.passes.option_facts import table_digest
from encore_ray.passes.repeats import refuse_foreign_repeats
from encore_ray.report.figure import evaluation_figure
from encore_ray.report.tables.summary import summary
from encore_ray.run import Run
from encore_ray.schema import (
    CHOSEN_CHARS,
    CHOSEN_RESPONSE_ID,
    CHOSEN_REWARD,
    CHOSEN_TOKENS,
    FIGURE_FILE,
    GROUP_ID,
    MARGIN,
    PAIR_ID,
    PROMPT_ID,
    REJECTED_CHARS,
    REJECTED_RESPONSE_ID,
    REJECTED_REWARD,
    REJECTED_TOKENS,
    REWARDS_DIR,
    SUBSET,
)
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, fingerprint

UNITS = "units"  # what is kept of an evaluation beside its files
LENGTHS = (CHOSEN_TOKENS, REJECTED_TOKENS, CHOSEN_CHARS, REJECTED_CHARS)
RESPONSES = (CHOSEN_RESPONSE_ID, REJECTED_RESPONSE_ID, CHOSEN_REWARD, REJECTED_REWARD)


@dataclass(frozen=True)
class Evaluation:
    """What a pass of evaluation made: metrics.json, the weights that it is of, and their figure.

    Attributes:
        units: of the rewards, in which the examples of the metrics lie, by pair_id.
    """

    metrics: Metrics
    weights: WeightsFile
    figure: bytes
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluate(Step[Evaluation]):
    """Write metrics.json and its figure from a rewards folder.

    Attributes:
        rewards: folder written by `compose`, with its copy of weights.json; None for the run's.
    """

    spec = EVALUATE
    rewards: str | None = None

    def numbers(self, run: Run) -> int:
        return count_numbers(self.rewards or run.path(REWARDS_DIR))

    def facts(self, run: Run) -> dict[str, Any] | None:
        if self.rewards is not None:
            return None
        rewards = run.folder.child(REWARDS_DIR)
        weights = composed_weights(rewards)  # whose figures stand in metrics.json
        return {
            "rewards": table_digest(rewards.uri),
            "weights": fingerprint(weights.to_dict()),
            "code": code_digest(),
        }

    def made_files(self, run: Run) -> Sequence[str]:
        return [*self.spec.end_files, FIGURE_FILE]

    def standing(self, run: Run, kept: Any) -> Evaluation:
        weights = WeightsFile.of_weights(composed_weights(run.folder.child(REWARDS_DIR)))
        return Evaluation(Metrics.read(run.folder), weights, run.folder.read_bytes(FIGURE_FILE), kept[UNITS])

    def kept(self, made: Evaluation) -> Any:
        return {UNITS: dict(made.units)}

    def __call__(self, run: Run) -> Evaluation:
        rewards = self.rewards or run.path(REWARDS_DIR)
        units = table_units(rewards)
        if not units:
            raise DataError(f"{rewards} holds no rewards: there is nothing to evaluate.")
        refuse_foreign_repeats(units, run.reducer)
        weights = composed_weights(Folder(rewards))
        measure = partial(_Measure, margin_tolerance(weights), margin_reach(weights), weights.hard_rules)
        statistics: RewardStatistics = run.reducer.total("evaluate", measure, units)
        metrics = Metrics.of(statistics.metrics(entropy_accuracy=weights.entropy_accuracy))
        metrics.write(run.folder)
        weighed = WeightsFile.of_weights(weights)
        figure = evaluation_figure(metrics, weighed)
        run.folder.write_atomic(FIGURE_FILE, figure)
        examples = statistics.examples
        found = (*examples.losses, *examples.wins) if examples else ()
        return Evaluation(metrics, weighed, figure, {each.pair_id: each.unit for each in found})

    def record(self, made: Evaluation) -> Record:
        return Record(
            job_metrics=made.metrics.figures(),
            job_artifacts={Metrics.FILE: made.metrics.to_json(), FIGURE_FILE: made.figure},
            job_tags={"mlflow.note.content": summary(made.metrics, made.weights)},
        )


class _Measure:
    """Statistics of one unit of rewards: runs in a worker."""

    def __init__(self, tolerance: float, reach: float, hard_rules: Sequence[str]):
        self._tolerance, self._reach, self._hard_rules = tolerance, reach, hard_rules

    def __call__(self, unit: TableUnit) -> RewardStatistics:
        table = unit.read([PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET, MARGIN, *LENGTHS, *RESPONSES, *VETOES])
        column = table.column(SUBSET)
        return RewardStatistics.measure(
            _floats(table, MARGIN),
            tolerance=self._tolerance,
            reach=self._reach,
            keys=resampling_keys(table),
            subsets=subsets(column) if holds_texts(column) else column.to_pylist(),
            responses=_responses(table),
            shorter_N=how_much_shorter(table),
            broken=read_vetoes(table, self._hard_rules, where=unit.where),
            pair_ids=first_texts([table.column(PAIR_ID)]),
            unit=unit.unit,
        )


def how_much_shorter(table: pa.Table) -> np.ndarray:
    """Length of the rejected response minus that of the chosen, in tokens, else in characters; NaN if not known."""
    for chosen, rejected in (LENGTHS[:2], LENGTHS[2:]):
        if _holds_numbers(table, chosen) and _holds_numbers(table, rejected):
            return _floats(table, rejected) - _floats(table, chosen)
    return np.full(table.num_rows, np.nan)


def _holds_numbers(table: pa.Table, name: str) -> bool:
    """Whether the column is there; one of tokens themselves, in a table made elsewhere, tells no length."""
    return name in table.column_names and holds_numbers(table.column(name))


def _responses(table: pa.Table) -> Responses | None:
    """The groups of responses, where `prepare` named the responses."""
    if not set(table.column_names).issuperset(RESPONSES):
        return None
    return Responses(
        group_ids=_ids(table, GROUP_ID),
        chosen_ids=_ids(table, CHOSEN_RESPONSE_ID),
        rejected_ids=_ids(table, REJECTED_RESPONSE_ID),
        chosen_reward_N=_floats(table, CHOSEN_REWARD),
        rejected_reward_N=_floats(table, REJECTED_REWARD),
    )


def _ids(table: pa.Table, name: str) -> list[str | None]:
    return [None if value is None else str(value) for value in table.column(name).to_pylist()]


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return to_numpy(table.column(name).cast(pa.float64()))
