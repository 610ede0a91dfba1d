"""Ending a worker that hangs, even one that holds the interpreter's lock; its stack is left in its log."""

import contextlib
import faulthandler
import threading
from collections.abc import Iterator

from encore_ray.folder.in_flight import STDERR

_on_duty: "Watchdog | None" = None


def advance() -> None:
    """Say that a call in flight is getting on, for work whose one call may take longer than a watchdog waits."""
    if _on_duty is not None:
        _on_duty.wind()


class Watchdog:
    """Ends the process when calls are in flight and none finishes for a time.

    The timer is faulthandler's, whose thread needs no interpreter lock to write all stacks and to exit. A process has
    only one: calls in flight share it, and each that finishes winds it up for the others.

    Args:
        timeout_s: seconds, > 0.
    """

    def __init__(self, timeout_s: float):
        self._timeout_s = timeout_s
        self._in_flight = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch one call, the block."""
        global _on_duty
        with self._lock:
            self._in_flight += 1
            if self._in_flight == 1:
                self._wind()
                _on_duty = self
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                if self._in_flight:
                    self._wind()
                else:
                    faulthandler.cancel_dump_traceback_later()

    def wind(self) -> None:
        """Wait anew, if a call is in flight."""
        with self._lock:
            if self._in_flight:
                self._wind()

    def _wind(self) -> None:
        faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=STDERR)
