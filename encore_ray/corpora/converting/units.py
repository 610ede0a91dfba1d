"""Pairs in the order of their rows, cut into units: those that were made one by one, and those of whole columns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encore_ray.arrays import to_arrow
from encore_ray.corpora.tables import PairRecord


@dataclass
class UnitCutter:
    """Holds the pairs of one unit, no more; `add` and `add_table` give back the units that became full.

    Attributes:
        unit_pairs: most pairs in a unit; only records that are added together may be more, and are then alone.
        unit_bytes: most bytes of source rows in a unit of more than one row.
        build: makes a table of records.
    """

    unit_pairs: int
    unit_bytes: int
    build: Callable[[list[PairRecord]], pa.Table]
    _records: list[PairRecord] = field(default_factory=list)
    _slices: list[tuple[pa.Table, int, int]] = field(default_factory=list)
    _places: list[tuple[bool, int]] = field(default_factory=list)  # runs of pairs: of a slice or not, how many
    _pairs: int = 0
    _bytes: int = 0

    def add(self, records: Sequence[PairRecord], num_bytes: int) -> Iterator[pa.Table]:
        """Pairs that stay together, of rows of so many bytes."""
        if self._pairs and (self._pairs + len(records) > self.unit_pairs or self._bytes + num_bytes > self.unit_bytes):
            yield self._cut()
        self._records += records
        self._hold(False, len(records), num_bytes)

    def add_table(self, pairs: pa.Table, byte_N: NDArray[np.int64]) -> Iterator[pa.Table]:
        """Pairs of a row each, and the bytes of these rows."""
        start, end_N = 0, np.cumsum(byte_N)
        while start < pairs.num_rows:
            before = int(end_N[start - 1]) if start else 0
            fits = int(np.searchsorted(end_N, before + self.unit_bytes - self._bytes, side="right"))
            end = min(start + self.unit_pairs - self._pairs, fits, pairs.num_rows)
            if end <= start and self._pairs:
                yield self._cut()
                continue
            end = max(end, start + 1)
            self._slices.append((pairs, start, end))
            self._hold(True, end - start, int(end_N[end - 1]) - before)
            start = end

    def rest(self) -> Iterator[pa.Table]:
        """The last unit, if it holds any."""
        if self._pairs:
            yield self._cut()

    def _hold(self, in_slice: bool, num_pairs: int, num_bytes: int) -> None:
        self._places.append((in_slice, num_pairs))
        self._pairs += num_pairs
        self._bytes += num_bytes

    def _cut(self) -> pa.Table:
        tables = [pairs.slice(start, end - start) for pairs, start, end in self._slices]
        if self._records:
            tables.append(self.build(self._records))
        made = tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()
        if self._records and self._slices:
            in_slice_N = np.repeat([one for one, _ in self._places], [size for _, size in self._places])
            row_N = np.where(in_slice_N, np.cumsum(in_slice_N), in_slice_N.sum() + np.cumsum(~in_slice_N)) - 1
            made = made.take(to_arrow(row_N))
        self._records, self._slices, self._places, self._pairs, self._bytes = [], [], [], 0, 0
        return made
