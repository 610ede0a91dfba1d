"""Local files that appear under their name only when they are whole and on disk, whatever is killed when.

Some file systems have no hard links (FUSE, SMB, some of Lustre), no locks, or no folder that can be synced. What is
done there instead stands here, and nowhere else.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import IO, Any

TEMP_PREFIX = ".tmp-"
DECIDED_PREFIX = f"{TEMP_PREFIX}decided-"

_CONTENT = "content"  # of a decision
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE, of renameat2(2)
PATIENCE_S = 1.0  # for a winner to put its file in place, before a loser does it for it

# What a file system answers that does not know the call.
_UNKNOWN = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_NO_LINKS = _UNKNOWN | {errno.EPERM}
_NO_LOCKS = _UNKNOWN | {errno.ENOLCK}
_NO_SYNC = _UNKNOWN | {errno.EINVAL, errno.EBADF}
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY}


def replace_file(final: str, chunks: Iterable[bytes]) -> None:
    """Write or replace a file; a reader sees the old or the new one."""
    os.replace(_write_temporary(final, chunks), final)
    _fsync(os.path.dirname(final))


@contextlib.contextmanager
def replacing_folder(final: str) -> Iterator[str]:
    """A new folder to fill, which takes the place of `final` when the block ends well: the old one is there, or this.

    Where the file system cannot exchange two folders, there is neither for an instant. A writer that is killed leaves
    its folder beside, for the next one to delete.
    """
    final = os.path.realpath(final)
    parent, name = os.path.split(final)
    unfinished = os.path.join(parent, f"{TEMP_PREFIX}{name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)
    try:
        yield unfinished
        for folder, _, files in os.walk(unfinished):
            for file in files:
                _fsync(os.path.join(folder, file))
            _fsync(folder)
        if not os.path.isdir(final) or not os.listdir(final):
            os.rename(unfinished, final)
        elif not _exchange(unfinished, final):
            old = f"{unfinished}.old"
            os.rename(final, old)
            os.rename(unfinished, final)
            shutil.rmtree(old)
        _fsync(parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _exchange(one: str, other: str) -> bool:
    """Let two folders change places at once; False where that cannot be done."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # a C library that does not know it
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error not in _UNKNOWN | {errno.EINVAL}:
        raise OSError(error, os.strerror(error), other)
    return False


def create_file(final: str, data: bytes) -> None:
    """Make a file that must not exist yet: an O_EXCL open killed before its write would win empty.

    A file that is whole is linked to its name, which fails where the name is taken. Without hard links a folder that
    holds the file is renamed to the name of a decision, which fails where that is there and not empty; the file then
    gets its name from what was decided. Whoever meets a decision whose winner was killed finishes it.

    Raises:
        FileExistsError: another writer was first; nothing is left of this attempt.
    """
    temporary = _write_temporary(final, [data])
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _decide(temporary, final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _fsync(os.path.dirname(final))


def try_lock(file: IO[Any], *, waits: bool = False, shared: bool = False) -> bool:
    """Lock an open file until it is closed or the process ends; False where its file system has no locks.

    Args:
        waits: for another process that holds it.
        shared: beside others who ask for no more.

    Raises:
        BlockingIOError: another process holds it, and this one is not to wait.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if waits else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def sweep_temporaries(folder: str) -> None:
    """Remove what writers that were killed left under temporary names, once what they had decided is in its place."""
    if not os.path.isdir(folder):
        return
    for entry in os.listdir(folder):
        path = os.path.join(folder, entry)
        if entry.startswith(DECIDED_PREFIX):
            _finish(path, os.path.join(folder, entry.removeprefix(DECIDED_PREFIX)))
            shutil.rmtree(path, ignore_errors=True)
        elif entry.startswith(TEMP_PREFIX):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def _decide(temporary: str, final: str) -> None:
    folder, name = os.path.split(final)
    decision = os.path.join(folder, DECIDED_PREFIX + name)
    mine = f"{temporary}.d"
    os.mkdir(mine)
    try:
        os.rename(temporary, os.path.join(mine, _CONTENT))
        _fsync(mine)
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final)
        os.rename(mine, decision)
    except OSError as error:
        shutil.rmtree(mine, ignore_errors=True)
        if error.errno not in _TAKEN:
            raise
        _await(decision, final)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
    # An earlier decision is taken away only after its file is there: who decides after that finds the file.
    won = not os.path.lexists(final)
    if won:
        _finish(decision, final)
    shutil.rmtree(decision, ignore_errors=True)
    if not won:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final)


def _await(decision: str, final: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not os.path.lexists(final):
        if time.monotonic() > deadline:
            _finish(decision, final)
            if os.path.lexists(final):  # else the decision was another one's by then
                shutil.rmtree(decision, ignore_errors=True)
            return
        time.sleep(0.01)


def _finish(decision: str, final: str) -> None:
    """Give a file what was decided for it: the same content, however many do so at a time."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(decision, _CONTENT), "rb") as handle:
        content = handle.read()
        if not os.path.lexists(final):
            replace_file(final, [content])


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


def _fsync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)
