"""One long piece of work, done by one worker of the cluster, which tells the driver how it gets on."""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import cloudpickle
import ray
import ray.exceptions
from ray.data import DataContext

from encore_ray.errors import ClusterError
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import Crew
from encore_ray.passes.worker import answered, open_answer

logger = logging.getLogger("encore_ray")

Result = TypeVar("Result")
Say = Callable[[Any], None]
Work = Callable[[Say], Result]

PATIENCE_S = 1.0  # for which a worker waits for something to tell
ANSWER_S = 10.0  # for the last of it, once the work is done


class Do(Protocol):
    """Does a piece of work, and hands on what it says meanwhile."""

    def __call__(self, work: Work[Result], hear: Say) -> Result: ...


def do_here(work: Work[Result], hear: Say) -> Result:
    """Do the work in this process."""
    return work(hear)


@dataclass(frozen=True)
class DoApart:
    """Does work in a process of its own, on a GPU where there is one; work whose process dies is begun again.

    Attributes:
        crew: of one: what the process holds.
        visible: what its node must see.
        tries: processes that may die of the same work.
    """

    crew: Crew
    visible: Visible | None = None
    tries: int = 4

    def __call__(self, work: Work[Result], hear: Say) -> Result:
        """Do the work; it and what it says are pickled.

        Raises:
            EncoreError: what the work raised, as it raised it. WorkerError: anything else that it raised.
            ClusterError: its processes died again and again, or said nothing for the configured time.
        """
        for left in reversed(range(self.tries)):
            try:
                return self._try(cloudpickle.dumps(work), hear)
            except ray.exceptions.RayError as error:
                how = str(error).strip().split("\n", 1)[0]
                if not left:
                    raise ClusterError(
                        f"{self.tries} workers died of the same work. Ray says at last: {how} If memory ran out, use "
                        "larger nodes."
                    ) from None
                logger.warning("A worker died, and its work goes on in another: %s", how)
        raise AssertionError("unreachable")

    def _try(self, work: bytes, hear: Say) -> Any:
        timeout_s = DataContext.get_current().execution_no_progress_timeout_s
        holds = {"num_cpus": self.crew.cpus, "num_gpus": self.crew.gpus}
        worker: Any = ray.remote(_Worker).options(**holds, max_concurrency=2).remote()
        try:
            answer, news = worker.work.remote(work, self.visible), worker.said.remote()
            heard = time.monotonic()
            while True:
                ready, _ = ray.wait([answer, news], timeout=PATIENCE_S)
                if news in ready:
                    for message in ray.get(news):
                        heard = time.monotonic()
                        hear(message)
                    news = worker.said.remote()
                if answer in ready:
                    found: Any = ray.get(answer)
                    for message in ray.get(news, timeout=ANSWER_S) + ray.get(worker.said.remote(), timeout=ANSWER_S):
                        hear(message)
                    return open_answer(found)
                if time.monotonic() - heard > timeout_s:
                    raise ClusterError(
                        f"A worker has told of no progress for {timeout_s:g} s (cluster.no_progress_timeout_s), and is "
                        "stopped. The same command goes on."
                    )
        finally:
            ray.kill(worker)


class _Worker:
    def __init__(self) -> None:
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work(self, work: bytes, visible: Visible | None) -> bytes:
        def done() -> Any:
            if visible:
                visible.check()
            return cloudpickle.loads(work)(self._said.put)

        return answered(done)

    def said(self) -> list[Any]:
        """What was said since the last call; waits a moment for the first."""
        found: list[Any] = []
        try:
            found.append(self._said.get(timeout=PATIENCE_S))
            while True:
                found.append(self._said.get_nowait())
        except queue.Empty:
            return found
