"""What runs in a worker process: work that is built once and done unit by unit, every outcome an answer."""

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray

from encore_ray.engine.on_ray.memory import died_of_memory
from encore_ray.engine.outcomes import Lost, answered
from encore_ray.engine.process.watchdog import Watchdog
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError
from encore_ray.folder.protocol.in_flight import InFlight, place

Work = Callable[[Any], Any]

UNIT_MARK = "unit-"  # before the number of a unit in work
STARTS = 3  # times that an actor may die of building its work


@dataclass(frozen=True)
class WorkOrder:
    """What a worker is to build and to heed.

    Attributes:
        factory: pickled; makes the work.
        visible: what the node must see.
        timeout_s: the process ends itself when no unit finishes for so long.
        in_flight: where units in work are marked. A unit that is marked already is not tried, but answered as Lost.
    """

    factory: bytes
    visible: Visible | None
    timeout_s: float
    in_flight: InFlight | None = None


class Worker:
    """Builds the work on its first call, so that an error in building it is an answer, not a dead process."""

    def __init__(self, order: WorkOrder):
        self._factory = order.factory
        self._visible = order.visible
        self._in_flight = order.in_flight
        self._watchdog = Watchdog(order.timeout_s)
        self._work: Work | None = None
        self._building = threading.Lock()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"answer": [self.answer(*item) for item in zip(batch["number"], batch["unit"], strict=True)]}

    def answer(self, number: int, unit: bytes) -> bytes:
        """The result of one unit, or Lost."""
        return answered(lambda: self._do(f"{UNIT_MARK}{number:08d}", number, unit))

    def start(self) -> bytes:
        """Build the work; answers with the place of this process."""

        def built() -> str:
            self._built()
            return place()

        return answered(built)

    def _do(self, mark: str, number: int, unit: bytes) -> Any:
        work = self._built()
        died = _begin(self._in_flight, mark) if self._in_flight else None
        if died:
            return Lost(int(number), died)
        try:
            with self._watchdog.watching():
                return work(pickle.loads(unit))  # noqa: S301  made by the engine
        finally:
            if self._in_flight:
                self._in_flight.end(mark)

    def _built(self) -> Work:
        with self._building:
            work = self._work
            if work is None:
                if self._visible:
                    self._visible.check()
                with self._counted_start():
                    work = self._work = pickle.loads(self._factory)()  # noqa: S301  made by the engine
            return work

    @contextlib.contextmanager
    def _counted_start(self) -> Iterator[None]:
        """Count the starts of an actor that Ray restarts, until one succeeds."""
        if not self._in_flight:
            yield
            return
        actor = ray.get_runtime_context().get_actor_id()
        marks = [f"start-{actor}-{number}" for number in range(STARTS)]
        died = ""
        for mark in marks:
            died = _begin(self._in_flight, mark)
            if not died:
                break
        if died:
            raise ClusterError(
                f"A worker died {STARTS} times while it made ready to work, which for scoring is loading the model; at "
                f"last {died}. Give it more memory, for example by fewer actors a node (score.actors)."
            )
        try:
            yield
        finally:
            for mark in marks:
                self._in_flight.end(mark)


def _begin(in_flight: InFlight, mark: str) -> str | None:
    """Mark something as in work; None, or the process that died of it: not where its node's memory was the cause."""
    died = in_flight.begin(mark)
    if died and died_of_memory(died):
        in_flight.end(mark)
        died = in_flight.begin(mark)
    return died
