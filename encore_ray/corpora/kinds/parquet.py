"""Parquet files: places are row groups, the digest is of their bytes as they are stored."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.corpora.digest import ContentDigest
from encore_ray.corpora.kinds.parquet_pages import large_dictionaries
from encore_ray.corpora.sources import SourceFile, open_bytes
from encore_ray.pickled import refuse_pickles

_PIECE_BYTES = 1 << 20
_BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class ParquetTable:
    """See `OpenTable`."""

    table: pq.ParquetFile
    file: SourceFile

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema_arrow

    def rows(self) -> list[int]:
        return [self.table.metadata.row_group(index).num_rows for index in range(self.table.num_row_groups)]

    def digest(self, start: int, end: int) -> ContentDigest:
        head = str(self.schema.remove_metadata()).encode()
        groups = (self.table.metadata.row_group(index) for index in range(start, end))
        with open_bytes(self.file) as handle:
            return ContentDigest.of(_stored_digest(group, handle, head) for group in groups)

    def batches(self, start: int, end: int, *, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        for group in range(start, end):
            stored = self.table.metadata.row_group(group)
            mean = max(1, stored.total_byte_size // max(stored.num_rows, 1))
            size = max(1, min(rows, _BATCH_BYTES // mean))
            yield from self.table.iter_batches(size, row_groups=[group], columns=columns)


@contextlib.contextmanager
def open_parquet(file: SourceFile) -> Iterator[ParquetTable]:
    """The open table; pyarrow would leave a handle that we opened open.

    Columns with a large dictionary keep it: each row that names a value of it would take its memory again.

    Raises:
        DataError: columns of pickles; a page so large that it cannot be read in bounded memory.
    """
    with open_bytes(file) as handle:
        with pq.ParquetFile(handle) as plain:
            refuse_pickles(plain.schema_arrow, file.uri)
            large = large_dictionaries(plain.metadata, handle, file.uri)
        handle.seek(0)
        with pq.ParquetFile(handle, read_dictionary=large, page_checksum_verification=True) as table:
            yield ParquetTable(table, file)


def _stored_digest(group: pq.RowGroupMetaData, handle: IO[bytes], head: bytes) -> bytes:
    """SHA-256 of a schema and of a row group's bytes as they lie in the file, read in pieces."""
    chunks = [group.column(index) for index in range(group.num_columns)]
    offsets = [
        chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
        for chunk in chunks
    ]
    handle.seek(min(offsets, default=0))
    digest, left = hashlib.sha256(head), sum(chunk.total_compressed_size for chunk in chunks)
    while left:
        piece = handle.read(min(left, _PIECE_BYTES))
        if not piece:
            raise EOFError("the file ends within a row group")
        digest.update(piece)
        left -= len(piece)
    return digest.digest()
