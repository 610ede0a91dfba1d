"""Workers that Ray killed since their node had no memory left, whoever used it: no fault of the unit they had.

Ray kills the youngest workers of a node above RAY_memory_usage_threshold (95%) and starts them again, without end. Here
that is waited for, said, and ended after a while.
"""

import contextlib
import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from ray._private.state import state
from ray.core.generated.common_pb2 import (
    NODE_OUT_OF_MEMORY,  # pyright: ignore[reportAttributeAccessIssue] - protobuf makes it when it is imported
)
from ray.core.generated.gcs_pb2 import (
    WorkerTableData,  # pyright: ignore[reportAttributeAccessIssue] - protobuf makes it when it is imported
)

from encore_ray.errors import ClusterError

logger = logging.getLogger("encore_ray")

PATIENCE_S = 300.0  # without a finished unit, while Ray kills workers
RELIEF_S = 60.0  # without a kill, after which memory is there again
PAUSE_S = 5.0  # before work is handed out again
POLL_S = 2.0
NAMED, SHOWN_CHARS = 3, 300  # units in a message, characters of each


def killed_for_memory() -> dict[bytes, tuple[int, str]]:
    """Process number and Ray's reason of each worker that was killed for its node's memory, by the worker's id."""
    found: dict[bytes, tuple[int, str]] = {}
    for data in state._connect_and_get_accessor().get_worker_table():
        worker = WorkerTableData.FromString(data)
        if not worker.is_alive and worker.exit_type == NODE_OUT_OF_MEMORY:
            found[worker.worker_address.worker_id] = (worker.pid, worker.exit_detail)
    return found


def died_of_memory(place: str) -> bool:
    """Whether a process, as marks name it ("process 123 on ..."), was killed for its node's memory."""
    number = re.match(r"process (\d+) on ", place)
    return number is not None and any(pid == int(number[1]) for pid, _ in killed_for_memory().values())


class MemoryPatience:
    """How long is waited for memory: as long as units finish, or for `PATIENCE_S` while Ray kills workers.

    Args:
        in_work: names what the workers had that were killed, or have again.
    """

    def __init__(self, in_work: Callable[[], Iterable[str]] = tuple) -> None:
        self._in_work = in_work
        self._seen = set(killed_for_memory())
        self._began: float | None = None
        self._last = 0.0
        self._has_said = False
        self._detail = ""

    def progressed(self) -> None:
        """Something was finished: there is memory enough to go on."""
        self._began = None

    def check(self) -> None:
        """Look for new kills; say it at the first.

        Raises:
            ClusterError: workers have been killed for too long without anything finished.
        """
        now, killed = time.monotonic(), killed_for_memory()
        new = killed.keys() - self._seen
        self._seen |= new
        if new:
            self._last = now
            self._began = now if self._began is None else self._began
        elif now - self._last > RELIEF_S:
            self._began = None
        self._detail = next((_in_short(killed[worker][1]) for worker in new), self._detail)
        if new and not self._has_said:
            self._has_said = True
            logger.warning(
                "Ray kills workers, since their node has no memory left%s. They are tried again; the job ends if "
                "nothing finishes for %.0f s.",
                self._detail,
                PATIENCE_S,
            )
        if self._began is not None and now - self._began > PATIENCE_S:
            raise ClusterError(
                f"The node has no memory left{self._detail}: Ray killed workers for {PATIENCE_S:.0f} s; nothing was "
                f"finished{self._named()}. End what else uses its memory, take larger nodes, or ask for fewer workers "
                "a node (score.actors) or smaller units (prepare.unit_pairs). No row is blamed; the same command goes "
                "on. If it ends so again where nothing else runs, a row needs more than there is: lower "
                "score.max_tokens."
            )

    def _named(self) -> str:
        """What was in work, as " of what was in work (unit a of b)"."""
        names = list(dict.fromkeys(name[:SHOWN_CHARS] for name in self._in_work()))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f" of what was in work ({', '.join(names[:NAMED])}{more})" if names else ""

    def pause(self) -> None:
        """Wait a little before another try; raises as `check`."""
        time.sleep(PAUSE_S)
        self.check()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Check from a thread while the block waits for Ray, and interrupt the block where it is to end.

        Only the main thread can be interrupted: elsewhere the block ends by its own limits.

        Raises:
            ClusterError: as `check`.
        """
        waiting = threading.main_thread()
        # SIGINT is ignored in what a script has started by `&`; SIGTERM is an interrupt while a cluster is joined.
        number = next((n for n in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(n))), None)
        if threading.current_thread() is not waiting or number is None:
            yield
            return
        ended, problem = threading.Event(), list[ClusterError]()

        def watch() -> None:
            while not ended.wait(POLL_S):
                try:
                    self.check()
                except ClusterError as error:
                    problem.append(error)
                    signal.pthread_kill(waiting.ident or 0, number)  # ends a wait in the system too
                    return
                except Exception:  # Ray is being left
                    return

        thread = threading.Thread(target=watch, name="encore-ray-memory", daemon=True)
        thread.start()
        try:
            try:
                yield
            finally:
                ended.set()
                thread.join()
        except KeyboardInterrupt:
            if problem:
                raise problem[0] from None
            raise


def _in_short(detail: str) -> str:
    """Of Ray's reason how much of the memory is used, as " (4.3GB used / 23.5GB limit)"."""
    found = re.search(r"was ([\d.]+ ?\w+ used / [\d.]+ ?\w+ limit)", detail)
    return f" ({found[1]})" if found else ""
