"""SIGTERM as an interrupt, so that a command ends cleanly by either."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from encore_ray.errors import Terminated


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Turn SIGTERM into Terminated. Ray installs a handler of its own when it starts: to be used again after that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
