"""What the values of a JSON column look like, and the one Arrow type that holds them all without loss.

A column's shape is the number of rows in which each `Shape` was seen; shapes of ranges add up in any order. The
type follows from which shapes occur; the layout of a file is detected from which shape is the most common.
"""

import base64
import datetime
import json
from collections import Counter
from enum import StrEnum
from typing import Any

import pyarrow as pa


class Shape(StrEnum):
    """Of one JSON value; a text or list is told apart as far as detecting a layout needs it."""

    NULL = "null"
    BOOL = "bool"
    INT = "integer"  # at most 2^53, so exact as float64
    LONG = "long integer"  # fits int64
    HUGE = "huge integer"
    FLOAT = "float"
    TEXT = "text"
    TRANSCRIPT = "transcript"  # a text that starts with "\n\nHuman:"
    MESSAGES = "messages"  # a list of objects with a role
    TEXTS = "list of texts"
    CONVERSATIONS = "list of messages"  # a list of lists of objects with a role
    NESTED = "nested"


ShapeCounts = Counter[Shape]
TEXTUAL = frozenset({Shape.TEXT, Shape.TRANSCRIPT})
WHOLE = frozenset({Shape.INT, Shape.LONG})
NUMERIC = frozenset({*WHOLE, Shape.FLOAT})
TRANSCRIPT_START = "\n\nHuman:"

_EXACT_INT = 2**53
_INT64 = 2**63


def shape_of(value: Any) -> Shape:
    """The shape of a JSON value; of a list by its first item."""
    if isinstance(value, str):
        return Shape.TRANSCRIPT if value.startswith(TRANSCRIPT_START) else Shape.TEXT
    if value is None:
        return Shape.NULL
    if isinstance(value, bool):
        return Shape.BOOL
    if isinstance(value, int):
        if -_EXACT_INT <= value <= _EXACT_INT:
            return Shape.INT
        return Shape.LONG if -_INT64 <= value < _INT64 else Shape.HUGE
    if isinstance(value, float):
        return Shape.FLOAT
    if not isinstance(value, list) or not value:
        return Shape.NESTED
    first = value[0]
    if isinstance(first, str):
        return Shape.TEXTS
    if isinstance(first, dict):
        return Shape.MESSAGES if "role" in first else Shape.NESTED
    if isinstance(first, list) and first and isinstance(first[0], dict) and "role" in first[0]:
        return Shape.CONVERSATIONS
    return Shape.NESTED


def usual_shape(shapes: ShapeCounts) -> Shape:
    """The most common shape other than null, so that a bad row does not hide what a column is."""
    seen = [(count, shape) for shape, count in shapes.items() if shape is not Shape.NULL]
    return max(seen)[1] if seen else Shape.NULL


def arrow_type(shapes: ShapeCounts) -> pa.DataType | None:
    """The type that holds every value exactly; None where only JSON text does (nested or mixed values)."""
    seen = {shape for shape, count in shapes.items() if count} - {Shape.NULL}
    if not seen:
        return pa.null()
    if seen == {Shape.BOOL}:
        return pa.bool_()
    if seen <= WHOLE:
        return pa.int64()
    if seen <= {Shape.INT, Shape.FLOAT}:
        return pa.float64()
    return pa.string() if seen <= TEXTUAL else None


def plain_type(type_: pa.DataType) -> pa.DataType:
    """A Parquet column's type without its encoding: dictionaries and large or view strings become strings."""
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_binary_view(type_):
        return pa.binary()
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    return type_


def json_text(value: Any) -> str:
    """A value as JSON text: dates in ISO form, decimals as text, bytes in base64; NaN and Infinity as Python does."""
    return json.dumps(value, ensure_ascii=False, default=_to_json)


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
