"""Holding a local run folder by a lock of the kernel's, which ends with the process, whatever ends it."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import IO

from encore_ray.errors import ConfigError
from encore_ray.files import durable
from encore_ray.folder.driver.process import Driver
from encore_ray.storage import Folder, from_json

logger = logging.getLogger("encore_ray")

LOCK_FILE = ".encore-ray-lock"
BRIEF_S = 0.5  # that it is tried for in any case: `status` takes it for a moment, to see whether it is held
POLL_S = 0.1


@contextlib.contextmanager
def locked(run: Folder, *, timeout_s: float, refused: Callable[[Driver | None], ConfigError]) -> Iterator[None]:
    """Hold a folder for the duration of the block; where the file system has no locks that is said.

    Args:
        run: the folder, made if it is not there.
        timeout_s: seconds to wait for another process that holds it.
        refused: makes the error of whom another process keeps out.
    """
    try:
        os.makedirs(run.uri, exist_ok=True)
        handle = open(run.path(LOCK_FILE), "a+")  # noqa: SIM115  closed below, with the lock
    except OSError as error:
        raise ConfigError(f"Cannot write to the run folder {run.uri}: {error}") from None
    with handle:
        try:
            is_held = _lock(run, handle, timeout_s, refused)
        except OSError as error:
            raise ConfigError(f"Cannot lock the run folder {run.uri}: {error}. Use a folder on another disk.") from None
        if not is_held:
            logger.warning(
                "Nothing locks the run folder %s: its file system has no locks (Lustre has them with -o flock). Do not "
                "work on it with two commands at a time: results stay exact, but work is done twice.",
                run.uri,
            )
        with contextlib.suppress(OSError):  # a full disk: then nobody is told who it is
            handle.truncate(0)
            handle.write(json.dumps(Driver.this_process().to_json()))
            handle.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                handle.truncate(0)


def holder(run: Folder) -> str | None:
    """Who holds a folder, for people; None where nobody does."""
    try:
        with open(run.path(LOCK_FILE)) as handle:
            driver = _written(handle)
            try:
                has_locks = durable.try_lock(handle, shared=True)
            except BlockingIOError:
                return told(driver)
    except OSError:
        return None
    return None if has_locks or driver is None or driver.is_gone else told(driver)


def told(driver: Driver | None) -> str:
    """A process as a message names it."""
    return "a process that cannot be told" if driver is None else str(driver)


def _lock(run: Folder, handle: IO[str], timeout_s: float, refused: Callable[[Driver | None], ConfigError]) -> bool:
    """Lock it once nobody else does; whether the file system has locks."""
    started = time.monotonic()
    is_said = False
    while True:
        try:
            return durable.try_lock(handle)
        except BlockingIOError:
            waited_s = time.monotonic() - started
            if waited_s >= max(timeout_s, BRIEF_S):
                raise refused(_written(handle)) from None
            if waited_s >= BRIEF_S and not is_said:
                is_said = True
                logger.warning(
                    "Waiting up to %.0f s for %s, which works on %s.", timeout_s, told(_written(handle)), run.uri
                )
            time.sleep(POLL_S)


def _written(handle: IO[str]) -> Driver | None:
    """Who wrote into a lock file; None where nobody did, or not all of it."""
    handle.seek(0)
    try:
        return Driver.of_json(from_json(handle.read()))
    except (KeyError, TypeError, ValueError):
        return None
