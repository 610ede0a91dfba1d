"""The rows of a training: which units have them, what they say, and the order in which workers see them.

Every worker reads the same units in the same order, which follows from the seed and the epoch, and makes a batch of
its share of each step's rows. Held-out prompts (`composition.keys.is_heldout`) are never trained on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encore_ray.arrays import to_numpy
from encore_ray.composition.hashing.keys import hash_keys, is_heldout
from encore_ray.errors import DataError
from encore_ray.folder.reading.columns import row_numbers
from encore_ray.folder.reading.score_block import resampling_keys
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.models.spec.training import Objective, RowBatch, to_unit
from encore_ray.models.text.pair_prompt import pair_turns
from encore_ray.passes.heads.labels import LabelledUnit, LabelPlace, read_labels
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    CHOSEN,
    GROUP_ID,
    PAIR_ID,
    PROMPT,
    PROMPT_ID,
    REJECTED,
    SELECTION_LABEL,
    selected_column,
)

if TYPE_CHECKING:
    from encore_ray.models.training.workers import Workers

LAST_HASH = 2**64 - 1
POOL_ROWS = 4096  # read before they are shuffled, with those that are left of the units before

Row = tuple["UnitRows", int]  # a row of a unit


@dataclass(frozen=True, eq=False)
class UnitRows:
    """The N rows of a unit.

    Attributes:
        table: ids, prompt and responses.
        target_N2K: float32, see `models.training.objectives`.
        label_2NK: ratings as they are labelled, float64, chosen and rejected; None where the objective has none.
        is_tie_NK: bool, pairs that a rule does not tell apart.
        heldout_N: bool. hash_N: of the resampling keys.
    """

    table: pa.Table
    target_N2K: NDArray[np.float32]
    label_2NK: NDArray[np.float64] | None
    is_tie_NK: NDArray[np.bool_]
    heldout_N: NDArray[np.bool_]
    hash_N: NDArray[np.uint64]

    @cached_property
    def has_target_N(self) -> NDArray[np.bool_]:
        return np.asarray(~np.isnan(self.target_N2K).all(axis=(1, 2)))

    def take(self, index_M: NDArray[np.int64]) -> "UnitRows":
        """M of its rows, of which nothing else is held."""
        label_2NK = None if self.label_2NK is None else self.label_2NK[:, index_M]
        return UnitRows(
            self.table.take(index_M),
            self.target_N2K[index_M],
            label_2NK,
            self.is_tie_NK[index_M],
            self.heldout_N[index_M],
            self.hash_N[index_M],
        )


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of a unit, as an objective needs them.

    Attributes:
        rules: K rules, as the heads' order.
        places: where ratings are; None where the objective needs none.
        is_selected: whether the labels are those of a selection: of Bradley-Terry the direction of a pair.
    """

    objective: Objective
    rules: RuleSet
    places: Mapping[str, LabelPlace] | None
    is_selected: bool

    def read(self, unit: LabelledUnit) -> UnitRows:
        """Read a unit.

        Raises:
            DataError: its labels have another type, or a column is missing.
        """
        table = unit.responses.read([PAIR_ID, PROMPT_ID, GROUP_ID, PROMPT, CHOSEN, REJECTED])
        keys = resampling_keys(table)
        pair_N = ~to_numpy(table.column(REJECTED).is_null())
        target_N2K = np.full((table.num_rows, 2, len(self.rules)), np.nan, dtype=np.float32)
        is_tie_NK = np.zeros((table.num_rows, len(self.rules)), dtype=bool)
        label_2NK = None
        if self.places is not None:
            label_2NK = np.stack(
                read_labels(unit.labels, self.rules, self.places, pair_ids=table.column(PAIR_ID), has_rejected_N=pair_N)
            )
            if self.objective == "regression":
                target_N2K = to_unit(label_2NK.transpose(1, 0, 2), self.rules)
            else:
                target_N2K[:, 0] = np.sign(label_2NK[0] - label_2NK[1])
        elif self.objective == "multilabel":
            columns = [selected_column(name) for name in self.rules.names]
            target_N2K[pair_N, 0] = _matched(unit.labels, columns, table)[pair_N]
        elif self.is_selected:
            target_N2K[:, 0] = _matched(unit.labels, [SELECTION_LABEL], table)
            target_N2K[~pair_N] = np.nan
        else:
            target_N2K[pair_N, 0] = 1.0
        if self.objective in ("bradley-terry", "multihead-bradley-terry"):
            is_tie_NK = target_N2K[:, 0] == 0
            target_N2K[:, 0][is_tie_NK] = np.nan
        return UnitRows(table, target_N2K, label_2NK, is_tie_NK, is_heldout(keys), hash_keys(keys))

    def batch(self, rows: Sequence[Row], mine: Sequence[int]) -> RowBatch:
        """A worker's part of the rows of a step."""
        found: list[dict[str, Any]] = [rows[i][0].table.slice(rows[i][1], 1).to_pylist()[0] for i in mine]
        target_N2K = np.stack([unit.target_N2K[row] for unit, row in rows])
        is_adapter = self.objective == "multilabel"
        return RowBatch(
            prompts=[[] if is_adapter else row[PROMPT] for row in found],
            chosen=[
                pair_turns(row[PROMPT], row[CHOSEN], row[REJECTED]) if is_adapter else row[CHOSEN] for row in found
            ],
            rejected=[None if is_adapter else row[REJECTED] for row in found],
            pair_ids=[row[PAIR_ID] for row in found],
            target_N2K=target_N2K[list(mine)],
            num_targets=int((~np.isnan(target_N2K)).sum()),
            num_rows=len(rows),
        )


def _matched(unit: TableUnit, columns: Sequence[str], pairs: pa.Table) -> NDArray[np.float64]:
    """Columns of numbers or booleans, at the rows of these pairs, NaN where there is none."""
    table = unit.read([PAIR_ID, *columns])
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{unit.folder.path(unit.file)} lacks the column {missing[0]}: it is no selection of rules.")
    row_N = row_numbers(pairs.column(PAIR_ID), among=table.column(PAIR_ID))
    values = [to_numpy(table.column(name).cast(pa.int8()).cast(pa.float64()).take(row_N)) for name in columns]
    return np.stack(values, axis=1)


@dataclass(frozen=True)
class TrainOrder:
    """In which order rows are seen.

    Attributes:
        batch_rows: of a step.
        num_rows: that are trained on.
        epochs: how often each of them is seen.
        seed: of the order.
        last_evaluated: the largest hash of a held-out prompt that is evaluated; see `RowCounts.last_evaluated`.
    """

    batch_rows: int
    num_rows: int
    epochs: int
    seed: int
    last_evaluated: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_rows // self.batch_rows)

    @property
    def num_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


class TrainRows:
    """One worker's rows, for `models.training.loop`.

    Args:
        units: all units, in order.
        reader: reads them.
        order: in which rows are seen.
        workers: whose share this is.
    """

    def __init__(self, units: Sequence[LabelledUnit], reader: RowReader, order: TrainOrder, workers: "Workers"):
        self._units, self._reader, self._order, self._workers = units, reader, order, workers
        self._heldout: list[RowBatch] | None = None

    def steps(self, first: int) -> Iterator[RowBatch]:
        """The batch of each step from `first` on."""
        per_epoch = self._order.steps_per_epoch
        for epoch in range(first // per_epoch, self._order.epochs):
            for number, rows in enumerate(self._shuffled(epoch)):
                if epoch * per_epoch + number >= first:
                    yield self._reader.batch(rows, self._workers.share(len(rows)))

    def heldout(self) -> list[RowBatch]:
        """The held-out rows that are evaluated, in batches; they stay in memory."""
        if self._heldout is None:
            rows = [(part, row) for part in map(self._evaluated, self._units) for row in range(part.table.num_rows)]
            size = self._order.batch_rows
            parts = [rows[start : start + size] for start in range(0, len(rows), size)]
            self._heldout = [self._reader.batch(part, self._workers.share(len(part))) for part in parts]
        return self._heldout

    def _evaluated(self, unit: LabelledUnit) -> UnitRows:
        rows = self._reader.read(unit)
        return rows.take(np.flatnonzero(evaluated_rows(rows, self._order.last_evaluated)))

    def _shuffled(self, epoch: int) -> Iterator[list[Row]]:
        """The rows of each step of an epoch; the last has what is left."""
        rng = np.random.default_rng([self._order.seed, epoch])
        size = self._order.batch_rows
        pool: list[Row] = []
        for number in rng.permutation(len(self._units)):
            unit = self._reader.read(self._units[number])
            pool += [(unit, int(row)) for row in np.flatnonzero(unit.has_target_N & ~unit.heldout_N)]
            if len(pool) >= max(POOL_ROWS, size):
                pool = [pool[i] for i in rng.permutation(len(pool))]
                whole = len(pool) - len(pool) % size
                yield from (pool[start : start + size] for start in range(0, whole, size))
                pool = pool[whole:]
        pool = [pool[i] for i in rng.permutation(len(pool))]
        yield from (pool[start : start + size] for start in range(0, len(pool), size))


def evaluated_rows(unit: UnitRows, last_evaluated: int) -> NDArray[np.bool_]:
    """Held-out rows of a unit that are evaluated: whole prompts, the same share of every unit."""
    return unit.heldout_N & unit.has_target_N & (unit.hash_N <= np.uint64(last_evaluated))
