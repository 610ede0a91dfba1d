"""One unit at a time in a process of its own, whose death tells of that unit."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import cloudpickle
import ray
import ray.exceptions
from ray.data import DataContext

from encore_ray.engine.on_ray.memory import MemoryPatience
from encore_ray.engine.on_ray.worker import STARTS, Worker, WorkOrder
from encore_ray.engine.outcomes import Death, open_answer
from encore_ray.engine.pools import ActorPool, TaskPool
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError
from encore_ray.schema import Reason

GRACE_S = 30.0  # for a worker that hangs to end itself, before it is killed

_DEATHS = (ray.exceptions.RayActorError,)
_NO_MEMORY = ray.exceptions.OutOfMemoryError  # of the node, whoever used it: no death of the unit's


class RaySingleWorker:
    """A worker for one unit at a time, replaced when it dies; a context manager that ends it.

    Args:
        factory: makes the work; picklable.
        pool: what a worker of the pass holds of the cluster.
        visible: what its node must see.
        timeout_s: seconds that a unit may take.
    """

    def __init__(
        self, factory: Callable[[], Any], *, pool: ActorPool | TaskPool, visible: Visible | None, timeout_s: float
    ):
        gpus = pool.gpus if isinstance(pool, ActorPool) else 0
        self._class = ray.remote(Worker).options(num_cpus=pool.cpus, num_gpus=gpus, max_restarts=0)
        self._order = WorkOrder(cloudpickle.dumps(factory), visible, timeout_s)
        self._timeout_s = timeout_s
        self._unit: Any = None
        self._memory = MemoryPatience(lambda: [] if self._unit is None else [str(self._unit)])
        self._actor: Any = None
        self._place = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._end()

    def attempt(self, unit: Any) -> Any:
        """The result of a unit, or Death. One whose worker Ray kills for the node's memory is tried again.

        Raises:
            EncoreError: what the work raised. ClusterError: no worker starts, or the node has no memory left.
            WorkerError: a defect in the work.
        """
        self._unit = unit
        while True:
            try:
                outcome = self._attempt(unit)
            except _NO_MEMORY:
                self._end()
                self._memory.pause()
            else:
                self._memory.progressed()
                return outcome

    def _attempt(self, unit: Any) -> Any:
        actor = self._actor or self._start()
        started = time.monotonic()
        answer = actor.answer.remote(0, cloudpickle.dumps(unit))
        try:
            return open_answer(_get(answer, timeout_s=self._timeout_s + GRACE_S))
        except (*_DEATHS, TimeoutError):
            took_s = time.monotonic() - started
        self._end()
        if took_s >= self._timeout_s:
            how = f"no result within {self._timeout_s:g} s, its stack is in the log"
            return Death(Reason.HANGS, f"{how} ({self._place})")
        return Death(Reason.KILLS_WORKER, f"the worker died after {took_s:.1f} s ({self._place})")

    def _start(self) -> Any:
        timeout_s = DataContext.get_current().execution_no_progress_timeout_s
        died = ""
        for _ in range(STARTS):
            self._actor = self._class.remote(self._order)
            try:
                self._place = open_answer(_get(self._actor.start.remote(), timeout_s=timeout_s))
            except _DEATHS as error:
                died = str(error)
            except TimeoutError:
                raise ClusterError(f"No worker made ready to work within {timeout_s:g} s.") from None
            else:
                return self._actor
        self._actor = None
        raise ClusterError(f"{STARTS} workers died while they made ready to work. Ray says: {died}")

    def _end(self) -> None:
        if self._actor is not None and ray.is_initialized():
            ray.kill(self._actor)
        self._actor = None


def _get(answer: Any, *, timeout_s: float) -> bytes:
    try:
        return ray.get(answer, timeout=timeout_s)
    except (*_DEATHS, _NO_MEMORY, ray.exceptions.GetTimeoutError):
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(f"The cluster failed: {error}") from None
