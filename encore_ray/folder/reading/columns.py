"""Arrow columns as the arrays that composition computes with, not copied where Arrow allows it."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from encore_ray.arrays import in_one_piece, to_numpy
from encore_ray.composition.hashing.splitmix import mix
from encore_ray.composition.hashing.texts import Texts
from encore_ray.composition.measure.statistics import Subsets

Column = TypeVar("Column", pa.Array, pa.ChunkedArray)


def holds_numbers(column: pa.ChunkedArray) -> bool:
    """Whether a column is of numbers, also decimal ones or those of a dictionary, as categories are."""
    kind = _plain(column.type)
    is_any = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
    return any(is_kind(kind) for is_kind in is_any)


def holds_texts(column: pa.ChunkedArray) -> bool:
    """Whether a column is of texts, also those of a dictionary, as categories are."""
    kind = _plain(column.type)
    is_any = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(is_kind(kind) for is_kind in is_any)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers in float32 where stored so, else in float64; NaN where null. ArrowInvalid if float64 cannot hold one."""
    if not pa.types.is_float32(column.type):
        column = column.cast(pa.float64())
    return to_numpy(column)


def any_valid(columns: Iterable[pa.ChunkedArray]) -> np.ndarray:
    """Bool, which rows have a value in any of the columns; no column is asked for behind one without nulls."""
    valid_N = np.zeros(1, dtype=bool)
    for column in columns:
        valid_N = valid_N | to_numpy(column.is_valid())
        if not column.null_count:
            break
    return valid_N


def first_texts(columns: Sequence[pa.ChunkedArray]) -> Texts:
    """The first value of each row that is not null, as text; the last column has no nulls where the others have one."""
    found = _as_text(columns[0])
    for column in columns[1:]:
        if found.null_count:
            found = pc.call_function("coalesce", [found, _as_text(column)])
    return _texts(in_one_piece(found))


def conversation_hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """A 64-bit hash of each conversation of a column as schema.MESSAGES; of a null that of a conversation of no turn.

    Arrow holds the contents of a conversation one behind the other: they are hashed as one run of bytes, and beside it
    who speaks and how long. Not for texts that somebody chooses so that they collide.
    """
    array = in_one_piece(column)
    start_N1 = to_numpy(array.offsets).astype(np.int64)
    turns = array.values.slice(int(start_N1[0]), int(start_N1[-1] - start_N1[0]))  # what lies beside them in a slice
    start_N1 = start_N1 - start_N1[0]
    roles, contents = (_texts(turns.field(place)) for place in range(2))
    num_turns_N = np.diff(start_N1)
    place_T = np.arange(len(turns)) - np.repeat(start_N1[:-1], num_turns_N)
    length_T = (np.diff(contents.offset_N1) + (place_T << 32)).astype(np.uint64)
    total_T1 = np.zeros(len(turns) + 1, dtype=np.uint64)
    np.cumsum(mix(roles.hash_N() ^ mix(length_T)), out=total_T1[1:])
    form_N = total_T1[start_N1[1:]] - total_T1[start_N1[:-1]]
    data, ends = contents.byte_B.data, contents.offset_N1[start_N1].tolist()
    said = (xxhash.xxh3_64_intdigest(data[start:end]) for start, end in itertools.pairwise(ends))
    return mix(form_N ^ np.fromiter(said, np.uint64, len(array)))


def row_numbers(ids: Column, *, among: pa.Array | pa.ChunkedArray) -> Column:
    """The row of each id in another column, for `take`; null where it is not there."""
    return pc.call_function("index_in", [ids], pc.SetLookupOptions(among))


def places(ids: pa.ChunkedArray, *, among: pa.ChunkedArray) -> np.ndarray:
    """The row of each id in another column, int64; -1 where it is not there."""
    return to_numpy(row_numbers(ids, among=among), null=-1).astype(np.int64)


def subsets(column: pa.ChunkedArray) -> Subsets:
    """Names of subsets, numbered as they first occur."""
    runs = pc.call_function("run_end_encode", [in_one_piece(column.cast(pa.large_string()))])  # mostly few and long
    encoded = runs.values.dictionary_encode()
    code_R = to_numpy(encoded.indices, null=-1).astype(np.int64)
    num_rows_R = np.diff(to_numpy(runs.run_ends), prepend=0)
    return Subsets(tuple(encoded.dictionary.to_pylist()), np.repeat(code_R, num_rows_R))


def _texts(array: pa.StringArray | pa.LargeStringArray) -> Texts:
    """A column of texts without nulls."""
    if not len(array):
        return Texts.of([])
    _, offsets, data = array.buffers()
    kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
    offset_N1 = np.frombuffer(offsets, dtype=kind)[array.offset : array.offset + len(array) + 1]
    return Texts(np.frombuffer(data or b"", dtype=np.uint8), offset_N1.astype(np.int64, copy=False))


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as text, numbers as Python writes them."""
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.large_string())])
