"""Running a pass that writes tables: units minus commits, over workers, with each finished unit committed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from encore_ray.engine.isolate import finish_units
from encore_ray.engine.on_ray.cluster import unit_timeout_s
from encore_ray.engine.pools import ActorPool, TaskPool
from encore_ray.engine.unit_work import WORKER, CommittedWork, Task, Write
from encore_ray.engine.visible import Visible
from encore_ray.folder.commits import Commit, total_counts
from encore_ray.folder.pass_table import PassTable


@dataclass(frozen=True)
class Progress:
    """How far a pass is: rows are pairs, or source rows while preparing; counts are summed over finished units.

    `workers` are the processes that units came from lately, `lost_units` those whose worker died under them.
    """

    name: str
    done_rows: int
    total_rows: int
    done_units: int
    total_units: int
    resumed_rows: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    workers: int = 0
    lost_units: int = 0

    @property
    def rows_per_second(self) -> float:
        """Rate of this process's own work, without what earlier ones had committed."""
        return (self.done_rows - self.resumed_rows) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        rate = self.rows_per_second
        return (self.total_rows - self.done_rows) / rate if rate > 0 else None


Watch = Callable[[Progress], None]


class _Crew:
    """The workers that are alive, as far as their units tell: Ray keeps no public count of a pool's actors."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._longest_s = 0.0

    def hear(self, commit: Commit) -> None:
        self._heard[commit.notes[WORKER]] = time.monotonic()
        self._longest_s = max(self._longest_s, commit.seconds)

    def __len__(self) -> int:
        """Workers that finished a unit within a minute, or within the time of three long ones."""
        since = time.monotonic() - max(60.0, 3 * self._longest_s)
        return sum(heard >= since for heard in self._heard.values())


def ignore_progress(progress: Progress) -> None:
    """A Watch for callers who do not look."""


def run_committed(
    table: PassTable,
    tasks: Sequence[Task],
    factory: Callable[[], Write],
    *,
    pool: Callable[[int], ActorPool | TaskPool],
    visible: Visible | None,
    watch: Watch,
    overwrite: bool = False,
    leaves_out: bool = False,
    on_commit: Callable[[Commit], None] = lambda commit: None,
) -> dict[str, Commit]:
    """Finish all tasks of an opened pass; returns the commit of each, resumed ones included.

    Args:
        table: the pass, after `open`.
        tasks: all of its units in order.
        factory: makes the function that does one unit and writes through its Attempt, in each worker.
        pool: actors or tasks for a number of units to do.
        visible: what each node must see.
        watch: called at the start and after each unit.
        overwrite: start over when committed units no longer match their input.
        leaves_out: whether the work heeds `Attempt.left_out`. Then rows that end their worker are put in quarantine;
            else a unit that ends its worker ends the pass.
        on_commit: called with each commit, standing and new ones.
    """
    commits = table.resume({task.unit: task.input_digest for task in tasks}, overwrite=overwrite)
    todo = [task for task in tasks if task.unit not in commits]
    rows = {task.unit: task.rows for task in tasks}
    total_rows = sum(rows.values())
    resumed_rows = sum(rows[unit] for unit in commits)
    counts = total_counts(commits.values())
    done_rows = resumed_rows
    started = time.monotonic()
    crew = _Crew()
    suspects: list[Task] = []

    def tell() -> None:
        watch(
            Progress(
                name=table.name,
                done_rows=done_rows,
                total_rows=total_rows,
                done_units=len(commits),
                total_units=len(tasks),
                resumed_rows=resumed_rows,
                seconds=time.monotonic() - started,
                counts=counts,
                workers=len(crew),
                lost_units=len(suspects),
            )
        )

    table.announce(num_units=len(tasks), rows=total_rows)
    tell()
    for commit in commits.values():
        on_commit(commit)
    if todo:
        finished = finish_units(
            partial(CommittedWork, table, factory),
            todo,
            pool=pool,
            visible=visible,
            marks=table.marks,
            timeout_s=unit_timeout_s(),
            leaves_out=leaves_out,
            suspects=suspects,
        )
        for commit in finished:
            commits[commit.unit] = commit
            crew.hear(commit)
            on_commit(commit)
            done_rows += rows[commit.unit]
            for key, value in commit.counts.items():
                counts[key] = counts.get(key, 0) + value
            tell()
    return commits
