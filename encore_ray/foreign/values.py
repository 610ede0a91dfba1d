"""Columns of a table made elsewhere as scores and ids: numbers and texts of any type, lists, structs, text."""

import contextlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.arrays import in_one_piece
from encore_ray.errors import DataError
from encore_ray.folder.reading.columns import holds_numbers, holds_texts
from encore_ray.foreign.row_names import row_called
from encore_ray.shell import option
from encore_ray.visible import short

Kind = Literal["numbers", "lists", "structs", "texts", "other"]

# What says in a text that there is no number: the words of pandas, R and SQL.
NO_NUMBER = ("", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a", "#na", "nil", "-", "?", ".")
_LOOKED_AT = 200  # texts, from which the kind of a column is told
_EXACT = 1 << 53  # whole numbers up to which a float tells one from the next


@dataclass(frozen=True)
class Texts:
    """How a table of texts writes numbers; typed tables have none.

    Attributes:
        decimal: the mark before the first decimal.
    """

    decimal: Literal[".", ","] = "."


def kind_of(column: pa.ChunkedArray, texts: Texts | None) -> Kind:
    """What a column holds; of a table of texts as its first values tell."""
    kind = column.type
    if texts is not None and pa.types.is_string(kind):
        return _kind_of_texts(column, texts)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "lists" if _is_number(kind.value_type) else "other"
    if pa.types.is_struct(kind):
        return "structs" if kind.num_fields and all(_is_number(field.type) for field in kind) else "other"
    if holds_numbers(column):
        return "numbers"
    return "texts" if holds_texts(column) else "other"


def _is_number(kind: pa.DataType) -> bool:
    return holds_numbers(pa.chunked_array([], kind)) and not pa.types.is_dictionary(kind)


def _kind_of_texts(column: pa.ChunkedArray, texts: Texts) -> Kind:
    said = _said(column)
    if not said:
        return "numbers"  # of which none is there
    if all(value.lstrip().startswith("[") for value in said):
        return "lists"
    return "numbers" if _are_meant_as_numbers(said) else "texts"  # one that is none is refused where it is read


def decimal_mark(column: pa.ChunkedArray) -> Literal[".", ",", ""]:
    """The mark of decimals in a column of texts that are numbers; "" where there is none, or they are no numbers."""
    said = _said(column)
    if any("," in value for value in said) and _mostly_numbers(said, ","):
        return ","
    return "." if any("." in value for value in said) and _mostly_numbers(said, ".") else ""


def _said(column: pa.ChunkedArray) -> list[str]:
    """The first texts of a column that say something."""
    trimmed = pc.call_function("utf8_trim_whitespace", [in_one_piece(column)])
    return trimmed.filter(pc.call_function("invert", [_says_nothing(trimmed)])).slice(0, _LOOKED_AT).to_pylist()


def _says_nothing(trimmed: pa.Array) -> pa.Array:
    """Whether a text says that there is no number."""
    lower = pc.call_function("utf8_lower", [pc.call_function("coalesce", [trimmed, pa.scalar("")])])
    return pc.call_function("is_in", [lower], pc.SetLookupOptions(pa.array(NO_NUMBER)))


def _are_meant_as_numbers(said: list[str]) -> bool:
    return _mostly_numbers(said, ".") or _mostly_numbers(said, ",")


def _mostly_numbers(said: list[str], decimal: str) -> bool:
    return 2 * sum(_number(value, decimal) is not None for value in said) > len(said)


def _number(text: str, decimal: str) -> float | None:
    if decimal == ",":
        if "." in text or text.count(",") > 1:
            return None
        text = text.replace(",", ".")
    try:
        return pa.scalar(text.strip(), pa.string()).cast(pa.float64()).as_py()
    except pa.ArrowInvalid:
        return None


def as_scores(column: pa.ChunkedArray, name: str, texts: Texts | None, *, first_row: int) -> pa.Array:
    """A column as numbers, float32 where they are, else float64; null for NaN and for what says that there is none.

    Args:
        first_row: number of its first row, for messages.

    Raises:
        DataError: it holds something else; a text is no number.
    """
    if texts is not None and pa.types.is_string(column.type):
        return _parsed(column, name, texts, first_row)
    if not holds_numbers(column):
        raise DataError(f"column {short(name)} must hold numbers{what_instead(column, first_row=first_row)}")
    try:
        numbers = column if pa.types.is_float32(column.type) else column.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise DataError(f"column {short(name)} cannot be read as float64: {error}") from None
    found = in_one_piece(numbers)
    is_nan = pc.call_function("is_nan", [found])
    return pc.call_function("if_else", [is_nan, pa.scalar(None, found.type), found])


def _parsed(column: pa.ChunkedArray, name: str, texts: Texts, first_row: int) -> pa.Array:
    trimmed = pc.call_function("utf8_trim_whitespace", [in_one_piece(column)])
    said = pc.call_function("if_else", [_says_nothing(trimmed), pa.scalar(None, pa.string()), trimmed])
    plain = said
    if texts.decimal == ",":
        plain = pc.call_function("replace_substring", [said], pc.ReplaceSubstringOptions(",", "."))
    try:
        if texts.decimal == "," and pc.call_function("any", [_has_point(said)]).as_py():
            raise pa.ArrowInvalid("both marks")
        return plain.cast(pa.float64())
    except pa.ArrowInvalid:
        values = said.to_pylist()
        row, text = next((n, v) for n, v in enumerate(values) if v is not None and _number(v, texts.decimal) is None)
        raise DataError(
            f"column {short(name)}, {row_called(first_row + row + 1)}: {short(text)!r} is no number"
            f"{_why(text, texts)}. {what_to_do()}"
        ) from None


def what_instead(column: pa.ChunkedArray, *, first_row: int = 0) -> str:
    """The end of a sentence on a column that must hold numbers: what it holds, in which row first, and what to do."""
    if not holds_texts(column):
        also = " Write 1 and 0." if pa.types.is_boolean(column.type) else ""
        return f", found {column.type}.{also}"
    for row, text in enumerate(as_ids(column, "").to_pylist(), start=first_row + 1):
        said = _plain(text or "")
        if said.strip().lower() not in NO_NUMBER and _number(said, ".") is None:
            return f"; {row_called(row)} has {short(said)!r}. {what_to_do()}"
    return ", and holds them as texts: convert them, as by astype(float) in pandas."


def what_to_do() -> str:
    """With a score that is no number."""
    return (
        "Write a number, or empty all scores of the row, which leaves it out; where the column holds no scores, name "
        f"those that do by {option('chosen')} and {option('rejected')}, or take it out of the table."
    )


def is_meant_as_numbers(column: pa.ChunkedArray) -> bool:
    """Whether a column of texts in a typed table mostly holds numbers."""
    return holds_texts(column) and _are_meant_as_numbers([_plain(value) for value in _said(as_ids(column, ""))])


def _plain(text: str) -> str:
    """A value of JSON that stands in text, as it is where a column has values of several types."""
    if text[:1] == '"':
        with contextlib.suppress(ValueError):
            return str(json.loads(text))
    return text


def _has_point(said: pa.Array) -> pa.Array:
    return pc.call_function("match_substring", [said], pc.MatchSubstringOptions("."))


def _why(text: str, texts: Texts) -> str:
    if texts.decimal == "," and "." in text:
        return ": decimals have a comma in this table"
    if texts.decimal == "." and "," in text:
        return ": write decimals with a point"
    return ""


def as_ids(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Ids and names of subsets as texts.

    Raises:
        DataError: they are neither texts nor numbers; whole numbers became floats that do not tell them apart.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        return _whole_numbers(column, name).cast(pa.string())
    if not pa.types.is_nested(kind):
        try:
            return column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # as of categories whose names are views
            values = column.to_pylist()
            if all(value is None or isinstance(value, str) for value in values):
                return pa.chunked_array([pa.array(values, pa.string())])
    raise DataError(f"column {short(name)} must hold texts or numbers, found {kind}.")


def _whole_numbers(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Floats as whole numbers: a column of int64 with a hole in it becomes float64 in pandas."""
    try:
        numbers = column.cast(pa.float64())
        is_nan = pc.call_function("is_nan", [numbers])
        whole = pc.call_function("if_else", [is_nan, pa.scalar(None, pa.float64()), numbers]).cast(pa.int64())
        ends = pc.call_function("min_max", [whole]).as_py()
        if max(abs(ends["min"] or 0), abs(ends["max"] or 0)) < _EXACT:
            return whole
    except pa.ArrowInvalid:
        return column  # not whole: as they are
    raise DataError(
        f"column {short(name)} holds whole numbers as floats, which are the same for several ids from {_EXACT:,} on. "
        "Write them as texts or as int64, as by astype('Int64') in pandas."
    )


def listed(column: pa.ChunkedArray, name: str, texts: Texts | None, *, first_row: int) -> pa.Array:
    """A column of lists; lists in text, as JSON writes them, are read.

    Raises:
        DataError: a text is no list of numbers.
    """
    if texts is None or not pa.types.is_string(column.type):
        return in_one_piece(column)
    values = [_list_in_text(text, name, first_row + row + 1) for row, text in enumerate(column.to_pylist())]
    return pa.array(values, pa.list_(pa.float64()))


def _list_in_text(text: str | None, name: str, row: int) -> list[float | None] | None:
    if text is None or text.strip().lower() in NO_NUMBER:
        return None
    try:
        value: Any = json.loads(text.replace("nan", "NaN").replace("None", "null"))
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(item is None or isinstance(item, int | float) for item in value):
        raise DataError(
            f"column {short(name)}, {row_called(row)}: {short(text)!r} is no list of numbers, as in [0.1, 0.2]. An "
            "array of numpy is cut and loses its commas in text: write lists, as by tolist(), or Parquet."
        )
    return [None if item is None else float(item) for item in value]
