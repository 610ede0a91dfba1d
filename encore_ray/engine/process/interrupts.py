"""SIGTERM, and SIGHUP of a terminal that is closed, as interrupts, so that a command ends cleanly by any of them."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator

from encore_ray.errors import HungUp, Terminated

_RAISES = {signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Turn SIGTERM into Terminated and SIGHUP into HungUp; one that is ignored, as by `nohup`, stays so.

    Ray installs a handler of its own when it starts: to be used again after that. Where a signal comes while Ray waits,
    it raises a KeyboardInterrupt of its own, which leaves here as what was meant.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    received: list[signal.Signals] = []

    def interrupt(signum: int, frame: object) -> None:
        received.append(signal.Signals(signum))
        if signum == signal.SIGHUP:
            _leave_closed_terminal()
        raise _RAISES[received[-1]]

    heeded = [number for number in _RAISES if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    except KeyboardInterrupt as interruption:
        if received and type(interruption) is KeyboardInterrupt:
            raise _RAISES[received[-1]] from interruption
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_closed_terminal() -> None:
    """Write to nowhere from now on what would go to a terminal that is not there any more, and fail there."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        poll = select.poll()
        poll.register(number, 0)
        if any(state & select.POLLHUP for _, state in poll.poll(0)):
            os.dup2(nowhere, number)
    os.close(nowhere)
