"""One driver at a time on a run folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from encore_ray.errors import ConfigError
from encore_ray.storage import Folder

LOCK_FILE = ".encore-ray-lock"


@contextlib.contextmanager
def only_driver(run: Folder) -> Iterator[None]:
    """Hold a local run folder for the duration of the block; the kernel lets go of it when the process is killed.

    Two drivers would each delete what the other has not committed yet. A remote folder cannot be held: there, two
    drivers cost double work, and commits stay exact.

    Raises:
        ConfigError: another process holds it, or nothing can be written there.
    """
    if not run.is_local:
        yield
        return
    try:
        os.makedirs(run.uri, exist_ok=True)
        handle = open(run.path(LOCK_FILE), "a")  # noqa: SIM115  closed below, with the lock
    except OSError as error:
        raise ConfigError(f"Cannot write to the run folder {run.uri}: {error}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another process works on {run.uri}. `encore-ray status {run.uri}` says how far it is; wait for it, "
                "or use another run folder."
            ) from None
        yield
