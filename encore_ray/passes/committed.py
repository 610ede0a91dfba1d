"""Running a pass that writes tables: units minus commits, over workers, with each finished unit committed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from encore_ray.passes.cluster import unit_timeout_s
from encore_ray.passes.commits import Commit, total_counts
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import ActorPool, TaskPool
from encore_ray.passes.suspects import finish_units
from encore_ray.passes.unit_work import CommittedWork, Task, Write
from encore_ray.passes.units import PassTable


@dataclass(frozen=True)
class Progress:
    """How far a pass is: rows are pairs, or source rows while preparing; counts are summed over finished units."""

    name: str
    done_rows: int
    total_rows: int
    done_units: int
    total_units: int
    resumed_rows: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Rate of this process's own work, without what earlier ones had committed."""
        return (self.done_rows - self.resumed_rows) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        rate = self.rows_per_second
        return (self.total_rows - self.done_rows) / rate if rate > 0 else None


Watch = Callable[[Progress], None]


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

    def tell() -> None:
        seconds = time.monotonic() - started
        watch(Progress(table.name, done_rows, total_rows, len(commits), len(tasks), resumed_rows, seconds, counts))

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
        )
        for commit in finished:
            commits[commit.unit] = commit
            on_commit(commit)
            done_rows += rows[commit.unit]
            for key, value in commit.counts.items():
                counts[key] = counts.get(key, 0) + value
            tell()
    return commits
