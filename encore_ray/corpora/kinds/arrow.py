"""Arrow files: the file form, which Feather has as well, and the stream, as `datasets` saves it. Read as a whole."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa

from encore_ray.corpora.files.digest import ContentDigest
from encore_ray.corpora.files.sources import SourceFile, open_bytes
from encore_ray.errors import DataError
from encore_ray.files.pickled import refuse_pickles

_FILE, _OLD_FEATHER = b"ARROW1", b"FEA1"
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class ArrowTable:
    """See `OpenTable`."""

    handle: IO[bytes]
    reader: pa.RecordBatchFileReader | pa.RecordBatchStreamReader
    file: SourceFile

    @property
    def schema(self) -> pa.Schema:
        return self.reader.schema

    def rows(self) -> list[int]:
        return [sum(batch.num_rows for batch in self._stored())]

    def digest(self, start: int, end: int) -> ContentDigest:
        with open_bytes(self.file) as handle:
            digest = hashlib.sha256()
            while piece := handle.read(_PIECE_BYTES):
                digest.update(piece)
        return ContentDigest.of([digest.digest()])

    def batches(self, start: int, end: int, *, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        for batch in self._stored():
            _refuse_damage(batch, self.file.uri)
            kept = batch.select(columns) if columns is not None else batch
            for first in range(0, kept.num_rows, rows):
                yield kept.slice(first, rows)

    def _stored(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self.reader, pa.RecordBatchFileReader):
            for number in range(self.reader.num_record_batches):
                yield self.reader.get_batch(number)
            return
        self.handle.seek(0)
        with pa.ipc.open_stream(self.handle) as stream:
            yield from stream


def _refuse_damage(batch: pa.RecordBatch, uri: str) -> None:
    """DataError where offsets lie: Arrow's functions would read beyond the buffers, which ends the process.

    Bytes that are no UTF-8 are another matter: each row of a column of texts is looked at later.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for column in batch.columns:
            try:
                (column.cast(pa.binary()) if pa.types.is_string(column.type) else column).validate(full=True)
            except (pa.ArrowException, UnicodeDecodeError) as error:
                said = " ".join(str(error).split())[:200]
                raise DataError(f"Cannot read {uri}: it is damaged ({said}). Write it again.") from error


@contextlib.contextmanager
def open_arrow(file: SourceFile) -> Iterator[ArrowTable]:
    """The open table."""
    with open_bytes(file) as handle:
        magic = handle.read(len(_FILE))
        handle.seek(0)
        if magic.startswith(_OLD_FEATHER):
            raise DataError(f"{file.uri} is Feather of version 1. Write it anew, as version 2 or as Parquet.")
        with pa.ipc.open_file(handle) if magic == _FILE else pa.ipc.open_stream(handle) as reader:
            refuse_pickles(reader.schema, file.uri)
            yield ArrowTable(handle, reader, file)
