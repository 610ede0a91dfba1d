"""log.txt of a run folder: each command that worked on the run, what it said, and how it ended.

It is for whoever comes later, and for a bug report; nothing reads it, and it decides nothing. A local file has each
line at once. A store cannot append: there it is written whole, by the one driver, a minute apart and at the end.
"""

import contextlib
import logging
import os
import platform
import time
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from types import TracebackType
from typing import Self

from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.redaction import redact
from encore_ray.schema import LOG_FILE
from encore_ray.shell import called
from encore_ray.storage import Folder
from encore_ray.visible import visible_lines

REMOTE_EVERY_S = 60.0
_INDENT = "\n" + " " * 22  # of a message's further lines

logger = logging.getLogger("encore_ray")


class RunLog:
    """The lines of one command; a context manager, in which warnings are heard.

    What it says before it works is kept only once it does. A command that finds all done leaves no line, and so does
    one that is refused, but for a run that has a log already.

    Args:
        folder: the run; None keeps nothing.
        remote_every_s: seconds between writes to a store.
    """

    def __init__(self, folder: Folder | None, *, remote_every_s: float = REMOTE_EVERY_S):
        self._folder = folder
        self._remote_every_s = remote_every_s
        self._file: int | None = None
        self._held: list[str] = []
        self._before: bytes | None = None  # what stood in a store
        self._written_at = self._began = time.monotonic()
        self._works = self._is_broken = False
        self._handler = _Heard(self)
        self.add(
            f"=== {called()} (encore-ray {version('encore-ray')}, Python {platform.python_version()}, "
            f"process {os.getpid()} on {platform.node()}, in {os.getcwd()})"
        )

    def __enter__(self) -> Self:
        if self._folder is not None:
            logger.addHandler(self._handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        logger.removeHandler(self._handler)
        if self._folder is None:
            return
        if error is not None:
            self.add(_told(error))
            is_refused = isinstance(error, ConfigError | DataError)
            self._works = self._works or not is_refused or self._stands()
        self.add(f"--- {'done' if error is None else 'ended'} after {time.monotonic() - self._began:.1f} s")
        if self._works:
            self._write(is_last=True)
        if self._file is not None:
            os.close(self._file)

    def add(self, text: str) -> None:
        """A line, with the time; without credentials and controls."""
        line = visible_lines(redact(text)).strip("\n").replace("\n", _INDENT)
        self._held.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}  {line}\n")
        if self._works:
            self._write()

    def begin(self) -> None:
        """The command was not refused and has something to do."""
        if not self._works and self._folder is not None:
            self._works = True
            self._write()

    def break_off(self, text: str) -> None:
        """The last line of a process that ends at once."""
        self.add(text)
        self._works = self._folder is not None
        if self._works:
            self._write()

    def _stands(self) -> bool:
        with contextlib.suppress(EncoreError):
            return self._folder is not None and self._folder.exists(LOG_FILE)
        return False

    def _write(self, *, is_last: bool = False) -> None:
        """Write what is held; a log that cannot be written is said once, and ends no command."""
        if self._is_broken or self._folder is None:
            return
        try:
            if self._folder.is_local:
                self._append(self._folder)
            elif is_last or time.monotonic() - self._written_at >= self._remote_every_s:
                self._replace(self._folder)
        except (OSError, EncoreError) as error:
            self._is_broken = True
            logger.warning("%s cannot be written: %s", self._folder.path(LOG_FILE), error)

    def _append(self, folder: Folder) -> None:
        if self._file is None:
            os.makedirs(folder.uri, exist_ok=True)
            self._file = os.open(folder.path(LOG_FILE), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        held, self._held = self._held, []
        os.write(self._file, "".join(held).encode())

    def _replace(self, folder: Folder) -> None:
        if self._before is None:
            try:
                self._before = folder.read_bytes(LOG_FILE)
            except FileNotFoundError:
                self._before = b""
        folder.write_atomic(LOG_FILE, self._before + "".join(self._held).encode())
        self._written_at = time.monotonic()


class _Heard(logging.Handler):
    """Hands on what modules of ours warn of, and, where more is told, all of it."""

    def __init__(self, log: RunLog):
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.add(f"{record.levelname.lower()}: {record.getMessage()}")
        if not logging.getLogger().handlers and logging.lastResort is not None:  # which we stand in the way of
            logging.lastResort.handle(record)


def _told(error: BaseException) -> str:
    """An error in a line; one that is no user's with where it comes from."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, EncoreError | KeyboardInterrupt | SystemExit):
        return said
    return f"{said}\n{''.join(traceback.format_exception(error))}"
