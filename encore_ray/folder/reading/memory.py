"""A table in memory as one unit, read as a file is: what is computed of it has the same digits."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from encore_ray.folder.reading.parquet import OpenedTable
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.storage import Folder


@dataclass(frozen=True)
class OpenedMemory:
    """An Arrow table, read as an open file; see `OpenTable`."""

    table: pa.Table

    @property
    def names(self) -> list[str]:
        return list(self.table.column_names)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.table.column_names)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self.table if columns is None else self.table.select([c for c in columns if c in self._known])

    def num_nulls(self, column: str) -> int:
        return self.table.column(column).null_count


@dataclass(frozen=True)
class MemoryUnit(TableUnit):
    """All rows of a table in memory."""

    content: pa.Table | None = None

    @classmethod
    def of(cls, table: pa.Table) -> "MemoryUnit":
        """The unit of a table."""
        return cls("scores", Folder("/memory"), "scores", table.num_rows, "", content=table)

    @property
    def is_foreign(self) -> bool:
        return True

    @property
    def where(self) -> str:
        return "scores"

    @property
    def table_name(self) -> str:
        return "scores"

    @property
    def folders_beside(self) -> list[Folder]:
        """No file stands beside it."""
        return []

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedTable]:
        assert self.content is not None
        yield OpenedMemory(self.content)

    @property
    def schema(self) -> pa.Schema:
        assert self.content is not None
        return self.content.schema
