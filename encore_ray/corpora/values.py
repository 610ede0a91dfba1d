"""What the values of a JSON column look like, and the one Arrow type that holds them all without loss.

A column's shape is the number of rows in which each `Shape` was seen; shapes of ranges add up in any order. The
type follows from which shapes occur; the layout of a file is detected from which shape is the most common.
"""

import base64
import datetime
import json
import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pyarrow as pa

from encore_ray.corpora.turns.stored import stored_list
from encore_ray.corpora.turns.transcripts import TRANSCRIPT_START, read_transcript


class Shape(StrEnum):
    """Of one JSON value; a text or list is told apart as far as detecting a layout needs it."""

    NULL = "null"
    BOOL = "bool"
    INT = "integer"  # at most 2^53, so exact as float64
    LONG = "long integer"  # fits int64
    HUGE = "huge integer"
    FLOAT = "float"
    TEXT = "text"
    NUMBER = "number in text"
    TRANSCRIPT = "transcript"  # a text of several turns, as one that starts with "\n\nHuman:"
    STORED_MESSAGES = "messages in text"  # a list spelt out in JSON or as Python prints it
    STORED_TEXTS = "list of texts in text"
    STORED_THREE = "list of three texts in text"
    STORED_CONVERSATIONS = "list of messages in text"
    MESSAGE = "message"  # an object with a role
    MESSAGES = "messages"  # a list of objects with a role, or an object that holds one as `messages`
    TEXTS = "list of texts"
    THREE_TEXTS = "list of three texts"
    CONVERSATIONS = "list of messages"  # a list of lists of objects with a role
    NESTED = "nested"


ShapeCounts = Counter[Shape]
STORED = {
    Shape.STORED_MESSAGES: Shape.MESSAGES,
    Shape.STORED_TEXTS: Shape.TEXTS,
    Shape.STORED_THREE: Shape.THREE_TEXTS,
    Shape.STORED_CONVERSATIONS: Shape.CONVERSATIONS,
}
TEXTUAL = frozenset({Shape.TEXT, Shape.NUMBER, Shape.TRANSCRIPT})
WHOLE = frozenset({Shape.INT, Shape.LONG})
NUMERIC = frozenset({*WHOLE, Shape.FLOAT})

_STRINGS = TEXTUAL | STORED.keys()
_NUMBER = re.compile(r"\s*[-+]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][-+]?\d{1,2})?\s*")
_NUMBER_CHARS = 40
_SPECIAL = {
    Shape.NUMBER: Shape.TEXT,
    Shape.THREE_TEXTS: Shape.TEXTS,
    Shape.STORED_THREE: Shape.STORED_TEXTS,
}
EXACT_INT = 2**53
_INT64 = 2**63


def shape_of(value: Any) -> Shape:
    """The shape of a JSON value; of a list by its first item."""
    if isinstance(value, str):
        return _text_shape(value)
    if value is None:
        return Shape.NULL
    if isinstance(value, bool):
        return Shape.BOOL
    if isinstance(value, int):
        if -EXACT_INT <= value <= EXACT_INT:
            return Shape.INT
        return Shape.LONG if -_INT64 <= value < _INT64 else Shape.HUGE
    if isinstance(value, float):
        return Shape.FLOAT
    if isinstance(value, dict):
        if is_message(value):
            return Shape.MESSAGE if messages_in_columns(value) is None else Shape.MESSAGES
        value = value.get("messages")
    if not isinstance(value, list) or not value:
        return Shape.NESTED
    first = value[0]
    if isinstance(first, str):
        return Shape.THREE_TEXTS if len(value) == 3 else Shape.TEXTS
    if is_message(first):
        return Shape.MESSAGES
    if isinstance(first, list) and first and is_message(first[0]):
        return Shape.CONVERSATIONS
    return Shape.NESTED


def is_message(value: Any) -> bool:
    """Whether a value says who speaks: {role, content}, or {from, value} as ShareGPT has it."""
    return isinstance(value, dict) and ("role" in value or ("from" in value and "value" in value))


def messages_in_columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Messages that are stored as a list a key, as a Sequence of `datasets` is in Arrow; None for any other object."""
    lists = list(value.values())
    if not isinstance(value.get("role", value.get("from")), list) or not all(isinstance(each, list) for each in lists):
        return None
    if len({len(each) for each in lists}) != 1:
        return None
    return [dict(zip(value, items, strict=True)) for items in zip(*lists, strict=True)]


def number_of(value: str) -> float | None:
    """The number that a text spells out; None for any other text."""
    return float(value) if len(value) <= _NUMBER_CHARS and _NUMBER.fullmatch(value) else None


def _text_shape(value: str) -> Shape:
    if value.startswith(TRANSCRIPT_START):
        return Shape.TRANSCRIPT
    if number_of(value) is not None:
        return Shape.NUMBER
    items = stored_list(value)
    if items is not None:
        if isinstance(items[0], str):
            return Shape.STORED_THREE if len(items) == 3 else Shape.STORED_TEXTS
        return Shape.STORED_CONVERSATIONS if isinstance(items[0], list) else Shape.STORED_MESSAGES
    transcript = read_transcript(value)
    return Shape.TRANSCRIPT if transcript and len(transcript.turns) > 1 else Shape.TEXT


def usual_shape(shapes: ShapeCounts) -> Shape:
    """The most common shape other than null, so that a bad row does not hide what a column is.

    A text that is a number is as other texts where these are as many, and a list of three as other lists.
    """
    counts = Counter(shapes)
    for special, general in _SPECIAL.items():
        if counts[general] >= counts[special]:
            counts[general] += counts.pop(special, 0)
    seen = [(count, shape) for shape, count in counts.items() if count and shape is not Shape.NULL]
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
    return pa.string() if seen <= _STRINGS else None


def plain_type(type_: pa.DataType) -> pa.DataType:
    """A Parquet column's type without its encoding: dictionaries and large or view strings become strings."""
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_binary_view(type_):
        return pa.binary()
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    return type_


def plain_array(column: pa.Array) -> pa.Array:
    """A column in its plain type; as it is where it has that: Arrow 25 ends the process where it casts some slices."""
    type_ = plain_type(column.type)
    return column if column.type == type_ else column.cast(type_)


def json_text(value: Any) -> str:
    """A value as JSON text: dates in ISO form, decimals as text, bytes in base64; NaN and Infinity as Python does."""
    return json.dumps(value, ensure_ascii=False, default=_to_json)


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
