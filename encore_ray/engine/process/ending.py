"""Ending this process at once from a thread of it, where the main thread waits for what will never come."""

import contextlib
import os
from collections.abc import Callable, Iterator

from encore_ray.errors import ClusterError
from encore_ray.folder.protocol.in_flight import STDERR
from encore_ray.redaction import redact
from encore_ray.visible import visible_lines

_SHOW_CURSOR = "\x1b[?25h"
_hearers: list[Callable[[str], object]] = []


@contextlib.contextmanager
def heard_last(hear: Callable[[str], object]) -> Iterator[None]:
    """While it lasts, somebody else hears the last words too, and takes no lock for it."""
    _hearers.append(hear)
    try:
        yield
    finally:
        _hearers.remove(hear)


def say_last(message: str) -> None:
    """Say on stderr why the process ends, as a command says what a user can mend.

    Nothing here waits for a lock that what hangs may hold, as those of logging or of a console.
    """
    for hear in _hearers:
        hear(message)
    cursor = _SHOW_CURSOR if os.isatty(STDERR) else ""  # a bar may have hidden it
    os.write(STDERR, f"{cursor}\nencore-ray: {visible_lines(redact(message))}\n\n".encode(errors="replace"))


def end_process() -> None:
    """End this process with the exit code of ClusterError; nothing of it is closed or waited for."""
    os._exit(ClusterError.exit_code)
