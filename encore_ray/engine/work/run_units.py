"""At-most-once commits: a pass that writes tables does its units minus its commits, and commits what it finishes."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from encore_ray.engine.base import Engine
from encore_ray.engine.pools import ActorPool, TaskPool, task_pool
from encore_ray.engine.progress import Progress, Watch
from encore_ray.engine.work.isolate import finish_units
from encore_ray.engine.work.unit_work import WORKER, CommittedWork, Task, Write
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit, total_counts
from encore_ray.folder.quarantine import Allowance, QuarantineGuard, spread

logger = logging.getLogger("encore_ray")


class _LiveWorkers:
    """The workers that are alive, as far as their units tell: Ray keeps no public count of a pool's actors."""

    def __init__(self) -> None:
        self._last_seen: dict[str, float] = {}
        self._longest_s = 0.0

    def count(self, commit: Commit) -> None:
        self._last_seen[commit.notes[WORKER]] = time.monotonic()
        self._longest_s = max(self._longest_s, commit.seconds)

    def __len__(self) -> int:
        """Workers that finished a unit within a minute, or within the time of three long ones."""
        since = time.monotonic() - max(60.0, 3 * self._longest_s)
        return sum(seen >= since for seen in self._last_seen.values())


def run_units(
    table: PassTable,
    tasks: Sequence[Task],
    factory: Callable[[], Write],
    *,
    engine: Callable[[], Engine],
    watch: Watch,
    pool: Callable[[int], ActorPool | TaskPool] | None = None,
    overwrite: bool = False,
    leaves_out: bool = False,
    max_bad_fraction: float = 1.0,
    on_commit: Callable[[Commit], None] = lambda commit: None,
) -> dict[str, Commit]:
    """Finish all tasks of an opened pass; returns the commit of each, resumed ones included.

    Args:
        table: the pass, after `open`.
        tasks: all of its units in order.
        factory: makes the function that does one unit and writes through its Attempt, in each worker.
        engine: that does them; asked for once there are any to do.
        watch: called at the start and after each unit.
        pool: actors or tasks for a number of units to do; None for plain tasks, one a CPU.
        overwrite: start over when committed units no longer match their input.
        leaves_out: whether the work heeds `Attempt.left_out`. Then rows that end their worker are put in quarantine;
            else a unit that ends its worker ends the pass.
        max_bad_fraction: of rows in quarantine; the pass stops once it shows that there will be more.
        on_commit: called with each commit, standing and new ones.
    """
    commits = table.resume(
        {task.unit: task.input_digest for task in tasks},
        overwrite=overwrite,
        inputs={task.unit: task.facts or {"file": task.source} for task in tasks},
    )
    todo = [task for task in tasks if task.unit not in commits]
    rows = {task.unit: task.rows for task in tasks}
    total_rows = sum(rows.values())
    resumed_rows = sum(rows[unit] for unit in commits)
    counts = total_counts(commits.values())
    done_rows = resumed_rows
    started = time.monotonic()
    workers = _LiveWorkers()
    lost: list[Task] = []
    num_standing = len(commits)

    def show_progress() -> None:
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
                workers=len(workers),
                lost_units=len(lost),
            )
        )

    table.announce(num_units=len(tasks), rows=total_rows)
    show_progress()
    guard = QuarantineGuard(table, Allowance(max_bad_fraction, total_rows))
    for commit in commits.values():
        on_commit(commit)
        guard(commit)
    if todo:
        finished = finish_units(
            partial(CommittedWork, table, factory),
            spread(todo),
            engine=engine(),
            pool=pool or (lambda num_units: task_pool(engine().resources)),
            in_flight=table.in_flight,
            leaves_out=leaves_out,
            lost=lost,
        )
        for commit in finished:
            if len(commits) == num_standing:
                started = time.monotonic() - commit.seconds  # before, workers started: no rate of theirs
            commits[commit.unit] = commit
            logger.debug("%s: %s committed after %.2f s: %s", table.name, commit.unit, commit.seconds, commit.counts)
            workers.count(commit)
            on_commit(commit)
            done_rows += rows[commit.unit]
            for key, value in commit.counts.items():
                counts[key] = counts.get(key, 0) + value
            show_progress()
            guard(commit)
    return commits
