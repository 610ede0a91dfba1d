"""Parquet files: places are row groups, the digest is of their bytes as they are stored."""

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encore_ray.arrays import to_numpy
from encore_ray.corpora.files.digest import ContentDigest
from encore_ray.corpora.files.sources import SourceFile, open_bytes
from encore_ray.corpora.kinds.parquet_pages import large_dictionaries
from encore_ray.files.pickled import refuse_pickles

_PIECE_BYTES = 1 << 20
_BATCH_BYTES = 64 << 20
_LONG_VALUE = 64 << 10  # thousands of which fit memory


@dataclass(frozen=True)
class ParquetTable:
    """See `OpenTable`."""

    table: pq.ParquetFile
    file: SourceFile
    handle: IO[bytes]

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
        """Columns with a dictionary of long values keep it: each row that names one would take its memory again.

        Raises:
            DataError: a page so large that it cannot be read in bounded memory.
        """
        metadata = self.table.metadata
        large = large_dictionaries(metadata, range(start, end), self.handle, self.file.uri)
        kept = [path for path, groups in large.items() if self._has_long_values(path, groups)]
        table = _opened(self.handle, metadata=metadata, read_dictionary=kept) if kept else self.table
        for group in range(start, end):
            stored = metadata.row_group(group)
            mean = max(1, stored.total_byte_size // max(stored.num_rows, 1))
            size = max(1, min(rows, _BATCH_BYTES // mean))
            yield from table.iter_batches(size, row_groups=[group], columns=columns)

    def _has_long_values(self, path: str, groups: list[int]) -> bool:
        """Whether the dictionary of a column has one; Arrow reads the whole of it with the first row."""
        metadata = self.table.metadata
        table = _opened(self.handle, metadata=metadata, read_dictionary=[path], buffer_size=_PIECE_BYTES)
        for group in groups:
            for first in itertools.islice(table.iter_batches(1, row_groups=[group], columns=[path]), 1):
                column = first.column(0)
                if not pa.types.is_dictionary(column.type):  # it lies within another column
                    return True
                length_M = to_numpy(pc.call_function("binary_length", [column.dictionary]), null=0)
                if length_M.max(initial=0) > _LONG_VALUE:
                    return True
        return False


@contextlib.contextmanager
def open_parquet(file: SourceFile) -> Iterator[ParquetTable]:
    """The open table; pyarrow would leave a handle that we opened open.

    Raises:
        DataError: columns of pickles.
    """
    with open_bytes(file) as handle, _opened(handle) as table:
        refuse_pickles(table.schema_arrow, file.uri)
        yield ParquetTable(table, file, handle)


_opened = partial(pq.ParquetFile, page_checksum_verification=True)


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
