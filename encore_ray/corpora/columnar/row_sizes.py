"""Rows of a record batch by how much memory they take once they are read out, before any of them is.

A dictionary or a view holds a text once for any number of rows: a file of a few kilobytes may have a terabyte of rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encore_ray.arrays import to_numpy
from encore_ray.corpora.values import json_text, plain_array

_PIECE_BYTES = 64 << 20
_SHOWN_BYTES = 1 << 16


@dataclass(frozen=True)
class Piece:
    """Some rows that follow each other, those that are too long left out.

    Attributes:
        batch: the others.
        too_long: of each row, also those left out, its size in bytes where it is too long, else 0.
        stored: all of them, in which nothing is read out.
    """

    batch: pa.RecordBatch
    too_long: list[int]
    stored: pa.RecordBatch

    def head(self, index: int) -> bytes:
        """What of a row that is too long people are shown: its short values."""
        shown = {}
        for name, column in zip(self.stored.schema.names, self.stored.columns, strict=True):
            size = int(_sizes(column.slice(index, 1))[0])
            shown[name] = _value(column.slice(index, 1)) if size <= _SHOWN_BYTES else f"<{size} bytes>"
        return json_text(shown).encode("utf-8", "backslashreplace")


def pieces(batches: Iterable[pa.RecordBatch], row_bytes: int) -> Iterator[Piece]:
    """Batches cut so that one may be read out: 64 MiB or one row at a time, and no row of more than `row_bytes`."""
    for batch in batches:
        size_N = row_sizes(batch)
        long_N = size_N > row_bytes
        end_N = np.cumsum(np.where(long_N, 0, size_N))
        start = 0
        while start < batch.num_rows:
            before = int(end_N[start - 1]) if start else 0
            end = max(start + 1, int(np.searchsorted(end_N, before + _PIECE_BYTES, side="right")))
            stored = batch.slice(start, end - start)
            long_P = long_N[start:end]
            kept = _without(stored, np.flatnonzero(long_P).tolist())
            yield Piece(kept, np.where(long_P, size_N[start:end], 0).tolist(), stored)
            start = end


def _without(batch: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    """The batch without some rows, by slices: Arrow picks no rows of views."""
    if not rows:
        return batch
    between = zip([-1, *rows], [*rows, batch.num_rows], strict=True)
    return pa.concat_batches([batch.slice(before + 1, after - before - 1) for before, after in between])


def row_sizes(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Bytes of each row's values in plain columns."""
    size_N = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        size_N += _sizes(column)
    return size_N


def _sizes(array: pa.Array) -> NDArray[np.int64]:
    kind: Any = array.type
    if pa.types.is_dictionary(kind):
        return _picked(_sizes(array.dictionary), array.indices)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _view_lengths(array)
    if any(is_text(kind) for is_text in _TEXTS):
        return _lengths(array)
    if pa.types.is_struct(kind):
        return sum((_sizes(array.field(i)) for i in range(kind.num_fields)), np.zeros(len(array), dtype=np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        end_M = np.concatenate([[0], np.cumsum(_sizes(array.values if not pa.types.is_map(kind) else _entries(array)))])
        offset_N = to_numpy(array.offsets)
        return (end_M[offset_N[1:]] - end_M[offset_N[:-1]]).astype(np.int64)
    return np.full(len(array), array.nbytes // max(len(array), 1), dtype=np.int64)


_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


def _entries(array: Any) -> pa.StructArray:
    return pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])


def _lengths(array: pa.Array) -> NDArray[np.int64]:
    return to_numpy(pc.call_function("binary_length", [array]), null=0).astype(np.int64)


def _view_lengths(array: pa.Array) -> NDArray[np.int64]:
    """Arrow has no function for them: a view is four whole numbers, the first of them the length."""
    first = 4 * array.offset
    length_N = np.frombuffer(array.buffers()[1] or b"", dtype=np.int32)[first : first + 4 * len(array) : 4]
    return np.where(to_numpy(array.is_valid()), length_N, 0).astype(np.int64)


def _picked(size_M: NDArray[np.int64], indices: pa.Array) -> NDArray[np.int64]:
    """The sizes of a dictionary's values, for each row that names one."""
    index_N = to_numpy(indices, null=0)
    valid_N = to_numpy(indices.is_valid())
    return np.where(valid_N, size_M[index_N] if len(size_M) else 0, 0).astype(np.int64)


def _value(array: pa.Array) -> Any:
    try:
        return plain_array(array)[0].as_py()
    except (pa.ArrowException, UnicodeDecodeError):
        return "<not UTF-8>"
