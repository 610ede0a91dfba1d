"""How far a run is, read from its folder alone: works from any terminal, while the job runs or after it was killed."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from encore_ray.errors import ConfigError, DataError
from encore_ray.files.named import meant
from encore_ray.folder import spec
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.spec import Pass
from encore_ray.schema import CONFIG_FILE, FIT_PROGRESS_FILE, PLAN_FILE, WORK_FILE
from encore_ray.storage import Folder, from_json

RECENT_UNITS = 20


@dataclass(frozen=True)
class PassStatus:
    """One pass of a run.

    Attributes:
        state: "not started", "unfinished" or "finished" (and all that was sealed is there); `driver_of` says whether a
            process is at work.
        done_units, total_units, done_rows, total_rows: from the commits and the pass's own plan.
        rows_per_second: over the last units, None with fewer than two.
        idle_seconds: since the last unit was committed, None before the first.
    """

    name: str
    state: str
    done_units: int = 0
    total_units: int = 0
    done_rows: int = 0
    total_rows: int = 0
    rows_per_second: float | None = None
    idle_seconds: float | None = None
    quarantined: int = 0

    @property
    def seconds_left(self) -> float | None:
        if not self.rows_per_second or self.state == "finished":
            return None
        return (self.total_rows - self.done_rows) / self.rows_per_second

    def to_dict(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**asdict(self), "seconds_left": self.seconds_left}


def run_status(run: Folder) -> list[PassStatus]:
    """The passes that every job has, in order, then the further ones that were begun: fits that go on, then others.

    Raises:
        ConfigError: the folder is not a run. DataError: a pass of it is of a version that is not read.
    """
    tables = pass_tables(run)
    if not run.exists(CONFIG_FILE) and not any(table.folder.exists(PLAN_FILE) for table in tables.values()):
        raise ConfigError(f"{run.uri} is not a run folder: no pass has begun in it.{meant(run.uri)}")
    for table in tables.values():
        table.check_version()
    always = [
        _table_status(tables[one.name]) if one.table else _file_status(run, one) for one in spec.PASSES if one.in_job
    ]
    fits = [_fit_status(run, one) for one in spec.PASSES]
    further = [one for one in spec.PASSES if not one.in_job and not one.training and (one.table or one.files)]
    begun = [_table_status(tables[one.name]) if one.table else _file_status(run, one) for one in further]
    return [
        *always,
        *(status for status in fits if status is not None),
        *(status for status in begun if status.state != "not started"),
    ]


def _file_status(run: Folder, one: Pass) -> PassStatus:
    return PassStatus(one.name, "finished" if all(map(run.exists, one.files)) else "not started")


def _fit_status(run: Folder, one: Pass) -> PassStatus | None:
    """A fit that has begun and is not over; its units are epochs."""
    if one.training is None:
        return None
    try:
        found = run.child(one.training).read_json(FIT_PROGRESS_FILE)
        return PassStatus(
            name=one.label,
            state="unfinished",
            done_units=int(found["epochs"]),
            total_units=int(found["num_epochs"]),
            done_rows=int(found["pairs"]),
            total_rows=int(found["total_pairs"]),
            rows_per_second=float(found["rate"]) or None,
            idle_seconds=time.time() - float(found["at"]),
        )
    except (FileNotFoundError, DataError, KeyError, TypeError, ValueError):
        return None


def _table_status(table: PassTable) -> PassStatus:
    try:
        work = from_json(table.folder.read_bytes(WORK_FILE))
        num_units, num_rows = int(work["units"]), int(work["rows"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return PassStatus(table.name, "not started")
    commits = sorted(table.commits().values(), key=lambda commit: commit.finished_at)
    counts = total_counts(commits)
    recent = commits[-RECENT_UNITS:]
    rate = None
    if len(recent) > 1 and recent[-1].finished_at > recent[0].finished_at:
        rows = sum(commit.counts["rows"] for commit in recent[1:])
        rate = rows / (recent[-1].finished_at - recent[0].finished_at)
    return PassStatus(
        name=table.name,
        state="finished" if table.is_whole() else "unfinished",
        done_units=len(commits),
        total_units=num_units,
        done_rows=counts.get("rows", 0),
        total_rows=num_rows,
        rows_per_second=rate,
        idle_seconds=time.time() - recent[-1].finished_at if recent else None,
        quarantined=counts.get("quarantined", 0),
    )
