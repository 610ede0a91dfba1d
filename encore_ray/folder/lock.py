"""One driver at a time on a run folder."""

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator

from encore_ray import durable
from encore_ray.errors import ConfigError
from encore_ray.storage import Folder

logger = logging.getLogger("encore_ray")

LOCK_FILE = ".encore-ray-lock"
PROBE_FILE = ".encore-ray-probe"


@contextlib.contextmanager
def only_driver(run: Folder) -> Iterator[None]:
    """Hold a local run folder, or the folder of a single table, for the duration of the block.

    The kernel lets go of it when the process is killed.

    Two drivers would each delete what the other has not committed yet. A remote folder cannot be held: there, two
    drivers cost double work, and commits stay exact, where the store lets the first writer of a record win. So it is
    with a local folder whose file system has no locks (Lustre without -o flock, some FUSE and NFS), which is said.

    Raises:
        ConfigError: another process holds it, nothing can be written there, or the store or file system lets the last
            writer win.
    """
    if not run.is_local:
        _require_first_wins(run)
        yield
        return
    try:
        os.makedirs(run.uri, exist_ok=True)
        handle = open(run.path(LOCK_FILE), "a")  # noqa: SIM115  closed below, with the lock
    except OSError as error:
        raise ConfigError(f"Cannot write to the run folder {run.uri}: {error}") from None
    with handle:
        try:
            is_held = durable.try_lock(handle)
        except BlockingIOError:
            raise ConfigError(
                f"Another process works on {run.uri}. Wait for it (`encore-ray status` says how far a run is), or use "
                "another folder."
            ) from None
        except OSError as error:
            raise ConfigError(f"Cannot lock the run folder {run.uri}: {error}. Use a folder on another disk.") from None
        if not is_held:
            logger.warning(
                "Nothing locks the run folder %s: its file system has no locks (Lustre has them with -o flock). Do not "
                "work on it with two commands at a time: results stay exact, but work is done twice.",
                run.uri,
            )
        _require_first_wins(run)
        yield


def _require_first_wins(run: Folder) -> None:
    """Write a file twice: without conditional or exclusive writes the second replaces the first."""
    probe = f"{PROBE_FILE}-{uuid.uuid4().hex}"
    first, second = run.create_once(probe, b"first"), run.create_once(probe, b"second")
    run.delete(probe)
    if not first or second:
        if run.is_local:
            raise ConfigError(
                f"{run.uri}: its file system lets a later writer replace an earlier one's file, so that two attempts "
                "at one unit could both count. Use a run folder on another disk."
            )
        raise ConfigError(
            f"{run.uri}: its store lets a later writer replace an earlier one's file (it ignores If-None-Match), so "
            "that two attempts at one unit could both count. Use a store with conditional writes, as Amazon S3 and "
            "recent versions of MinIO have, or a local run folder."
        )
