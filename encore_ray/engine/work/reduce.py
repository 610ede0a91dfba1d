"""Map-reduce: statistics of a whole table, measured a few units a task, added up on the driver.

What `Reducer.total` measures must merge exactly with `+` (integers and exact sums), because units finish in any order.
Sums of floats depend on their order: `total_in_order` adds them in the order of the units, so that they are the same to
the last bit for any number of workers.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, Protocol, TypeVar

from encore_ray.engine.base import Engine
from encore_ray.engine.progress import Progress, Watch, ignore_progress
from encore_ray.models.forward.host_memory import keep_freed_memory

TASK_ROWS = 524_288
TASKS_PER_CPU = 4
ORDERED_TASK_ROWS = 16_384

Part = TypeVar("Part")


class Rows(Protocol):
    """A unit, of which is known how many rows it has."""

    @property
    def rows(self) -> int: ...


Unit = TypeVar("Unit", bound=Rows)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Reducer:
    """Adds up what is measured of units.

    Attributes:
        engine: that measures them.
        watch: told of the progress in rows.
    """

    engine: Engine
    watch: Watch = ignore_progress

    def total(self, name: str, factory: Callable[[], Callable[[Unit], Any]], units: Sequence[Unit]) -> Any:
        """The sum of the exact statistics of all units; at least one unit is needed.

        Args:
            name: of the pass, for the progress.
            factory: makes the function that measures one unit, in each worker; picklable.
            units: the table.
        """
        answers = self.engine.map_units(partial(_Sum, factory), self.chunks(units))
        return self._added_up(name, answers, units)

    def total_in_order(self, name: str, factory: Callable[[], Callable[[Unit], Any]], units: Sequence[Unit]) -> Any:
        """The sum of float statistics of all units, one bit pattern for any number of workers; else as `total`.

        Units are grouped into tasks by their rows alone, and what tasks answer is added in their order.
        """
        tasks = list(enumerate(_grouped(units, limit=ORDERED_TASK_ROWS)))
        answers = self.engine.map_units(partial(_NumberedSum, factory), tasks)
        return self._added_up(name, (answer for _, answer in in_order(answers)), units)

    def map(self, factory: Callable[[], Callable[[Item], Part]], items: Sequence[Item]) -> Iterator[Part]:
        """What is measured of each item, in no particular order; see `Engine.map_units`."""
        return self.engine.map_units(factory, items)

    def chunks(self, units: Sequence[Unit]) -> list[tuple[Unit, ...]]:
        """Tasks of up to TASK_ROWS rows, yet several a CPU, so that the last ones leave no worker idle for long."""
        return chunk_units(units, at_least=TASKS_PER_CPU * int(max(self.engine.resources.cpus, 1)))

    def _added_up(self, name: str, answers: Iterator[tuple[int, int, Any]], units: Sequence[Rows]) -> Any:
        total_rows = sum(unit.rows for unit in units)
        done_units, done_rows = 0, 0
        total: Any = None
        started = time.monotonic()
        for num_units, rows, part in answers:
            total = part if total is None else total + part
            done_units, done_rows = done_units + num_units, done_rows + rows
            self.watch(Progress(name, done_rows, total_rows, done_units, len(units), 0, time.monotonic() - started))
        return total


class _Sum:
    """Measures a few units in a worker: (number of units, number of rows, sum of their statistics)."""

    def __init__(self, factory: Callable[[], Callable[[Any], Any]]):
        keep_freed_memory()
        self._measure = factory()

    def __call__(self, units: tuple[Any, ...]) -> tuple[int, int, Any]:
        return len(units), sum(unit.rows for unit in units), reduce(add, map(self._measure, units))


class _NumberedSum:
    """As `_Sum`, of a task with its number."""

    def __init__(self, factory: Callable[[], Callable[[Any], Any]]):
        self._sum = _Sum(factory)

    def __call__(self, numbered: tuple[int, tuple[Any, ...]]) -> tuple[int, tuple[int, int, Any]]:
        number, units = numbered
        return number, self._sum(units)


def chunk_units(units: Sequence[Unit], *, at_least: int) -> list[tuple[Unit, ...]]:
    """Group units into tasks of up to TASK_ROWS rows, yet into `at_least` tasks where there are as many units."""
    return _grouped(units, limit=min(TASK_ROWS, max(1, sum(unit.rows for unit in units) // at_least)))


def in_order(answers: Iterator[tuple[int, Part]]) -> Iterator[tuple[int, Part]]:
    """The numbered answers from 0 up; one that comes early waits for those before it."""
    waiting: dict[int, Part] = {}
    expected = 0
    for number, part in answers:
        waiting[number] = part
        while expected in waiting:
            yield expected, waiting.pop(expected)
            expected += 1


def _grouped(units: Sequence[Unit], *, limit: int) -> list[tuple[Unit, ...]]:
    """Units that follow each other, in groups of up to so many rows."""
    grouped: list[list[Unit]] = []
    rows = 0
    for unit in units:
        if not grouped or rows + unit.rows > limit:
            grouped.append([])
            rows = 0
        grouped[-1].append(unit)
        rows += unit.rows
    return [tuple(group) for group in grouped]
