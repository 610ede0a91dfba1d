"""Rows that have some of their scores and lack others: counted, and refused in one sentence with all of them.

A pair counts under all rules or not at all. One without any score is nobody's pair and left out; one with some of them
is neither left out in silence nor counted for less than it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.arrays import in_one_piece, to_numpy
from encore_ray.errors import DataError
from encore_ray.foreign.row_names import row_called
from encore_ray.schema import PAIR_ID, chosen_column, rejected_column
from encore_ray.shell import option
from encore_ray.visible import short

_MOST = 6  # columns in a sentence


@dataclass
class Gaps:
    """What is missing in the rows of a table so far.

    Attributes:
        columns: of the table, by those of ours: `chosen__RULE` and `rejected__RULE` of each rule that counts.
        has_ids: whether the table names its pairs.
        num_rows: with a score. num_incomplete: of which some are missing.
        num_missing: by column of ours. first: where the first one is missing.
        has_any: columns of ours that have a score.
    """

    columns: Mapping[str, str]
    has_ids: bool = True
    num_rows: int = 0
    num_incomplete: int = 0
    num_missing: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    has_any: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, rules: Sequence[str], columns: Mapping[str, str] | None = None, *, has_ids: bool = True) -> "Gaps":
        """For the columns of some rules; `columns` tells what the table calls them, where it calls them otherwise."""
        ours = [side(rule) for rule in rules for side in (chosen_column, rejected_column)]
        return cls({name: (columns or {}).get(name, name) for name in ours}, has_ids)

    @property
    def is_whole(self) -> bool:
        """Whether no row lacks a score."""
        return not self.num_incomplete

    def look(self, part: pa.Table, row_N: np.ndarray | None = None) -> None:
        """Look at some rows in the form of ours; one whose rejected scores are all missing is a single response.

        Args:
            row_N: their numbers in the table, from 1; None: they are known by their ids.
        """
        missing = {name: _missing(part.column(name)) for name in self.columns}
        rejected = [*missing][1::2]
        is_single_N = np.logical_and.reduce([missing[name] for name in rejected])
        incomplete_N = np.zeros(part.num_rows, dtype=bool)
        for name, missing_N in missing.items():
            lacks_N = missing_N & ~is_single_N if name in rejected else missing_N
            incomplete_N |= lacks_N
            found = np.flatnonzero(lacks_N)
            if not missing_N.all():
                self.has_any.add(name)
            if found.size:
                self.num_missing[name] = self.num_missing.get(name, 0) + found.size
                place = int(found[0])
                self.first.setdefault(name, self._at(place, part, row_N))
        self.num_rows += part.num_rows
        self.num_incomplete += int(np.count_nonzero(incomplete_N))

    def _at(self, place: int, part: pa.Table, row_N: np.ndarray | None) -> str:
        """What messages call a row."""
        named = [] if row_N is None else [row_called(int(row_N[place]))]
        if self.has_ids and PAIR_ID in part.column_names:
            named.append(f"pair {short(str(part.column(PAIR_ID)[place]))}")
        return ", ".join(named)

    def refuse(self) -> None:
        """DataError where any row lacks a score: of which rules, how many, where first, and what to do."""
        if self.is_whole:
            return
        empty = [self.columns[name] for name in self.num_missing if name not in self.has_any]
        if empty:
            raise DataError(
                f"{_listed(empty)} hold{'s' if len(empty) == 1 else ''} no score in any row: take "
                f"{'it' if len(empty) == 1 else 'them'} out, or name the rules that count by {option('rules')}."
            )
        found = [
            f"{short(self.columns[name])} in {num:,} ({'' if num == 1 else 'first '}{self.first[name]})"
            for name, num in self.num_missing.items()
        ]
        raise DataError(
            f"{self.num_incomplete:,} of {self.num_rows:,} rows {'lacks' if self.num_incomplete == 1 else 'lack'} some "
            f"of their scores: {_listed(found)}. A pair counts under all rules or not at all: fill these cells, or "
            "empty all scores of the row, which leaves it out; or weigh without such a rule, by "
            f"{option('rules')}."
        )


def _missing(column: pa.ChunkedArray) -> np.ndarray:
    """Bool, which rows have no number: null or NaN."""
    array = in_one_piece(column)
    missing_N = ~to_numpy(array.is_valid())
    if not pa.types.is_floating(array.type):
        return missing_N
    is_nan = pc.call_function("is_nan", [array])
    return missing_N | to_numpy(pc.call_function("coalesce", [is_nan, pa.scalar(True)]))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST:,} more" if len(names) > _MOST else "")
