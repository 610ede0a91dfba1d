"""One driver at a time on a run folder: a lock where it is local, a lease where it is remote."""

import contextlib
import logging
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from encore_ray.errors import ConfigError
from encore_ray.files.fence import fenced
from encore_ray.folder.driver import local
from encore_ray.folder.driver.entries import LEASE_DIR, TERM_S, LeaseFiles
from encore_ray.folder.driver.lease import Lease, Watch
from encore_ray.folder.driver.process import Driver
from encore_ray.schema import TRACKING_DIR
from encore_ray.storage import Folder

logger = logging.getLogger("encore_ray")

PROBE_FILE = ".encore-ray-probe"

_SUPERSEDED = signal.SIGRTMIN + 5  # which nobody else sends

_leases: list[Lease] = []  # that this process holds


@contextlib.contextmanager
def only_driver(run: Folder, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold a run folder, or the folder of a single table, for the duration of the block.

    Two drivers would each delete what the other has not committed yet. Of a local folder the kernel lets go when the
    process is killed; where its file system has no locks (Lustre without -o flock, some FUSE and NFS), which is said,
    two drivers cost double work, and commits stay exact. A remote folder is held by a lease (see `entries`).

    Args:
        run: the folder.
        timeout_s: seconds to wait for another process that works on it, before this one is refused.

    Raises:
        ConfigError: another process holds it, nothing can be written there, or the store or file system lets the last
            writer win.
        ClusterError: another driver took the lease over, since this one was cut off: anywhere in the block where this
            is the main thread, else before it replaces or deletes a file, at `require_driver`, and at the end.
    """
    if run.is_local:
        with local.locked(run, timeout_s=timeout_s, refused=lambda by: _refusal(run, local.told(by))):
            _require_first_wins(run)
            yield
        return
    _require_first_wins(run)
    with _heard_of_loss() as tell:
        held = Lease(run, Driver.this_process(), on_loss=tell, term_s=TERM_S)
        _take(held, timeout_s)
        _leases.append(held)
        try:
            with fenced(run.uri, held.require, open_to_all=(LEASE_DIR, TRACKING_DIR)):
                yield
            held.require()
        except BaseException:
            held.require(ask=False)  # Ray tells any error of a signal's handler as an interrupt
            raise
        finally:
            _leases.remove(held)
            held.release()


def require_driver(*, ask: bool = True) -> None:
    """Raise ClusterError where another driver took over what this process held.

    Args:
        ask: the store, where the last renewal is older than half a term; False: only what is known.
    """
    for held in tuple(_leases):
        held.require(ask=ask)


def driver_of(run: Folder) -> str | None:
    """Who works on a run folder, for people: process, host, since when; None where nobody does."""
    if run.is_local:
        return local.holder(run)
    entry = LeaseFiles.of_run(run).latest()
    return None if entry is None or entry.is_free else str(entry)


def refuse_other_driver(run: Folder) -> None:
    """Raise ConfigError where a process works on a run folder, as `only_driver` would; nothing is taken or written."""
    holder = driver_of(run)
    if holder is not None:
        raise _refusal(run, holder)


def _take(held: Lease, timeout_s: float) -> None:
    """Take a lease once nobody holds it.

    Raises:
        ConfigError: its holder is alive, and goes on for longer than this one is to wait.
    """
    deadline = time.monotonic() + timeout_s
    watch, uri = Watch(), held.run.uri
    while True:
        entry = held.files.latest(watch.entry)
        if entry is None:
            number = 0
        else:
            is_first = watch.entry is None
            was_alive = watch.is_alive
            watch.look(entry)
            number = entry.number
            if not entry.is_free and not watch.is_over:
                if watch.is_alive and time.monotonic() >= deadline:
                    raise _refusal(held.run, str(entry))
                if is_first:
                    logger.warning(
                        "%s is held by %s. Waiting up to %.0f s to see whether it is still there.",
                        uri,
                        entry,
                        watch.most_s,
                    )
                elif watch.is_alive and not was_alive:
                    logger.warning("It is: waiting up to %.0f s for its end.", deadline - time.monotonic())
                time.sleep(watch.pause_s)
                continue
            if entry.holder:
                logger.warning("Taking %s over from %s, which is gone.", uri, entry)
        if held.take(number + 1):
            return
        time.sleep(watch.pause_s)


def _refusal(run: Folder, holder: str) -> ConfigError:
    return ConfigError(
        f"Another process works on {run.uri}: {holder}. Wait for it (`encore-ray status` says how far a run is; "
        "cluster.lock_timeout_s lets a command wait by itself), or use another folder."
    )


@contextlib.contextmanager
def _heard_of_loss() -> Iterator[Callable[[], None]]:
    """Let a thread that learns of a loss end the main thread's work, by a signal whose handler raises."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    main = threading.get_ident()

    def heed(signum: int, frame: object) -> None:
        for held in _leases:
            if not held.is_told:
                held.require(ask=False)

    before = signal.signal(_SUPERSEDED, heed)
    try:
        yield lambda: signal.pthread_kill(main, _SUPERSEDED)
    finally:
        signal.signal(_SUPERSEDED, before)


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
