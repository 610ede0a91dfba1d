"""One long piece of work, done by one worker of the cluster, which tells the driver how it gets on."""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import cloudpickle
import ray
import ray.exceptions
from ray.data import DataContext

from encore_ray.engine.base import Send
from encore_ray.engine.outcomes import answered, open_answer
from encore_ray.engine.pools import Crew, Resources, find_crew
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError

logger = logging.getLogger("encore_ray")

Result = TypeVar("Result")
Work = Callable[[Send], Result]

PATIENCE_S = 1.0  # for which a worker waits for something to tell
ROOM_S, START_S = 15.0, 60.0  # for which a worker is waited for without a word, and at the least
ANSWER_S = 10.0  # for the last that a worker has to tell, once its work is done


@dataclass(frozen=True)
class RemoteCall:
    """Does work in a process of its own, on a GPU where there is one; work whose process dies is begun again.

    Attributes:
        resources: of the cluster.
        cpus, gpus: that the process holds; None: all CPUs of a node, or up to two beside one GPU.
        visible: what its node must see.
        tries: processes that may die of the same work without getting on.
    """

    resources: Resources
    cpus: float | None = None
    gpus: float | None = None
    visible: Visible | None = None
    tries: int = 4

    def __call__(self, work: Work[Result], receive: Send) -> Result:
        """Do the work; it and what it says are pickled.

        Raises:
            EncoreError: what the work raised, as it raised it. WorkerError: anything else that it raised.
            ClusterError: there is no room, its processes died again and again, or said nothing for the configured time.
        """
        crew = find_crew(self.resources, num=1, cpus=self.cpus, gpus=self.gpus, remedy="--cpus or --gpus")
        left = self.tries
        got_on = False

        def listen(message: Any) -> None:
            nonlocal got_on
            got_on = receive(message) is True or got_on

        while True:
            try:
                return self._try(cloudpickle.dumps(work), crew, listen)
            except ray.exceptions.RayError as error:
                how = str(error).strip().split("\n", 1)[0]
                left, got_on = (self.tries if got_on else left) - 1, False
                if not left:
                    raise ClusterError(
                        f"{self.tries} workers died of the same work. Ray says at last: {how} If memory ran out, use "
                        "larger nodes."
                    ) from None
                logger.warning("A worker died, and its work goes on in another: %s", how)

    def _try(self, work: bytes, crew: Crew, receive: Send) -> Any:
        timeout_s = DataContext.get_current().execution_no_progress_timeout_s
        actor = ray.remote(_CallWorker)
        worker: Any = actor.options(num_cpus=crew.cpus, num_gpus=crew.gpus, max_concurrency=2).remote()
        try:
            answer, news = worker.work.remote(work, self.visible), worker.said.remote()
            begun = heard = time.monotonic()
            is_up = is_waiting = False
            while True:
                ready, _ = ray.wait([answer, news], timeout=PATIENCE_S)
                if news in ready:
                    heard, is_up = heard if is_up else time.monotonic(), True
                    for message in ray.get(news):
                        heard = time.monotonic()
                        receive(message)
                    news = worker.said.remote()
                if answer in ready:
                    found: Any = ray.get(answer)
                    for message in ray.get(news, timeout=ANSWER_S) + ray.get(worker.said.remote(), timeout=ANSWER_S):
                        receive(message)
                    return open_answer(found)
                now = time.monotonic()
                if not is_up and not is_waiting and now - begun > ROOM_S:
                    is_waiting = True
                    logger.warning("Waiting for %s: it starts, or there is no room on %s yet.", crew, self.resources)
                if now - heard > (timeout_s if is_up else max(timeout_s, START_S)):
                    raise ClusterError(_silence(now - heard, crew, is_up=is_up))
        finally:
            ray.kill(worker)


def _silence(seconds: float, crew: Crew, *, is_up: bool) -> str:
    waited = f"{seconds:.0f} s (cluster.no_progress_timeout_s)"
    if is_up:
        return f"A worker has told of no progress for {waited}, and is stopped. The same command goes on."
    return (
        f"The cluster had no room for {crew} for {waited}. Wait for other work to end, or ask for less with --cpus or "
        "--gpus."
    )


class _CallWorker:
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
