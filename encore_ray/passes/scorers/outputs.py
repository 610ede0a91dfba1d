"""What the pairs of one unit got: between whoever makes it (a model, a judge, the data) and whoever writes it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from encore_ray.arrays import rows_to_table, to_numpy
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.schema import (
    CHOSEN,
    GROUP_ID,
    PAIR_ID,
    PROMPT,
    PROMPT_ID,
    QUARANTINE_SCHEMA,
    REASON_COUNT,
    REJECTED,
    SUBSET,
    Reason,
)

CARRIED = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET)
TEXTS = (PROMPT, CHOSEN, REJECTED)


@dataclass(frozen=True, eq=False)
class UnitOutputs:
    """What the pairs of one unit got, and which of them got nothing.

    Attributes:
        unit: of pairs/.
        table: all M pairs of the unit.
        left_out: pairs that got nothing; the arrays are about the N others.
        values_N2K: float32, one number for each side and rule.
        facts: how they were made, for the metadata of the file.
        embeddings_N2D: float32, one vector a side, where a model gives it; else D is 0.
        columns: N further values each.
        counts: what it took to make them, for the commit.
        notes: the same in other than whole numbers.
    """

    unit: TableUnit
    table: pa.Table
    left_out: Sequence[LeftOut]
    values_N2K: np.ndarray
    facts: Mapping[str, str]
    embeddings_N2D: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 0), dtype=np.float32))
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def kept(self) -> pa.Table:
        """The N pairs that got something."""
        return without(self.table, self.left_out)

    @cached_property
    def single_N(self) -> np.ndarray:
        """Which of them are a single response."""
        return to_numpy(self.kept.column(REJECTED).is_null())

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The facts as a Parquet file has them."""
        return {f"encore_ray.{key}".encode(): value.encode() for key, value in self.facts.items()}


class Forward(Protocol):
    """Makes the outputs of one unit, in a worker; rows of `left_out` must not be worked on."""

    def __call__(self, unit: TableUnit, left_out: Sequence[LeftOut]) -> UnitOutputs: ...


class OutputWriter(Protocol):
    """Writes what a table keeps of a unit's outputs; returns the counts rows, scored and quarantined."""

    def __call__(self, outputs: UnitOutputs, attempt: Attempt) -> Mapping[str, int]: ...


def write_rows(
    outputs: UnitOutputs,
    attempt: Attempt,
    columns: Mapping[str, Any],
    *,
    wrong: Mapping[int, str],
    metadata: Mapping[bytes, bytes],
) -> dict[str, int]:
    """Write what one unit's pairs got, behind their ids, and to quarantine the pairs that got nothing usable.

    Args:
        attempt: takes the files.
        columns: N values each.
        wrong: of the N pairs, the places of those whose values are not finite, each described.
        metadata: of the file.

    Returns:
        Counts: rows, scored, quarantined, and quarantined by reason.
    """
    table, kept, left_out = outputs.table, outputs.kept, outputs.left_out
    row_N = np.setdiff1d(np.arange(table.num_rows), [pair.row for pair in left_out])
    wrong_N = np.zeros(kept.num_rows, dtype=bool)
    wrong_N[list(wrong)] = True
    scored = pa.table({**{name: kept.column(name) for name in CARRIED}, **columns}).filter(pa.array(~wrong_N))
    attempt.write(scored.replace_schema_metadata(dict(metadata)))
    unusable = [LeftOut(int(row_N[i]), Reason.NON_FINITE_SCORE, detail) for i, detail in wrong.items()]
    quarantined = sorted([*left_out, *unusable], key=lambda pair: pair.row)
    attempt.quarantine(_quarantine_table(outputs.unit, table, quarantined))
    reasons = Counter(f"{REASON_COUNT}{pair.reason}" for pair in quarantined)
    return {"rows": table.num_rows, "scored": scored.num_rows, "quarantined": len(quarantined), **reasons}


def _quarantine_table(unit: TableUnit, table: pa.Table, bad: Sequence[LeftOut]) -> pa.Table:
    rows = table.take(pa.array([pair.row for pair in bad], pa.int64())).to_pylist()
    records = [
        {
            "source": unit.folder.path(unit.file),
            "line": pair.row + 1,
            "pair_id": row[PAIR_ID],
            "reason": pair.reason.value,
            "detail": pair.detail,
            "raw": json.dumps({name: row[name] for name in TEXTS}, ensure_ascii=False),
        }
        for pair, row in zip(bad, rows, strict=True)
    ]
    return rows_to_table(records, QUARANTINE_SCHEMA)


def non_finite(values_N2D: np.ndarray, single_N: np.ndarray) -> np.ndarray:
    """Which of N pairs have a value that is not finite; a single response has but one side."""
    return ~np.isfinite(values_N2D[:, 0]).all(axis=1) | (~single_N & ~np.isfinite(values_N2D[:, 1]).all(axis=1))


def without(table: pa.Table, left_out: Sequence[LeftOut]) -> pa.Table:
    """The rows that are not left out."""
    if not left_out:
        return table
    keep = np.ones(table.num_rows, dtype=bool)
    keep[[pair.row for pair in left_out]] = False
    return table.filter(pa.array(keep))
