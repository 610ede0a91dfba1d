"""Bisection: finishing every unit, those too whose rows end their worker: a crash, memory run out, a hang.

A worker that dies loses the units that it had, mostly for no fault of theirs: another unit in the same process, or
a node that left. First all units are done at full width. Then the lost ones, one to a process, so that a death tells of
one unit. What dies there too is examined alone: it is cut into parts, and a part that dies into its rows. A row that
dies by itself is left out and goes to quarantine; the rest of the unit is done as usual.
"""

import contextlib
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from encore_ray.engine.base import Engine
from encore_ray.engine.outcomes import Death, Lost
from encore_ray.engine.pools import ActorPool, TaskPool
from encore_ray.engine.work.unit_work import CommittedWork, Probe, Task
from encore_ray.errors import ClusterError
from encore_ray.folder.protocol.commits import Commit, LeftOut
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.schema import Reason

logger = logging.getLogger("encore_ray")

PARTS = 32  # a unit of 1,024 rows is at its rows after one more death
MAX_FATAL_ROWS = 16  # of a unit; more are no fault of the rows
LOST_IN_A_ROW = 8  # beside two for each unit at a time, before the pass gives up

# Alone, a unit may take so many times as long as the longest one that was done, and not less than this.
PATIENCE = 10
LEAST_PATIENCE_S = 60.0

Attempting = Callable[[Task | Probe], Any]  # the commit of a task, None of a probe that survives, or Death


def finish_units(
    work: Callable[[], CommittedWork],
    tasks: Sequence[Task],
    *,
    engine: Engine,
    pool: Callable[[int], ActorPool | TaskPool],
    in_flight: InFlight,
    leaves_out: bool,
    lost: list[Task],
) -> Iterator[Commit]:
    """Do every unit; yields commits as they come.

    Args:
        work: makes the work, in each worker.
        tasks: the units.
        engine: that does them.
        pool: workers for a number of units.
        in_flight: marks of the units in work.
        leaves_out: whether the work can do a unit without some of its rows.
        lost: takes the units whose worker died at full width, as it happens.

    Raises:
        ClusterError: workers die whatever they do; or of a unit for no one row, or one that must not lose any.
    """
    width, timeout_s = pool(len(tasks)), engine.unit_timeout_s
    longest_s = 0.0
    for commit in _done(
        engine.try_units(work, tasks, pool=width, in_flight=in_flight, timeout_s=timeout_s),
        lost,
        most_in_a_row=LOST_IN_A_ROW + 2 * _at_a_time(width),
    ):
        longest_s = max(longest_s, commit.seconds)
        yield commit
    if lost:
        logger.warning(
            "Workers died that had %d of the units, the first of them of %s. These are tried again by themselves.",
            len(lost),
            lost[0].source,
        )
        patience_s = min(timeout_s, max(PATIENCE * longest_s, LEAST_PATIENCE_S)) if longest_s else timeout_s
        single = _single(pool(len(lost)))
        stubborn: list[Task] = []
        again = engine.try_units(work, lost, pool=single, in_flight=in_flight, timeout_s=patience_s)
        yield from _done(again, stubborn)
        with engine.single_worker(work, pool=single, timeout_s=patience_s) as worker:
            for task in stubborn:
                yield examine(task, worker.attempt, leaves_out=leaves_out)


def examine(task: Task, attempt: Attempting, *, leaves_out: bool) -> Commit:
    """Do one unit alone, without the rows that end their worker.

    Raises:
        ClusterError: the worker dies of no row, of too many, or of one where none can be left out.
    """
    where = f"Unit {task.unit} of {task.source}"
    if leaves_out:
        death = _outcome(attempt, Probe(task, range(0)))
        if isinstance(death, Death):
            raise ClusterError(f"{where} ends its worker before any row is worked on: {death.detail}.")
        fatal = list(islice(_fatal_rows(task, range(task.rows), attempt), MAX_FATAL_ROWS + 1))
        if len(fatal) > MAX_FATAL_ROWS:
            raise ClusterError(
                f"{where}: more than {MAX_FATAL_ROWS} rows end their worker when they are tried one by one, so that "
                f"the cause is hardly in the rows. The last: {fatal[-1].detail}."
            )
        for row in fatal:
            logger.warning("%s: row %d is left out: %s (%s).", where, row.row + 1, row.reason, row.detail)
        task = replace(task, left_out=tuple(fatal))
    commit = _outcome(attempt, task)
    if isinstance(commit, Death):
        how = "although none of its rows does by itself" if leaves_out else "and this pass cannot leave rows out"
        raise ClusterError(
            f"{where} ends its worker each time, {how}: {commit.detail}. Give workers more memory, raise "
            "cluster.unit_timeout_s, or make units smaller (prepare.unit_pairs). All that is done is kept."
        )
    return commit


def _fatal_rows(task: Task, rows: range, attempt: Attempting) -> Iterator[LeftOut]:
    """The rows that end their worker even when they are alone; parts that do not are not looked into."""
    size = max(1, -(-len(rows) // PARTS))
    for start in range(rows.start, rows.stop, size):
        part = Probe(task, range(start, min(start + size, rows.stop)))
        if size == 1:
            death = _outcome(attempt, part)
            if isinstance(death, Death):
                yield LeftOut(start, death.reason, f"alone in its worker: {death.detail}")
        elif attempt(part) is not None:
            yield from _fatal_rows(task, part.rows, attempt)


def _outcome(attempt: Attempting, item: Task | Probe) -> Any:
    """What comes of it; once more where its worker was killed, which may have been a node that left."""
    outcome = attempt(item)
    if isinstance(outcome, Death) and outcome.reason is Reason.KILLS_WORKER:
        return attempt(item)
    return outcome


def _done(
    outcomes: Generator[Any, None, None], lost: list[Task], *, most_in_a_row: int | None = None
) -> Iterator[Commit]:
    """The commits among the outcomes; the units that were lost are put into `lost`."""
    in_a_row = 0
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            if not isinstance(outcome, Lost):
                in_a_row = 0
                yield outcome
                continue
            lost.append(outcome.unit)
            in_a_row += 1
            if most_in_a_row is not None and in_a_row > most_in_a_row:
                raise ClusterError(
                    f"{in_a_row} units in a row ended their workers, at last unit {outcome.unit.unit} of "
                    f"{outcome.unit.source}: {outcome.how}. If memory ran out, use fewer or larger workers; if units "
                    "take longer than cluster.unit_timeout_s, raise it, or make units smaller (prepare.unit_pairs)."
                )


def _at_a_time(pool: ActorPool | TaskPool) -> int:
    return pool.max_actors * pool.calls_at_a_time if isinstance(pool, ActorPool) else pool.size


def _single(pool: ActorPool | TaskPool) -> ActorPool | TaskPool:
    """The pool with one unit to a process; a task has always been one."""
    return replace(pool, calls_at_a_time=1) if isinstance(pool, ActorPool) else pool
