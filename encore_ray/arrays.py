"""Arrow columns as numpy arrays and back, where pyarrow's own ways load pandas: as long as a small command takes."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def to_numpy(column: pa.Array | pa.ChunkedArray, *, null: float = np.nan) -> np.ndarray:
    """The numbers or truth values of a column, (N,); without a copy where it is in one piece, and then read-only.

    Args:
        null: stands for null. ValueError where the column's type cannot hold it.
    """
    array = in_one_piece(column) if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(array.cast(pa.uint8())).view(np.bool_)
    if array.null_count:
        value = to_arrow(np.array([null], dtype=_dtype(array.type)))[0]
        array = pc.call_function("coalesce", [array, value])
    return np.from_dlpack(array)


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; `combine_chunks` would copy one that is in one piece already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def to_arrow(number_N: np.ndarray, *, null_N: np.ndarray | None = None) -> pa.Array:
    """Numbers as a column of their type, null where `null_N` says so; shares their memory."""
    numbers = np.ascontiguousarray(number_N)
    kind = pa.from_numpy_dtype(numbers.dtype)
    return pa.Array.from_buffers(kind, len(numbers), [_validity(null_N), pa.py_buffer(numbers)])


def to_texts(values: Sequence[str | None]) -> pa.StringArray:
    """Texts as a column."""
    return _column(values, pa.string())


def utf8_to_texts(values: Sequence[bytes]) -> pa.StringArray:
    """Texts in UTF-8, of which none is null, as a column."""
    return pa.Array.from_buffers(pa.string(), len(values), [None, _offsets(values), pa.py_buffer(b"".join(values))])


def rows_to_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of texts, numbers, truth values and lists of them.

    What a row lacks is null; what it has beyond the schema is left out.
    """
    listed = list(rows)
    columns = [_column([row.get(field.name) for row in listed], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    valid = _validity(np.fromiter((value is None for value in values), dtype=bool, count=len(values)))
    if pa.types.is_string(kind):
        texts = [(value or "").encode() for value in values]
        data = [valid, _offsets(texts), pa.py_buffer(b"".join(texts))]
        return pa.Array.from_buffers(kind, len(values), data)
    if pa.types.is_list(kind):
        lists = [value or () for value in values]
        items = _column([item for one in lists for item in one], kind.value_type)
        return pa.Array.from_buffers(kind, len(values), [valid, _offsets(lists)], children=[items])
    if pa.types.is_boolean(kind):
        bits = np.packbits(np.array(values, dtype=bool), bitorder="little")
        return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(bits)])
    numbers = np.array([value or 0 for value in values], dtype=_dtype(kind))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(numbers)])


def _offsets(parts: Sequence[Sized]) -> pa.Buffer:
    return pa.py_buffer(np.cumsum([0, *map(len, parts)], dtype=np.int32))


def _dtype(kind: pa.DataType) -> str:
    letter = "f" if pa.types.is_floating(kind) else "u" if pa.types.is_unsigned_integer(kind) else "i"
    return f"{letter}{kind.bit_width // 8}"


def _validity(null_N: np.ndarray | None) -> pa.Buffer | None:
    return None if null_N is None else pa.py_buffer(np.packbits(~null_N, bitorder="little"))
