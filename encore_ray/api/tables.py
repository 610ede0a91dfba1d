"""Scores as a program holds them, as units in the form of ours: frames, arrays, lists of rows, data sets, or a path."""

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.columns import holds_numbers
from encore_ray.folder.reading.memory import MemoryUnit
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.foreign.form.forms import OWN
from encore_ray.foreign.form.naming import IDS, Naming
from encore_ray.foreign.row_names import row_called, rows_called_by
from encore_ray.foreign.table import said_of, score_table
from encore_ray.foreign.turn.account import Account
from encore_ray.foreign.turn.gaps import Gaps
from encore_ray.foreign.turn.turning import Turning
from encore_ray.foreign.values import as_ids, what_to_do
from encore_ray.schema import CHOSEN, PAIR_ID, REJECTED, SIDE_SEPARATOR, chosen_column, rejected_column
from encore_ray.storage import Folder, absolute
from encore_ray.visible import short

if TYPE_CHECKING:
    import pandas as pd

Scores = Any  # an Arrow table, a frame, arrays, a list of dicts, a Dataset, or a path
_EXPECTED = (
    "an Arrow table, a pandas or polars frame, a Dataset, a mapping of arrays, an N × K array or a pair of them, a "
    "list of dicts, or a path"
)


@dataclass(frozen=True)
class Table:
    """Scores in the form of ours.

    Attributes:
        account: what became of a table in another form; None of one in ours.
        index: of the rows, where they are those of a pandas frame.
    """

    units: Sequence[TableUnit]
    account: Account | None = None
    index: "pd.Index | None" = None

    @property
    def sentences(self) -> list[str]:
        """How a table in another form was read."""
        return self.account.sentences() if self.account else []

    @property
    def left_out(self) -> list[str]:
        """The rows that do not count."""
        return self.account.left_out if self.account else []


@contextlib.contextmanager
def open_table(scores: Scores, naming: Naming, *, rules: Sequence[str] | None) -> Iterator[Table]:
    """The units of a table.

    Args:
        scores: see `encore_ray.weigh`.
        naming: what a person says of its columns.
        rules: names, where they are known.

    Raises:
        ConfigError: this is no table, or a column that is named is not there. DataError: it has no row, or no scores.
    """
    with contextlib.ExitStack() as held:
        if isinstance(scores, str | PathLike):
            scratch = Folder(held.enter_context(tempfile.TemporaryDirectory(prefix="encore-ray-")))
            opened = score_table(absolute(fspath(scores)), naming, rules=rules, scratch=scratch)
            found = held.enter_context(opened)
            table = Table(table_units(found.uri), found.account)
        else:
            with said_of("scores"), rows_called_by(scores.index if is_pandas(scores) else None):
                table = _in_memory(scores, naming, rules)
        yield table


def _in_memory(scores: Scores, naming: Naming, rules: Sequence[str] | None) -> Table:
    index = scores.index if is_pandas(scores) else None
    arrays = _matrices(scores)
    if arrays is not None:
        scores, naming = _of_matrices(*arrays), Naming(CHOSEN, REJECTED if len(arrays) > 1 else None, naming.columns)
    table = _as_arrow(scores)
    if not table.num_rows:
        raise DataError("scores is empty: it has no row.")
    if not naming.says_something and _is_ours(table, rules):
        return Table([MemoryUnit.of(_with_ids(table))], index=index)
    turning = Turning.of(table, naming, table="scores", rules=rules, texts=None)
    with tempfile.TemporaryDirectory(prefix="encore-ray-") as scratch:
        parts = list(turning.parts([table], Folder(scratch)))
    if not parts:
        raise DataError("scores is empty: no row has a score.")
    kept_N = turning.has_N
    index = None if index is None or kept_N is None else index[kept_N]
    return Table([MemoryUnit.of(pa.concat_tables(parts))], turning.account, index)


def _is_ours(table: pa.Table, rules: Sequence[str] | None) -> bool:
    """Whether a table is read as it is: columns called as ours that hold numbers, and no row that lacks a score."""
    names = [name for name in table.column_names if name.startswith(OWN)]
    there = dict.fromkeys(name.partition(SIDE_SEPARATOR)[2] for name in names)
    counted = [rule for rule in there if rules is None or rule in rules]
    sides = [side(rule) for rule in counted for side in (chosen_column, rejected_column)]
    if not sides or not {*sides} <= {*names} or not all(holds_numbers(table.column(name)) for name in sides):
        return False
    gaps = Gaps.of(counted)
    gaps.look(table.select(sides))
    return gaps.is_whole


def is_pandas(scores: Scores) -> bool:
    """Whether it is a pandas frame; whoever has one has loaded pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(scores, pandas.DataFrame)


def _matrices(scores: Scores) -> list[np.ndarray] | None:
    """Arrays of shape (N, K), of one side or of both; None for anything else."""
    both = list(scores) if isinstance(scores, tuple) else [scores]
    are_arrays = all(hasattr(each, "__array__") and len(getattr(each, "shape", ())) == 2 for each in both)
    if not are_arrays or is_pandas(scores) or any(hasattr(each, "__arrow_c_stream__") for each in both):
        return None
    found = [np.asarray(each) for each in both]
    if len(found) > 2 or len({each.shape for each in found}) > 1 or not found[0].shape[1]:
        shapes = ", ".join(str(each.shape) for each in found)
        raise ConfigError(
            f"scores: expected an array of shape (N, K), or a pair of them, of chosen and of rejected responses; found "
            f"{shapes}."
        )
    return found


def _of_matrices(*score_NK: np.ndarray) -> dict[str, pa.Array]:
    """A list a row of each side."""
    names = (CHOSEN, REJECTED)[: len(score_NK)]
    return {
        name: pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(each).reshape(-1)), each.shape[1])
        for name, each in zip(names, score_NK, strict=True)
    }


def _as_arrow(scores: Scores) -> pa.Table:
    """The table; ConfigError for what is none, DataError for one that Arrow cannot hold."""
    scores = _of_rows(_of_data_set(scores))
    if is_pandas(scores):
        in_index = [name for name in scores.index.names if name in IDS and name not in scores.columns]
        if not scores.columns.is_unique:
            _refuse_repeated([str(name) for name in scores.columns])
        scores = scores.reset_index(level=in_index) if in_index else scores
    elif not isinstance(scores, pa.Table | Mapping) and not hasattr(scores, "__arrow_c_stream__"):
        kind = type(scores).__name__
        remedy = " Call its collect() first." if kind == "LazyFrame" else ""
        raise ConfigError(f"scores: expected {_EXPECTED}; found {kind}.{remedy}")
    try:
        if isinstance(scores, pa.Table):
            table = scores
        elif is_pandas(scores):
            table = pa.Table.from_pandas(scores, preserve_index=False)
        else:
            table = pa.table(_arrays(scores) if isinstance(scores, Mapping) else scores)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        for name, column in scores.items() if is_pandas(scores) else ():
            if told := _odd_one(column):
                raise DataError(f"scores: column {short(str(name))}{told}") from None
        told = "; ".join(map(str, error.args))
        raise DataError(f"scores cannot be read as a table, each column as long as the others: {told}.") from None
    _refuse_repeated(table.column_names)
    return table


def _of_data_set(scores: Scores) -> Scores:
    """The Arrow table of a data set of Hugging Face; anything else as it is."""
    datasets = sys.modules.get("datasets")  # whoever has one has loaded it
    if datasets is None:
        return scores
    if isinstance(scores, datasets.DatasetDict | datasets.IterableDatasetDict):
        raise ConfigError(f"scores: this has several splits: {', '.join(map(str, scores))}. Name one, as ['train'].")
    if isinstance(scores, datasets.IterableDataset):
        raise ConfigError("scores: this data set streams, and is read more than once. Load it without streaming.")
    return scores.with_format("arrow")[:] if isinstance(scores, datasets.Dataset) else scores


def _of_rows(scores: Scores) -> Scores:
    """Columns of a list of rows; anything else as it is."""
    if not isinstance(scores, list) or not scores or not all(isinstance(row, dict) for row in scores):
        return scores
    names = dict.fromkeys(name for row in scores for name in row)
    return {name: [row.get(name) for row in scores] for name in names}


def _arrays(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Columns of a mapping as Arrow's, NaN as null, as in a pandas frame."""
    found = {}
    for name, column in columns.items():
        try:
            is_arrow = isinstance(column, pa.Array | pa.ChunkedArray)
            found[str(name)] = column if is_arrow else pa.array(column, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            told = _odd_one(column) or f" cannot be read as an array: {error}."
            raise DataError(f"scores: column {name}{told}") from None
    return found


def _odd_one(values: Any) -> str:
    """The end of a sentence on a column of numbers with another value among them; "" for another column."""
    found = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else []
    texts = [(row, value) for row, value in enumerate(found, start=1) if isinstance(value, str)]
    if not texts or sum(isinstance(value, Number) for value in found) < len(texts):
        return ""
    row, value = texts[0]
    return f", {row_called(row)}: {short(value)!r} is no number. {what_to_do()}"


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise DataError(f"scores has the column {', '.join(repeated)} more than once: rename or drop one.")


def _with_ids(table: pa.Table) -> pa.Table:
    """The table with a pair_id, its texts as plain strings."""
    if PAIR_ID not in table.column_names:
        table = table.add_column(0, PAIR_ID, pa.array([str(row) for row in range(table.num_rows)], pa.string()))
    for name in IDS:
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, as_ids(table.column(name), name))
    return table
