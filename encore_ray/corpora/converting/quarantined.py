"""Rows of one split that could not be used, with what is wrong with them, as they go to quarantine."""

from collections import Counter
from typing import Any

import pyarrow as pa

from encore_ray.arrays import rows_to_table
from encore_ray.corpora.rows import BadRow, SourceRow
from encore_ray.schema import QUARANTINE_SCHEMA

RAW_CHARS = 1 << 20  # of a row that are kept
PACKED_ROWS = 8_192  # that are held as Python objects, six times the size of Arrow's
RAW_CHARS_OF_ALL = 64 << 20  # of a split; of rows after these only their beginning
RAW_CHARS_OF_LATER = 1 << 10


class Quarantined:
    """The rows so far, and how many there are of each reason.

    Attributes:
        reasons: number of rows by reason.
    """

    def __init__(self, source: str):
        self._source = source
        self._packed: list[pa.Table] = []
        self._to_pack: list[dict[str, Any]] = []
        self._raw_chars = 0
        self.reasons: Counter[str] = Counter()

    def put(self, row: SourceRow, problem: BadRow) -> None:
        raw, detail = row.text(), problem.detail
        most = RAW_CHARS if self._raw_chars < RAW_CHARS_OF_ALL else RAW_CHARS_OF_LATER
        if len(raw) > most:
            detail = f"{detail} (raw row: the first {most} of {len(raw)} characters)"
        self._raw_chars += min(len(raw), most)
        self.reasons[problem.reason.value] += 1
        self._to_pack.append(
            {
                "source": self._source,
                "line": row.line,
                "pair_id": None,
                "reason": problem.reason.value,
                "detail": detail,
                "raw": raw[:most],
            }
        )
        if len(self._to_pack) == PACKED_ROWS:
            self._pack()

    def table(self) -> pa.Table:
        """All of them, as schema.QUARANTINE_SCHEMA."""
        self._pack()
        return pa.concat_tables(self._packed)

    def _pack(self) -> None:
        self._packed.append(rows_to_table(self._to_pack, QUARANTINE_SCHEMA))
        self._to_pack = []
