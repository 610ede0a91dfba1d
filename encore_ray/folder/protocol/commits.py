"""What a finished unit leaves behind: its files, its counts, in one small record."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.folder.protocol.versions import is_readable
from encore_ray.schema import SCHEMA_VERSION, Reason
from encore_ray.storage import Written, fingerprint, from_json, to_json

_DIGEST = "digest"  # key of a record: of all the others; those of before have none
INPUT = "input"  # key of a commit's notes: what the unit was made from, where that is more than its digest tells


@dataclass(frozen=True)
class DataFile:
    """One table file that a commit names: the later unit's name, path in the pass folder, rows, digest."""

    unit: str
    file: str
    rows: int
    digest: str


@dataclass(frozen=True)
class LeftOut:
    """A row of a unit that gets no result: its place from 0 on, and why, for the quarantine."""

    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Commit:
    """What one finished unit of a pass produced.

    Attributes:
        unit: the unit's name.
        plan: fingerprint of the facts that decided it.
        input_digest: digest of what the unit was made from; a resume compares it.
        data: its table files in order; each is a unit of the next pass.
        quarantine: rows that could not be used, relative to the run's quarantine folder; or None.
        counts: integers that the pass adds up and checks; `rows` is the number of rows it was made from.
        notes: further JSON values about the unit, e.g. the range of its scores.
        seconds: time of the work; finished_at: seconds since the epoch.
    """

    unit: str
    plan: str
    input_digest: str
    data: tuple[DataFile, ...]
    quarantine: Written | None
    counts: Mapping[str, int]
    notes: Mapping[str, Any]
    seconds: float
    finished_at: float

    def to_json(self) -> bytes:
        record = {
            "schema_version": SCHEMA_VERSION,
            "unit": self.unit,
            "plan": self.plan,
            "input_digest": self.input_digest,
            "data": [vars(file) for file in self.data],
            "quarantine": vars(self.quarantine) if self.quarantine else None,
            "counts": dict(self.counts),
            "notes": dict(self.notes),
            "seconds": self.seconds,
            "finished_at": self.finished_at,
        }
        return to_json({**record, _DIGEST: fingerprint(record)})

    @classmethod
    def from_json(cls, data: bytes) -> "Commit":
        """A record as it was written; ValueError, KeyError or TypeError for any other, or of an unread version."""
        record = from_json(data)
        if not is_readable(record):
            raise ValueError("it is no record, or of a version that is not read")
        digest = record.pop(_DIGEST, None)
        if digest is not None and digest != fingerprint(record):
            raise ValueError("it was changed or damaged after it was written")
        return cls(
            unit=record["unit"],
            plan=record["plan"],
            input_digest=record["input_digest"],
            data=tuple(DataFile(**file) for file in record["data"]),
            quarantine=Written(**record["quarantine"]) if record["quarantine"] else None,
            counts=record["counts"],
            notes=record["notes"],
            seconds=record["seconds"],
            finished_at=record["finished_at"],
        )


def manifest_digest(files: Sequence[DataFile]) -> str:
    """SHA-256 over names, rows and digests of the files in order, independent of which attempt wrote them."""
    lines = (f"{file.unit} {file.rows} {file.digest}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def total_counts(commits: Iterable[Commit]) -> dict[str, int]:
    """Sum of the commits' counts, key by key."""
    totals: dict[str, int] = {}
    for commit in commits:
        for key, value in commit.counts.items():
            totals[key] = totals.get(key, 0) + value
    return dict(sorted(totals.items()))
