"""Device utilisation: how long a device had a forward pass to run, and how long it had none."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch


@dataclass(frozen=True)
class Occupied:
    """What a device did over a stretch of forward passes.

    Attributes:
        busy_s: seconds in which a forward pass ran.
        idle_s: seconds from the end of one to the start of the next.
    """

    busy_s: float
    idle_s: float


class Occupancy:
    """Marks the start and the end of every forward pass; time before the first one is nobody's.

    On a GPU the marks are events in its queue, which are read at `take` alone: no forward waits for them. Of a model
    on several GPUs it sees the first one.

    Args:
        device: where the passes run.
    """

    def __init__(self, device: torch.device):
        self._is_cuda = device.type == "cuda"
        self._passes: list[tuple[Any, Any]] = []
        self._last_end: Any = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """Around one forward pass; one that fails has kept the device busy all the same."""
        start = self._mark()
        try:
            yield
        finally:
            end = self._mark()
            with self._lock:
                self._passes.append((start, end))

    def take(self) -> Occupied:
        """Busy and idle time since the last call, with the gap between its last pass and the first one since.

        Of a GPU it waits for the passes to end.
        """
        with self._lock:
            passes, self._passes = self._passes, []
            before, self._last_end = self._last_end, passes[-1][1] if passes else self._last_end
        if passes and self._is_cuda:
            passes[-1][1].synchronize()
        busy_s = sum(self._seconds(start, end) for start, end in passes)
        idle_s = sum(self._seconds(a[1], b[0]) for a, b in pairwise(passes))
        if passes and before is not None:
            idle_s += self._seconds(before, passes[0][0])
        return Occupied(busy_s, idle_s)

    def _mark(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1000 if self._is_cuda else end - start
