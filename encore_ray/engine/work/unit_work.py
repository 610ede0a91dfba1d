"""One unit of a pass that writes tables, in a worker: done and committed, or only tried."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from encore_ray.errors import EncoreError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import INPUT, Commit, LeftOut
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.schema import Reason

Write = Callable[[Any, Attempt], Mapping[str, int]]

WORKER = "worker"  # key of a commit's notes: the process that did the unit


@dataclass(frozen=True)
class Task:
    """One unit to do.

    Attributes:
        unit: its name.
        input_digest: of what it is made from.
        rows: its size, for the progress.
        payload: what the worker needs.
        source: the file that it is made from, for messages.
        left_out: rows that the work must not touch.
        facts: what its input is, for people: they stand in the commit. {} where its digest says it all.
    """

    unit: str
    input_digest: str
    rows: int
    payload: Any
    source: str
    left_out: tuple[LeftOut, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"unit {self.unit} of {self.source}"


def unit_task(unit: TableUnit) -> Task:
    """The task of a pass that makes each unit from one of another pass's, or of a table known `by_content`."""
    assert unit.digest, f"{unit.where} is not known by content"
    return Task(unit.unit, unit.digest, unit.rows, unit, unit.where)


@dataclass(frozen=True)
class Probe:
    """Some rows of a unit, to be worked on for nothing but to see whether the worker survives."""

    task: Task
    rows: range

    def __str__(self) -> str:
        return f"rows {self.rows.start + 1} to {self.rows.stop} of {self.task}"


class CommittedWork:
    """The work of a pass in a worker: answers a Task with its commit, a Probe with None."""

    def __init__(self, table: PassTable, factory: Callable[[], Write]):
        self._table = table
        self._work = factory()

    def __call__(self, item: Task | Probe) -> Commit | None:
        if isinstance(item, Probe):
            task, rows = item.task, item.rows
            others = [LeftOut(row, Reason.KILLS_WORKER, "not tried") for row in range(task.rows) if row not in rows]
            self._work(task.payload, _Fruitless(self._table, task.unit, task.input_digest, tuple(others)))
            return None
        # Another attempt may have finished while this one waited: its record stands.
        standing = self._table.commit(item.unit, item.input_digest)
        if standing is not None:
            return standing
        attempt = Attempt(self._table, item.unit, item.input_digest, item.left_out)
        attempt.notes[WORKER] = f"{os.uname().nodename}/{os.getpid()}"
        if item.facts:
            attempt.notes[INPUT] = dict(item.facts)
        try:
            counts = self._work(item.payload, attempt)
        except BaseException:  # a full disk, or a driver that has ended: its next one may be done before this
            with contextlib.suppress(EncoreError):
                attempt.discard()
            raise
        return attempt.commit(counts)


class _Fruitless(Attempt):
    """An attempt that keeps nothing."""

    def write(self, table: pa.Table, *, unit: str | None = None) -> None:
        pass

    def quarantine(self, table: pa.Table) -> None:
        pass

    def beside(self, other: PassTable) -> None:
        return None
