"""What runs in a worker process: work that is built once and done unit by unit, every outcome an answer."""

import contextlib
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle
import ray

from encore_ray.engine.visible import Visible
from encore_ray.engine.watchdog import Watchdog
from encore_ray.errors import ClusterError, EncoreError
from encore_ray.folder.in_flight import Marks, place

Work = Callable[[Any], Any]

STARTS = 3  # times that an actor may die of building its work


class WorkerError(Exception):
    """A defect of ours in a worker: carries the worker's traceback."""


@dataclass(frozen=True)
class Lost:
    """In place of a result: a worker that had this unit died.

    Attributes:
        unit: what it had; in a worker's answer its number.
        how: the process that died and its log, or what Ray says.
    """

    unit: Any
    how: str


class Worker:
    """Builds the work on its first call, so that an error in building it is an answer, not a dead process.

    Args:
        factory: pickled; makes the work.
        visible: what the node must see.
        timeout_s: the process ends itself when no unit finishes for so long.
        marks: where units in work are marked. A unit that is marked already is not tried, but answered as Lost.
    """

    def __init__(self, factory: bytes, visible: Visible | None, timeout_s: float, marks: Marks | None = None):
        self._factory = factory
        self._visible = visible
        self._marks = marks
        self._watchdog = Watchdog(timeout_s)
        self._work: Work | None = None
        self._building = threading.Lock()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"answer": [self.answer(*item) for item in zip(batch["number"], batch["unit"], strict=True)]}

    def answer(self, number: int, unit: bytes) -> bytes:
        """The result of one unit, or Lost."""
        return answered(lambda: self._do(f"unit-{number:08d}", number, unit))

    def start(self) -> bytes:
        """Build the work; answers with the place of this process."""

        def built() -> str:
            self._built()
            return place()

        return answered(built)

    def _do(self, mark: str, number: int, unit: bytes) -> Any:
        work = self._built()
        died = self._marks.begin(mark) if self._marks else None
        if died:
            return Lost(int(number), died)
        try:
            with self._watchdog.watching():
                return work(pickle.loads(unit))  # noqa: S301  made by the engine
        finally:
            if self._marks:
                self._marks.end(mark)

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
        if not self._marks:
            yield
            return
        actor = ray.get_runtime_context().get_actor_id()
        marks = [f"start-{actor}-{number}" for number in range(STARTS)]
        died = ""
        for mark in marks:
            died = self._marks.begin(mark)
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
                self._marks.end(mark)


def answered(work: Callable[[], Any]) -> bytes:
    """The result of some work, or its error, for `open_answer`."""
    try:
        return cloudpickle.dumps(("done", work()))
    except EncoreError as error:
        return cloudpickle.dumps(("mistake", error))
    except Exception:
        return cloudpickle.dumps(("defect", traceback.format_exc()))


def open_answer(answer: bytes) -> Any:
    """The result in a worker's answer; or its error, raised with its own type."""
    kind, value = pickle.loads(answer)  # noqa: S301  made by our own worker
    if kind == "mistake":
        raise value
    if kind == "defect":
        raise WorkerError(value)
    return value
