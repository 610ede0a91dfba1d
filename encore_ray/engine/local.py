"""The engine that does units in this process, at once: threads, where the work leaves the interpreter's lock.

There is no process beside this one that could die in its place: a row that crashes it ends the command, and so does one
that hangs, after a time. The units that were in work then are known by their marks, and the next command hands them to
Ray, see `Engines`.
"""

import contextlib
import faulthandler
import glob
import os
import sys
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from encore_ray.engine.base import EngineName, Send
from encore_ray.engine.outcomes import Lost
from encore_ray.engine.pools import ActorPool, Node, Resources, TaskPool, find_crew
from encore_ray.engine.process.ending import end_process, say_last
from encore_ray.engine.process.watchdog import Watchdog
from encore_ray.folder.protocol.in_flight import STDERR, InFlight

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_AHEAD = 2  # units handed to each thread: more would only hold results


@dataclass(frozen=True)
class _InProcess:
    """A worker that is this process."""

    work: Callable[[Any], Any]
    watchdog: Watchdog

    def attempt(self, unit: Any) -> Any:
        with self.watchdog.watching():
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


def _watchdog(timeout_s: float, in_work: Collection[Any] = ()) -> Watchdog:
    return Watchdog(timeout_s, partial(_end_command, timeout_s, in_work))


def _end_command(timeout_s: float, in_work: Collection[Any]) -> None:
    """End this process, of which no thread can be ended alone; say which of the marked units hang, if there are any."""
    named = "; ".join(map(str, list(in_work)))
    message = (
        f"No unit has finished in this process for {timeout_s:g} s (cluster.unit_timeout_s)"
        + (f". In work is {named}" if named else "")
        + ". The stacks of all threads follow. All that is done is kept. "
        + ("The same command hands what was in work to Ray, unless engine: local is asked for. " if named else "")
        + "If a unit honestly takes that long, raise the limit, or make units smaller (prepare.unit_pairs)."
    )
    say_last(message)
    faulthandler.dump_traceback(STDERR)
    end_process()


@dataclass(frozen=True)
class LocalEngine:
    """Units in this process; see `Engine`.

    Attributes:
        unit_timeout_s: after which a hang ends this process; inf, where it belongs to somebody else, waits for ever.
    """

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
        watchdog = _watchdog(self.unit_timeout_s)
        with contextlib.closing(self._outcomes(factory, units, pool, watchdog)) as outcomes:
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
        in_work: dict[str, Unit] = {}

        def marked() -> Callable[[tuple[int, Unit]], Result]:
            work = factory()

            def do(numbered: tuple[int, Unit]) -> Result:
                mark = f"unit-{numbered[0]:08d}"
                in_flight.begin(mark)
                in_work[mark] = numbered[1]
                try:
                    return work(numbered[1])
                finally:
                    del in_work[mark]
                    in_flight.end(mark)

            return do

        yield from self._outcomes(marked, list(enumerate(units)), pool, _watchdog(timeout_s, in_work.values()))

    @contextlib.contextmanager
    def single_worker(
        self, factory: Callable[[], Callable[[Any], Any]], *, pool: ActorPool | TaskPool, timeout_s: float
    ) -> Iterator[_InProcess]:
        yield _InProcess(factory(), _watchdog(timeout_s))

    def call(
        self, work: Callable[[Send], Result], receive: Send, *, cpus: float | None = None, gpus: float | None = None
    ) -> Result:
        crew = find_crew(self.resources, num=1, cpus=cpus, gpus=gpus, remedy="--cpus or --gpus")
        with _torch_threads(max(int(crew.cpus), 1)):
            return work(receive)

    def _outcomes(
        self,
        factory: Callable[[], Callable[[Any], Any]],
        units: Sequence[Any],
        pool: ActorPool | TaskPool | None,
        watchdog: Watchdog,
    ) -> Generator[Any, None, None]:
        """Results as they come."""
        if not units:
            return
        if isinstance(pool, ActorPool):
            with _torch_threads(max(int(pool.cpus), 1)):
                yield from self._by_threads(factory, units, pool.calls_at_a_time, watchdog, shared=True)
        else:
            num_threads = max(int(self.resources.cpus), 1)
            # One for each unit at work, as a Ray worker has: more would wait for each other, and add in another order.
            with threadpool_limits(1, "blas"):
                yield from self._by_threads(factory, units, num_threads, watchdog, shared=num_threads == 1)

    def _by_threads(
        self,
        factory: Callable[[], Callable[[Any], Any]],
        units: Sequence[Any],
        num_threads: int,
        watchdog: Watchdog,
        *,
        shared: bool,
    ) -> Generator[Any, None, None]:
        """Results as they come. Shared work, which an actor would keep, is made once, other work once a thread."""
        one = factory() if shared else None
        own = threading.local()

        def do(unit: Any) -> Any:
            work = one
            if work is None:
                if not hasattr(own, "work"):
                    own.work = factory()
                work = own.work
            with watchdog.watching():
                return work(unit)

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
                watchdog.call_off()
