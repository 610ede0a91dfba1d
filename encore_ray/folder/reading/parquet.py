"""One Parquet file, opened for reading: its columns by exact name, its bytes checked against a digest."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.errors import DataError
from encore_ray.files.pickled import refuse_pickles
from encore_ray.files.remote import describe, is_trouble
from encore_ray.storage import Folder, content_digest


class OpenedTable(Protocol):
    """Columns that are read by exact name."""

    @property
    def names(self) -> list[str]:
        """Top-level columns."""
        ...

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The named columns in that order, those that are not there left out; None: all."""
        ...

    def num_nulls(self, column: str) -> int:
        """Rows without a value in a column."""
        ...


@dataclass(frozen=True)
class OpenTable:
    """An open file, or some of its row groups."""

    parquet: pq.ParquetFile
    row_groups: tuple[int, ...] | None = None

    @property
    def names(self) -> list[str]:
        """Top-level columns of the file."""
        return list(self._names)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.parquet.schema_arrow.names)  # pyarrow makes the schema anew each time it is asked

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._names)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The named columns in that order, those that the file lacks left out; None: all."""
        wanted = None if columns is None else [column for column in columns if column in self._known]
        # On one thread: there is a task for each CPU already.
        if self.row_groups is None:
            table = self.parquet.read(columns=wanted, use_threads=False)
        else:
            table = self.parquet.read_row_groups(list(self.row_groups), columns=wanted, use_threads=False)
        # Arrow reads a field b of a column a for the name a.b, too.
        return table if wanted is None else table.select(wanted)

    def num_nulls(self, column: str) -> int:
        """Rows without a value in a column, from the statistics of the file where they tell."""
        schema = self.parquet.metadata.schema
        index = next((i for i in range(len(schema)) if schema.column(i).path == column), None)
        return self._nulls(column, index)

    def all_nulls(self, columns: Collection[str]) -> dict[str, int]:
        """The same of several columns, by name."""
        schema = self.parquet.metadata.schema
        wanted = frozenset(columns)
        places = ((schema.column(i).path, i) for i in range(len(schema)))
        index = {path: i for path, i in places if path in wanted}
        return {name: self._nulls(name, index.get(name)) for name in columns}

    def _nulls(self, column: str, index: int | None) -> int:
        metadata = self.parquet.metadata
        num_nulls = 0
        for group in range(metadata.num_row_groups) if self.row_groups is None else self.row_groups:
            statistics = None if index is None else metadata.row_group(group).column(index).statistics
            if statistics is None or not statistics.has_null_count:
                return self.read([column]).column(0).null_count
            num_nulls += statistics.null_count
        return num_nulls


@contextlib.contextmanager
def open_parquet(folder: Folder, file: str, *, digest: str | None = None) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a folder, opened for reading; DataError names one that is missing, broken or not `digest`."""
    try:
        if digest is not None:
            data = _whole(folder, file)
            if content_digest(data) != digest:
                raise DataError(
                    f"{folder.path(file)} is not what its commit says: it was changed or damaged after it was written. "
                    "Delete it, and the same command makes it again."
                )
            yield _opened(pa.BufferReader(data), folder.path(file))
            return
        with folder.open(file) as handle:
            yield _opened(handle, folder.path(file))
    except FileNotFoundError:
        raise DataError(f"{folder.path(file)} is not there.") from None
    except Exception as error:
        if is_trouble(error) or isinstance(error, pa.ArrowInvalid):
            raise DataError(f"Cannot read {folder.path(file)} as Parquet: {describe(error)}") from None
        raise


def _opened(source: Any, where: str) -> pq.ParquetFile:
    parquet = pq.ParquetFile(source, page_checksum_verification=True)  # where the writer gave pages any, as Spark does
    refuse_pickles(parquet.schema_arrow, where)
    return parquet


def _whole(folder: Folder, file: str) -> pa.Buffer:
    """All bytes of a file; a local one is mapped, not copied: a committed file is only ever replaced, not changed."""
    if folder.is_local:
        return pa.memory_map(folder.path(file)).read_buffer()
    return pa.py_buffer(folder.read_bytes(file))
