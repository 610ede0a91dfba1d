"""Rows of a table as they are read: columns without encodings, and what is known of all rows at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from encore_ray.corpora.values import json_text, plain_array


@dataclass(frozen=True, eq=False)
class TableBatch:
    """Some rows that follow each other.

    Attributes:
        batch: in plain columns: Arrow can take no rows of view strings.
    """

    batch: pa.RecordBatch

    @classmethod
    def of(cls, stored: pa.RecordBatch) -> "TableBatch":
        return cls(pa.RecordBatch.from_arrays(list(map(plain_array, stored.columns)), names=stored.schema.names))

    @cached_property
    def is_valid(self) -> bool:
        """Whether all texts are UTF-8: Arrow reads a string column without looking."""
        try:
            self.batch.validate(full=True)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return False
        return True

    @cached_property
    def column_bytes(self) -> dict[str, int]:
        """Bytes of each column: no value in it has more."""
        return {name: column.nbytes for name, column in zip(self.batch.schema.names, self.batch.columns, strict=True)}

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row, in the mean."""
        return self.batch.nbytes // self.batch.num_rows

    def text(self, index: int) -> str:
        """A row as JSON text that keeps what is not UTF-8, as backslash escapes."""
        return json_text({name: _readable(self.batch.column(name), index) for name in self.batch.schema.names})


def _readable(column: pa.Array, index: int) -> Any:
    try:
        return column[index].as_py()
    except UnicodeDecodeError:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return column.slice(index, 1).cast(pa.binary())[0].as_py().decode("utf-8", "backslashreplace")
        return "<not UTF-8>"
