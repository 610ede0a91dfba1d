"""The scores of one unit as arrays, with the ids and keys of its rows."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar, overload

import numpy as np
import pyarrow as pa

from encore_ray.composition.hashing.texts import Texts
from encore_ray.composition.measure.scores import PairScores
from encore_ray.composition.measure.statistics import Subsets
from encore_ray.errors import DataError
from encore_ray.folder.reading.columns import any_valid, first_texts, floats, holds_numbers, holds_texts, subsets
from encore_ray.folder.reading.parquet import OpenedTable
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    GROUP_ID,
    PAIR_ID,
    PROMPT_ID,
    SUBSET,
    chosen_column,
    rejected_column,
)

Item = TypeVar("Item")
_READ = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET)


@dataclass(frozen=True, eq=False)
class ScoreBlock(PairScores):
    """One unit's scores; columns in float32 where they are stored so, a row whose rejected scores are null is single.

    Attributes:
        table: the columns that were read, as they were read.
    """

    table: pa.Table


@dataclass(frozen=True, eq=False)
class WholeUnit:
    """All columns of a unit of scores, its scores as arrays as in `PairScores`: without keys, which take their time."""

    unit: TableUnit
    table: pa.Table
    chosen_KN: list[np.ndarray]
    rejected_KN: list[np.ndarray]
    has_rejected_N: np.ndarray

    @property
    def subsets(self) -> Subsets | None:
        """Subset of each row; None where the unit has none."""
        return _subsets(self.unit, self.table)


def read_whole(unit: TableUnit, rules: RuleSet) -> WholeUnit:
    """Read all columns of a unit of scores; DataError when ids are missing, or subsets are not texts."""
    chosen, rejected = _score_columns(rules)
    with unit.open() as opened:
        _check_columns(unit, opened, [*chosen, *rejected])
        table = opened.read()
    _check_subsets(unit, table)
    return WholeUnit(
        unit,
        table,
        [numbers(unit, table, name) for name in chosen],
        [numbers(unit, table, name) for name in rejected],
        any_valid(table.column(name) for name in rejected),
    )


def read_scores(unit: TableUnit, rules: RuleSet, *, extra: Sequence[str] = ()) -> ScoreBlock:
    """Read a unit's scores, ids and further columns; DataError when ids are missing."""
    chosen, rejected = _score_columns(rules)
    with unit.open() as opened:
        _check_columns(unit, opened, [*chosen, *rejected])
        columns = [PAIR_ID, PROMPT_ID, GROUP_ID, *extra, *chosen, *rejected]
        table = opened.read(list(dict.fromkeys(columns)))
    return ScoreBlock(
        table=table,
        chosen_KN=[numbers(unit, table, name) for name in chosen],
        rejected_KN=[numbers(unit, table, name) for name in rejected],
        has_rejected_N=any_valid(table.column(name) for name in rejected),
        pair_ids=first_texts([table.column(PAIR_ID)]),
        keys=resampling_keys(table),
        subsets=_subsets(unit, table),
    )


@contextlib.contextmanager
def stream_scores(unit: TableUnit, rules: RuleSet, *, extra: Sequence[str] = ()) -> Iterator[ScoreBlock]:
    """As `read_scores`, yet scores are read column by column, when they are asked for, inside the block.

    So they are still in the processor's cache when they are used. The pair_ids are only read for a message, or for
    keys. The block's table has no scores.
    """
    chosen, rejected = _score_columns(rules)
    with unit.open() as opened:
        _check_columns(unit, opened, [*chosen, *rejected])
        table = opened.read([PROMPT_ID, GROUP_ID, *extra])
        if PROMPT_ID not in table.column_names or table.column(PROMPT_ID).null_count:
            table = opened.read([PAIR_ID, PROMPT_ID, GROUP_ID, *extra])
        pair_ids = cache(lambda: first_texts([opened.read([PAIR_ID]).column(0)]))
        yield ScoreBlock(
            table=table,
            chosen_KN=_Late(len(rules), lambda k: numbers(unit, opened.read([chosen[k]]), chosen[k])),
            rejected_KN=_Late(len(rules), lambda k: numbers(unit, opened.read([rejected[k]]), rejected[k])),
            has_rejected_N=_has_rejected(opened, rejected, num_rows=unit.rows),
            pair_ids=_Late(unit.rows, lambda row: pair_ids()[row]),
            keys=resampling_keys(table),
            subsets=_subsets(unit, table),
        )


def _has_rejected(opened: OpenedTable, rejected: Sequence[str], *, num_rows: int) -> np.ndarray:
    """Which rows have a rejected response; the usual case, all of them, is known without reading a column."""
    if not opened.num_nulls(rejected[0]):
        return np.ones(num_rows, dtype=bool)
    return any_valid(opened.read([name]).column(0) for name in rejected)


class _Late(Sequence[Item]):
    """Items that are read when they are asked for."""

    def __init__(self, size: int, read: Callable[[int], Item]):
        self._size, self._read = size, read

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        picked = range(self._size)[index]
        return self._read(picked) if isinstance(picked, int) else [self._read(number) for number in picked]


def _score_columns(rules: RuleSet) -> tuple[list[str], list[str]]:
    """Names of the columns of all rules' scores, of chosen and of rejected responses."""
    return [chosen_column(name) for name in rules.names], [rejected_column(name) for name in rules.names]


def _check_columns(unit: TableUnit, opened: OpenedTable, columns: Sequence[str]) -> None:
    times = Counter(opened.names)
    missing = [name for name in (PAIR_ID, *columns) if name not in times]
    if missing:
        raise DataError(f"{unit.where} lacks the column {', '.join(missing)}.")
    repeated = [name for name in (*_READ, *columns) if times[name] > 1]
    if repeated:
        raise DataError(f"{unit.where} has the column {', '.join(repeated)} more than once.")
    num_nameless = opened.num_nulls(PAIR_ID)
    if num_nameless:
        raise DataError(f"{unit.where}: {num_nameless} rows have no {PAIR_ID}.")


def resampling_keys(table: pa.Table) -> Texts:
    """The independent unit each row belongs to: its prompt_id, else its group_id, else its pair_id."""
    return first_texts([table.column(name) for name in (PROMPT_ID, GROUP_ID, PAIR_ID) if name in table.column_names])


def _subsets(unit: TableUnit, table: pa.Table) -> Subsets | None:
    _check_subsets(unit, table)
    return subsets(table.column(SUBSET)) if SUBSET in table.column_names else None


def _check_subsets(unit: TableUnit, table: pa.Table) -> None:
    if SUBSET in table.column_names and not holds_texts(table.column(SUBSET)):
        raise DataError(f"{unit.where}: column {SUBSET} must hold texts, found {table.column(SUBSET).type}.")


def numbers(unit: TableUnit, table: pa.Table, name: str) -> np.ndarray:
    """A column of a unit's table as `floats`; DataError names a column that holds something else."""
    column = table.column(name)
    if not holds_numbers(column):
        raise DataError(f"{unit.where}: column {name} must hold numbers, found {column.type}.")
    try:
        return floats(column)
    except pa.ArrowInvalid as error:
        raise DataError(f"{unit.where}: column {name} cannot be read as float64: {error}") from None
