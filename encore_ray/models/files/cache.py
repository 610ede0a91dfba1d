"""Where files lie that a machine keeps of models: copies, merged adapters, digests."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder below `~/.cache/encore-ray`, or below that of XDG_CACHE_HOME; of a user without a home, temporary."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:  # a number without an account, as in containers
        cache = Path(tempfile.gettempdir(), f"cache-{os.getuid()}")
    return cache / "encore-ray" / name


def made_once(place: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is made whole or not at all; processes that start together make it once, under a lock.

    Args:
        place: below a `cache_folder`.
        make: writes into an empty folder.
    """
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{place}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            unfinished = place.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed; the lock is ours
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(place)
    return place
