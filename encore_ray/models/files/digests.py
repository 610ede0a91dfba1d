"""SHA-256 of files, read once a machine: what `stat` says of a file tells whether it is still the one that was read.

A digest is kept in `~/.cache/encore-ray/digests` (XDG_CACHE_HOME) by path, size, times, inode and device; the time of
the last change of an inode cannot be set by whoever replaces its content. A file that has changed within the last
seconds is read each time: its next change might have the same times. Processes that start together read a file once.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from encore_ray.errors import ModelError
from encore_ray.models.files.cache import cache_folder

_SETTLED_S = 3.0  # after which no file system gives a further change the same time
_TRIES = 3


@dataclass(frozen=True)
class Stamp:
    """What `stat` says of a file; times in nanoseconds."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, file: Path) -> "Stamp":
        """The stamp of a file now; links are followed."""
        found = file.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)

    @property
    def is_settled(self) -> bool:
        """Whether a change from now on gives another stamp."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > _SETTLED_S * 1e9


def file_digest(file: Path) -> tuple[str, Stamp]:
    """SHA-256 of a file's content in hexadecimal digits, and the stamp that it had.

    Raises:
        ModelError: it cannot be read, or changes again and again while it is read.
    """
    try:
        kept = _entry(file)
        with _alone(kept):
            stamp = Stamp.of(file)
            digest = _kept(kept, stamp)
            if digest is None:
                digest, stamp = _read(file)
                if stamp.is_settled:
                    _keep(kept, stamp, digest)
        return digest, stamp
    except OSError as error:
        raise ModelError(f"Cannot read {file}, a file of the model: {error.strerror or error}.") from error


def _read(file: Path) -> tuple[str, Stamp]:
    for _ in range(_TRIES):
        with file.open("rb") as handle:
            before = Stamp.of(file)
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        if Stamp.of(file) == before:
            return digest, before
    raise ModelError(f"{file}, a file of the model, changes while it is read. Start again when it is written.")


def _entry(file: Path) -> Path:
    return cache_folder("digests") / hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:32]


@contextlib.contextmanager
def _alone(entry: Path) -> Iterator[None]:
    """Hold a lock while a file is read, where the cache can be written and its file system has locks."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            entry.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(open(f"{entry}.lock", "a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(entry: Path, stamp: Stamp) -> str | None:
    try:
        found = json.loads(entry.read_text(encoding="utf-8"))
        return str(found["sha256"]) if tuple(found["stamp"]) == astuple(stamp) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(entry: Path, stamp: Stamp, digest: str) -> None:
    with contextlib.suppress(OSError):
        unfinished = entry.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps({"stamp": astuple(stamp), "sha256": digest}), encoding="utf-8")
        unfinished.rename(entry)
