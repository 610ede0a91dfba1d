"""The engine that does units in this process, at once: threads, where the work leaves the interpreter's lock.

There is no process beside this one that could die in its place: a row that crashes it ends the command. The units that
were in work then are known by their marks, and the next command hands them to Ray, see `Engines`.
"""

import contextlib
import glob
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from encore_ray.engine.base import EngineName, Send
from encore_ray.engine.outcomes import Lost
from encore_ray.engine.pools import ActorPool, Node, Resources, TaskPool, find_crew
from encore_ray.folder.in_flight import InFlight

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_AHEAD = 2  # units handed to each thread: more would only hold results


@dataclass(frozen=True)
class _InProcess:
    """A worker that is this process."""

    work: Callable[[Any], Any]

    def attempt(self, unit: Any) -> Any:
        return self.work(unit)


def this_machine() -> Resources:
    """What this process may use."""
    return Resources((Node(float(len(os.sched_getaffinity(0))), float(len(glob.glob("/dev/nvidia[0-9]*")))),))


@contextlib.contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    """Give torch as many threads as Ray gives a worker: sums over other numbers of threads have other last bits.

    As for such a worker, OMP_NUM_THREADS of the user's has the last word. What was set is taken back: a Ray that starts
    later hands the environment to its workers.
    """
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    os.environ["OMP_NUM_THREADS"] = str(number)  # read when torch is imported
    try:
        if torch:
            torch.set_num_threads(number)
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        if torch:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class LocalEngine:
    """Units in this process; see `Engine`."""

    resources: Resources = field(default_factory=this_machine)
    unit_timeout_s: float = float("inf")

    @property
    def name(self) -> EngineName:
        return "local"

    def map_units(
        self,
        factory: Callable[[], Callable[[Unit], Result]],
        units: Sequence[Unit],
        *,
        pool: ActorPool | TaskPool | None = None,
    ) -> Iterator[Result]:
        with contextlib.closing(self._outcomes(factory, units, pool)) as outcomes:
            yield from outcomes

    def try_units(
        self,
        factory: Callable[[], Callable[[Unit], Result]],
        units: Sequence[Unit],
        *,
        pool: ActorPool | TaskPool,
        in_flight: InFlight,
        timeout_s: float,
    ) -> Generator[Result | Lost, None, None]:
        in_flight.clear()

        def marked() -> Callable[[tuple[int, Unit]], Result]:
            work = factory()

            def do(numbered: tuple[int, Unit]) -> Result:
                mark = f"unit-{numbered[0]:08d}"
                in_flight.begin(mark)
                try:
                    return work(numbered[1])
                finally:
                    in_flight.end(mark)

            return do

        yield from self._outcomes(marked, list(enumerate(units)), pool)

    @contextlib.contextmanager
    def single_worker(
        self, factory: Callable[[], Callable[[Any], Any]], *, pool: ActorPool | TaskPool, timeout_s: float
    ) -> Iterator[_InProcess]:
        yield _InProcess(factory())

    def call(
        self, work: Callable[[Send], Result], receive: Send, *, cpus: float | None = None, gpus: float | None = None
    ) -> Result:
        crew = find_crew(self.resources, num=1, cpus=cpus, gpus=gpus, remedy="--cpus or --gpus")
        with _torch_threads(max(int(crew.cpus), 1)):
            return work(receive)

    def _outcomes(
        self, factory: Callable[[], Callable[[Any], Any]], units: Sequence[Any], pool: ActorPool | TaskPool | None
    ) -> Generator[Any, None, None]:
        """Results as they come."""
        if not units:
            return
        if isinstance(pool, ActorPool):
            with _torch_threads(max(int(pool.cpus), 1)):
                yield from self._by_threads(factory, units, pool.calls_at_a_time, shared=True)
        else:
            num_threads = max(int(self.resources.cpus), 1)
            yield from self._by_threads(factory, units, num_threads, shared=num_threads == 1)

    def _by_threads(
        self, factory: Callable[[], Callable[[Any], Any]], units: Sequence[Any], num_threads: int, *, shared: bool
    ) -> Generator[Any, None, None]:
        """Results as they come. Shared work, which an actor would keep, is made once, other work once a thread."""
        one = factory() if shared else None
        own = threading.local()

        def do(unit: Any) -> Any:
            if one is not None:
                return one(unit)
            if not hasattr(own, "work"):
                own.work = factory()
            return own.work(unit)

        if num_threads == 1 or len(units) == 1:
            yield from map(do, units)
            return
        with ThreadPoolExecutor(num_threads, thread_name_prefix="encore-ray-unit") as threads:
            waiting = iter(units)
            running: set[Future[Any]] = set()
            try:
                while True:
                    for unit in waiting:
                        running.add(threads.submit(do, unit))
                        if len(running) >= _AHEAD * num_threads:
                            break
                    if not running:
                        return
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield future.result()
            finally:
                for future in running:
                    future.cancel()
