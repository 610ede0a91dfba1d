"""The files of an exported dataset: JSON Lines, Parquet, or a folder as `datasets` saves one, written part by part."""

import io
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.corpora.kinds.saved import INFO, STATE
from encore_ray.corpora.values import json_text
from encore_ray.storage import Folder, to_json

Row = dict[str, Any]
Kind = Literal["jsonl", "parquet", "datasets"]

FILES: dict[Kind, tuple[str, ...]] = {
    "jsonl": ("train.jsonl",),
    "parquet": ("train.parquet",),
    "datasets": (STATE, INFO),  # and rows in the file that state.json names
}
_ROWS_A_GROUP = 1024


def write_rows(output: Folder, records: Iterable[Row], *, kind: Kind, types: pa.Schema) -> None:
    """Write the rows of a dataset.

    Args:
        types: of its columns; JSON Lines need none.
    """
    file = FILES[kind][0]
    if kind == "jsonl":
        output.write_stream(file, (json_text(each).encode() + b"\n" for each in records))
    elif kind == "parquet":
        open_parquet = lambda sink: pq.ParquetWriter(sink, types, compression="zstd")  # noqa: E731
        output.write_stream(file, _written(records, types, open_parquet))
    else:
        _write_folder(output, _written(records, types, lambda sink: pa.ipc.new_stream(sink, types)))


def _write_folder(output: Folder, rows: Iterator[bytes]) -> None:
    """A folder for `load_from_disk`; state.json, which comes last, takes the place of another one with its rows."""
    before = [name for name in output.names() if name.endswith(".arrow")] if output.exists(STATE) else []
    mark = uuid.uuid4().hex[:16]  # by which `datasets` tells what it cached of one folder from that of another
    file = f"data-{mark}.arrow"
    output.write_stream(file, rows)
    output.write_atomic(INFO, to_json({}))
    output.write_atomic(STATE, to_json(_state(file, mark)))
    for name in before:
        output.delete(name)


def _state(file: str, mark: str) -> Row:
    return {
        "_data_files": [{"filename": file}],
        "_fingerprint": mark,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }


def _written(records: Iterable[Row], types: pa.Schema, open_writer: Callable[[Any], Any]) -> Iterator[bytes]:
    sink, rows = _Pieces(), iter(records)
    with open_writer(sink) as writer:
        while group := list(islice(rows, _ROWS_A_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=types))
            yield from sink.taken()
    yield from sink.taken()


class _Pieces(io.RawIOBase):
    """Takes what is written, for someone who writes it elsewhere."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def taken(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces
