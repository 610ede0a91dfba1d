"""Lance data sets, by the package `lance` where it is installed: the version of now, read as a whole."""

import contextlib
import hashlib
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from encore_ray.corpora.files.digest import ContentDigest
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.values import json_text
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.pickled import refuse_pickles

_ROWS = 1024


@dataclass(frozen=True)
class LanceTable:
    """See `OpenTable`."""

    table: Any

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def rows(self) -> list[int]:
        return [self.table.count_rows()]

    def digest(self, start: int, end: int) -> ContentDigest:
        """Of the values: the files change when a data set is only compacted."""
        digest = hashlib.sha256(str(self.schema.remove_metadata()).encode())
        for batch in self.batches(start, end, rows=_ROWS):
            digest.update(json_text(batch.to_pylist()).encode("utf-8", "backslashreplace"))
        return ContentDigest.of([digest.digest()])

    def batches(self, start: int, end: int, *, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from self.table.scanner(columns=columns, batch_size=rows, scan_in_order=True).to_batches()


@contextlib.contextmanager
def open_lance(file: SourceFile) -> Iterator[LanceTable]:
    """The data set; ConfigError without the package that reads it."""
    if importlib.util.find_spec("lance") is None:
        raise ConfigError(f"{file.uri}: reading Lance needs one more package: pip install pylance")
    lance = importlib.import_module("lance")
    try:
        table = lance.dataset(file.uri)
    except (ValueError, RuntimeError) as error:
        raise DataError(f"Cannot read {file.uri}: {' '.join(str(error).split())[:300]}") from error
    refuse_pickles(table.schema, file.uri)
    yield LanceTable(table)
