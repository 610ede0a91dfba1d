"""Tables of any kind of file as record batches: their columns, the parts that are read by themselves, their digest."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from encore_ray.corpora.files.digest import ContentDigest
from encore_ray.corpora.files.sources import SourceFile

TABLE_KINDS = frozenset({"parquet", "arrow", "lance"})


class OpenTable(Protocol):
    """A table that is open; places are row groups of Parquet and 0 to 1, the whole, of any other kind."""

    @property
    def schema(self) -> pa.Schema:
        """Columns as they are stored."""
        ...

    def rows(self) -> list[int]:
        """Number of rows of each place."""
        ...

    def digest(self, start: int, end: int) -> ContentDigest:
        """Digest of the content of some places."""
        ...

    def batches(self, start: int, end: int, *, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of some places in order, of at most so many rows."""
        ...


def open_table(file: SourceFile) -> AbstractContextManager[OpenTable]:
    """The table in a file.

    Raises:
        DataError: columns of pickles. ConfigError: a package that is not installed.
    """
    if file.kind == "parquet":
        from encore_ray.corpora.kinds.parquet import open_parquet

        return open_parquet(file)
    if file.kind == "lance":
        from encore_ray.corpora.kinds.lance_sets import open_lance

        return open_lance(file)
    from encore_ray.corpora.kinds.arrow import open_arrow

    return open_arrow(file)
