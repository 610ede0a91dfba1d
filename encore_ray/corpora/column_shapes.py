"""The shapes of all values of an Arrow column, by Arrow's own functions where its type tells most of them."""

import contextlib
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.corpora.turns import stored, transcripts
from encore_ray.corpora.values import Shape, ShapeCounts, plain_type, shape_of

_UNUSUAL = rf"{stored.CANDIDATE}|{transcripts.CANDIDATE}|^\s*[-+.\d]|ASSISTANT:\s*$"


def column_shapes(column: pa.Array) -> ShapeCounts:
    """How many values have which shape: of every value, whatever the first ones look like."""
    type_ = plain_type(column.type)
    if pa.types.is_null(type_):
        return Counter({Shape.NULL: len(column)})
    if pa.types.is_string(type_):
        return _of_texts(column.cast(type_))
    if pa.types.is_boolean(type_):
        return _of_all(column, Shape.BOOL)
    if pa.types.is_floating(type_):
        return _of_all(column, Shape.FLOAT)
    if pa.types.is_integer(type_) and type_.bit_width < 64:
        return _of_all(column, Shape.INT)
    return _one_by_one(column)


def _of_all(column: pa.Array, shape: Shape) -> ShapeCounts:
    return +Counter({shape: len(column) - column.null_count, Shape.NULL: column.null_count})


def _of_texts(column: pa.Array) -> ShapeCounts:
    """Only texts that begin as a list, a number or a transcript are looked at one by one."""
    found = pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions(_UNUSUAL))
    unusual = found.fill_null(False)
    shapes = _one_by_one(column.filter(unusual))
    shapes[Shape.TEXT] += len(column) - column.null_count - unusual.true_count
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
