"""Statistics of a whole table: measured a few units a task, added up on the driver.

What is measured must merge exactly with `+` (integers and exact sums), because units finish in any order.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import Any

from encore_ray.models.host_memory import keep_freed_memory
from encore_ray.passes.committed import Progress, Watch
from encore_ray.passes.engine import map_units
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import Resources, task_pool
from encore_ray.passes.tables import TableUnit

TASK_ROWS = 524_288
TASKS_PER_CPU = 4


class _Sum:
    """Measures a few units in a worker: (number of units, number of rows, sum of their statistics)."""

    def __init__(self, factory: Callable[[], Callable[[TableUnit], Any]]):
        keep_freed_memory()
        self._measure = factory()

    def __call__(self, units: tuple[TableUnit, ...]) -> tuple[int, int, Any]:
        return len(units), sum(unit.rows for unit in units), reduce(add, map(self._measure, units))


def reduce_units(
    name: str,
    factory: Callable[[], Callable[[TableUnit], Any]],
    units: Sequence[TableUnit],
    *,
    have: Resources,
    visible: Visible | None,
    watch: Watch,
) -> Any:
    """The sum of the statistics of all units; at least one unit is needed.

    Args:
        name: of the pass, for the progress.
        factory: makes the function that measures one unit, in each worker; picklable.
        units: the table.
        have: resources of the cluster.
        visible: what each node must see.
        watch: told of the progress in rows.
    """
    tasks = chunk_units(units, at_least=TASKS_PER_CPU * int(max(have.cpus, 1)))
    total_rows = sum(unit.rows for unit in units)
    done_units, done_rows = 0, 0
    total: Any = None
    started = time.monotonic()
    pool = task_pool(have)
    for num_units, rows, part in map_units(partial(_Sum, factory), tasks, pool=pool, visible=visible):
        total = part if total is None else total + part
        done_units, done_rows = done_units + num_units, done_rows + rows
        watch(Progress(name, done_rows, total_rows, done_units, len(units), 0, time.monotonic() - started))
    return total


def chunk_units(units: Sequence[TableUnit], *, at_least: int) -> list[tuple[TableUnit, ...]]:
    """Group units into tasks of up to TASK_ROWS rows, yet into `at_least` tasks where there are as many units."""
    limit = min(TASK_ROWS, max(1, sum(unit.rows for unit in units) // at_least))
    grouped: list[list[TableUnit]] = []
    rows = 0
    for unit in units:
        if not grouped or rows + unit.rows > limit:
            grouped.append([])
            rows = 0
        grouped[-1].append(unit)
        rows += unit.rows
    return [tuple(group) for group in grouped]
