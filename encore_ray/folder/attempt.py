"""One try at one unit of a pass, in a worker: the files that it writes, and the commit that it offers."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit, DataFile, LeftOut
from encore_ray.schema import (
    DATA_DIR,
    SCHEMA_VERSION,
)
from encore_ray.storage import Written


@dataclass
class Attempt:
    """One try at one unit, in a worker: collects the files it writes, then offers them as the commit.

    `left_out` are the rows of the unit that must not be worked on, and go to quarantine.
    """

    table: PassTable
    unit: str
    input_digest: str
    left_out: tuple[LeftOut, ...] = ()
    started: float = field(default_factory=time.time)
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    data: list[DataFile] = field(default_factory=list)
    quarantined: Written | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def write(self, table: pa.Table, *, unit: str | None = None) -> None:
        """Write one data file; `unit` names it for the next pass (default: this unit's own name)."""
        unit = unit or self.unit
        assert unit not in {file.unit for file in self.data}, f"unit {unit} is written twice"
        metadata = {**(table.schema.metadata or {}), b"schema_version": str(SCHEMA_VERSION).encode()}
        name = f"{DATA_DIR}/{unit}-{self.name}.parquet"
        written = self.table.folder.write_table(name, table.replace_schema_metadata(metadata))
        self.data.append(DataFile(unit, written.file, written.rows, written.digest))

    def quarantine(self, table: pa.Table) -> None:
        """Write the rows that could not be used; an empty table writes nothing."""
        assert self.quarantined is None, f"unit {self.unit} has its quarantine already"
        if table.num_rows:
            name = f"{self.table.name}/{self.unit}-{self.name}.parquet"
            self.quarantined = self.table.quarantine_folder.write_table(name, table)

    def beside(self, other: PassTable) -> "Attempt | None":
        """An attempt at the same unit of another pass, made from the same input; None where that is done already."""
        if other.commit(self.unit, self.input_digest) is not None:
            return None
        return Attempt(other, self.unit, self.input_digest, self.left_out, notes=dict(self.notes))

    def commit(self, counts: Mapping[str, int]) -> Commit:
        """Publish: the first attempt's record stands and is returned, whoever wrote it.

        One that is not the first takes its files away: the pass may have been sealed since, and swept before they came.
        """
        now = time.time()
        commit = Commit(
            unit=self.unit,
            plan=self.table.plan,
            input_digest=self.input_digest,
            data=tuple(self.data),
            quarantine=self.quarantined,
            counts=counts,
            notes=self.notes,
            seconds=now - self.started,
            finished_at=now,
        )
        record = self.table.record(self.unit, self.input_digest)
        if self.table.folder.create_once(record, commit.to_json()):
            return commit
        self.discard()
        return Commit.from_json(self.table.folder.read_bytes(record))

    def discard(self) -> None:
        """Delete what it wrote, which no record will name."""
        for file in self.data:
            self.table.folder.delete(file.file)
        if self.quarantined:
            self.table.quarantine_folder.delete(self.quarantined.file)
