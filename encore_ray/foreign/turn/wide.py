"""A table with a row a pair, turned into the form of ours."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.arrays import to_arrow, to_numpy
from encore_ray.errors import DataError
from encore_ray.folder.reading.columns import any_valid
from encore_ray.foreign.form.forms import Place, Wide
from encore_ray.foreign.row_names import row_called
from encore_ray.foreign.values import Texts, as_ids, as_scores, listed
from encore_ray.schema import (
    CHOSEN_CHARS,
    CHOSEN_TOKENS,
    PAIR_ID,
    REJECTED_CHARS,
    REJECTED_TOKENS,
    chosen_column,
    rejected_column,
)
from encore_ray.visible import short

_LENGTHS = (CHOSEN_TOKENS, REJECTED_TOKENS, CHOSEN_CHARS, REJECTED_CHARS)


@dataclass(frozen=True)
class Turned:
    """Rows in the form of ours.

    Attributes:
        table: with `pair_id`, scores of both sides as float32 or float64, and the further columns as they were.
        has_N: bool, which rows are in it; the others have no score.
    """

    table: pa.Table
    has_N: np.ndarray


def turn(rows: pa.Table, form: Wide, *, texts: Texts | None, first_row: int) -> Turned:
    """Turn some rows of a table.

    Args:
        texts: of a table of texts, how it writes numbers.
        first_row: number of the first of them in the table, which is its id where the table has none.

    Raises:
        DataError: a score is no number, lists are of different lengths, an id is neither text nor number.
    """
    if form.names:
        _check_names(rows.column(form.names), form, first_row)
    lists = {
        place.column: _of_length(rows, place.column, form, texts, first_row)
        for sides in form.scores.values()
        for place in sides
        if place is not None and isinstance(place.key, int)
    }

    def scores(place: Place) -> pa.Array:
        if isinstance(place.key, int):
            return as_scores(pa.chunked_array([_item(lists[place.column], place.key)]), place.column, None, first_row=0)
        column = rows.column(place.column)
        if place.key is not None:
            column = pc.call_function("struct_field", [column], pc.StructFieldOptions([place.key]))
        return as_scores(column, place.column, texts, first_row=first_row)

    columns: dict[str, Any] = {}
    columns[PAIR_ID] = pa.array([str(first_row + row) for row in range(rows.num_rows)], pa.string())
    columns |= {name: as_ids(rows.column(column), column) for name, column in form.ids.items()}
    for name in rows.column_names:
        if name not in form.used and name not in form.ids.values():
            columns.setdefault(name, _carried(rows.column(name), name, texts, first_row))
    found: dict[str, pa.Array] = {}
    for rule, (chosen, rejected) in form.scores.items():
        found[chosen_column(rule)] = scores(chosen)
        other = pa.nulls(rows.num_rows, pa.float64()) if rejected is None else scores(rejected)
        found[rejected_column(rule)] = other
    has_N = any_valid(pa.chunked_array([column]) for column in found.values())
    table = pa.table(columns | found)
    return Turned(table if has_N.all() else table.take(to_arrow(np.flatnonzero(has_N))), has_N)


def _check_names(column: pa.ChunkedArray, form: Wide, first_row: int) -> None:
    """DataError where a row has its scores in another order than the first one."""
    expected = list(form.labels.values())
    for row, names in enumerate(column.to_pylist()):
        if names is not None and names != expected:
            said = ", ".join(map(str, names))
            raise DataError(
                f"column {form.names}, {row_called(first_row + row + 1)}: the scores are of {said}, those of the first "
                f"row of {', '.join(expected)}. Bring them into one order."
            )


def _of_length(rows: pa.Table, name: str, form: Wide, texts: Texts | None, first_row: int) -> pa.Array:
    """A column of lists of which each has a score for every rule."""
    found = listed(rows.column(name), name, texts, first_row=first_row)
    lengths_N = to_numpy(pc.call_function("list_value_length", [found]), null=form.num_listed or 0)
    wrong = np.flatnonzero(lengths_N != form.num_listed)
    if wrong.size:
        row = row_called(first_row + int(wrong[0]) + 1)
        raise DataError(
            f"column {short(name)}, {row}: a list of {int(lengths_N[wrong[0]])} scores, "
            f"where others have {form.num_listed}. Every list has a score for each rule, null where there is none."
        )
    return found


def _item(lists: pa.Array, number: int) -> pa.Array:
    """One element of every list; null where there is no list."""
    present_N = to_numpy(lists.is_valid())
    values = pc.call_function("list_element", [lists.filter(lists.is_valid()), pa.scalar(number)])
    if present_N.all():
        return values
    return values.take(to_arrow(np.cumsum(present_N) - 1, null_N=~present_N))


def _carried(column: pa.ChunkedArray, name: str, texts: Texts | None, first_row: int) -> pa.Array | pa.ChunkedArray:
    """A further column as it is; lengths are numbers, also in a table of texts."""
    if name in _LENGTHS and texts is not None:
        return as_scores(column, name, texts, first_row=first_row)
    return column
