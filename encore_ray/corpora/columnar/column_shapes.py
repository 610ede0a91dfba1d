"""The shapes of all values of an Arrow column, by Arrow's own functions where its type tells most of them."""

import contextlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.arrays import to_arrow, to_numpy
from encore_ray.corpora.columnar.plain_texts import plain_texts
from encore_ray.corpora.values import EXACT_INT, Shape, ShapeCounts, plain_array, plain_type, shape_of


def column_shapes(column: pa.Array) -> ShapeCounts:
    """How many values have which shape: of every value, whatever the first ones look like."""
    type_ = plain_type(column.type)
    if pa.types.is_null(type_):
        return Counter({Shape.NULL: len(column)})
    if pa.types.is_string(type_):
        return _of_texts(plain_array(column))
    if pa.types.is_boolean(type_):
        return _of_all(column, Shape.BOOL)
    if pa.types.is_floating(type_):
        return _of_all(column, Shape.FLOAT)
    if pa.types.is_integer(type_):
        return _of_whole(column)
    return _one_by_one(column)


def _of_all(column: pa.Array, shape: Shape) -> ShapeCounts:
    return +Counter({shape: len(column) - column.null_count, Shape.NULL: column.null_count})


def _of_whole(column: pa.Array) -> ShapeCounts:
    """Only the few that a float64 cannot hold are looked at one by one."""
    if column.type.bit_width < 64:
        return _of_all(column, Shape.INT)
    ends = pc.call_function("min_max", [column]).as_py()
    if ends["min"] is None or -EXACT_INT <= ends["min"] <= ends["max"] <= EXACT_INT:
        return _of_all(column, Shape.INT)
    return _one_by_one(column)


def _of_texts(column: pa.Array) -> ShapeCounts:
    """Only texts that may be something else, by how they begin or end, are looked at one by one."""
    unusual_N = ~plain_texts(column, numbers=False) & to_numpy(column.is_valid())
    looked_at = np.flatnonzero(unusual_N)
    shapes = _one_by_one(column.take(to_arrow(looked_at)))
    shapes[Shape.TEXT] += len(column) - column.null_count - len(looked_at)
    shapes[Shape.NULL] += column.null_count
    return +shapes


def _one_by_one(column: pa.Array) -> ShapeCounts:
    try:
        return Counter(map(shape_of, column.to_pylist()))
    except UnicodeDecodeError:
        shapes: ShapeCounts = Counter()
        for value in column:
            with contextlib.suppress(UnicodeDecodeError):  # the conversion meets it again and quarantines its row
                shapes[shape_of(value.as_py())] += 1
        return shapes or Counter([Shape.TEXT])
