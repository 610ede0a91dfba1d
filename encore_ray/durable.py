"""Local files that appear under their name only when they are whole and on disk, whatever is killed when."""

import contextlib
import os
import uuid
from collections.abc import Iterable

TEMP_PREFIX = ".tmp-"


def replace_file(final: str, chunks: Iterable[bytes]) -> None:
    """Write or replace a file; a reader sees the old or the new one."""
    os.replace(_write_temporary(final, chunks), final)
    _fsync_folder(os.path.dirname(final))


def create_file(final: str, data: bytes) -> None:
    """Make a file that must not exist yet: an O_EXCL open killed before its write would win empty.

    Raises:
        FileExistsError: another writer was first; nothing is left of this attempt.
    """
    temporary = _write_temporary(final, [data])
    try:
        os.link(temporary, final)
    finally:
        os.unlink(temporary)
    _fsync_folder(os.path.dirname(final))


def sweep_temporaries(folder: str) -> None:
    """Remove what writers that were killed left under temporary names."""
    if os.path.isdir(folder):
        for entry in os.listdir(folder):
            if entry.startswith(TEMP_PREFIX):
                os.unlink(os.path.join(folder, entry))


def _write_temporary(final: str, chunks: Iterable[bytes]) -> str:
    folder = os.path.dirname(final)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, TEMP_PREFIX + uuid.uuid4().hex)
    try:
        with open(temporary, "wb") as handle:
            handle.writelines(chunks)
            handle.flush()
            os.fsync(handle.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def _fsync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
