"""Ending a process that hangs, even one that holds the interpreter's lock; its stacks are left in its log."""

import contextlib
import faulthandler
import threading
import time
from collections.abc import Callable, Iterator

from encore_ray.folder.protocol.in_flight import STDERR

GRACE_S = 5.0  # for `hung` to end the process, before the timer does
_NEVER_S = 1e9  # 31 years; timers hold up to 292

_on_duty: "Watchdog | None" = None


class CalledOff(Exception):
    """The pass has ended, by an error or an interrupt: nobody waits for this call."""


def advance() -> None:
    """Say that a call in flight is getting on, for work whose one call may take longer than a watchdog waits.

    Raises:
        CalledOff: the call is of no use any more.
    """
    if _on_duty is not None:
        _on_duty.wind()


class Watchdog:
    """Ends the process when calls are in flight and none finishes for a time.

    The timer is faulthandler's, whose thread needs no interpreter lock to write all stacks and to exit. A process has
    only one: calls in flight share it, and each that finishes winds it up for the others.

    Args:
        timeout_s: seconds, > 0; inf: never.
        hung: called in a thread of its own, to end the process in a better way than the timer can: that waits a little
            longer then, and is left for what holds the interpreter's lock.
    """

    def __init__(self, timeout_s: float, hung: Callable[[], object] | None = None):
        self._timeout_s = timeout_s
        self._hung = hung
        self._in_flight = 0
        self._due_s = 0.0
        self._is_called_off = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_waited_for = False

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
                    self._rest()

    def wind(self) -> None:
        """Wait anew, if a call is in flight; CalledOff where it is to end."""
        with self._lock:
            if self._is_called_off:
                raise CalledOff
            if self._in_flight:
                self._wind()

    def call_off(self) -> None:
        """Let calls in flight end when they `advance`."""
        with self._lock:
            self._is_called_off = True

    def _wind(self) -> None:
        if self._timeout_s > _NEVER_S:
            return
        self._due_s = time.monotonic() + self._timeout_s
        timer_s = self._timeout_s + (GRACE_S if self._hung else 0)
        faulthandler.dump_traceback_later(timer_s, exit=True, file=STDERR)
        if self._hung and not self._is_waited_for:
            self._is_waited_for = True
            threading.Thread(target=self._wait, args=(self._hung,), name="encore-ray-watchdog", daemon=True).start()

    def _rest(self) -> None:
        global _on_duty
        if _on_duty is self:
            _on_duty = None
        if self._timeout_s <= _NEVER_S:  # else the timer is somebody else's
            faulthandler.cancel_dump_traceback_later()
            self._changed.notify()

    def _wait(self, hung: Callable[[], object]) -> None:
        with self._lock:
            while self._in_flight and (left_s := self._due_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            self._is_waited_for = False
            if not self._in_flight:
                return
        hung()
