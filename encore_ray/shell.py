"""How a person calls our console scripts from the shell they are in."""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

_CALLED: ContextVar[str] = ContextVar("called", default="Python")


def command(*words: str) -> str:
    """A command line to paste, e.g. command("mlflow", "ui") or command("python", "-c", "...").

    The path of a program beside this interpreter is used where the shell would not find it, as after `make demo`
    without activating `.venv`, or would find another installation's.
    """
    bin_folder = os.path.dirname(sys.executable)
    script = sys.executable if words[0] == "python" else os.path.join(bin_folder, words[0])
    if os.path.exists(script) and not _is_in(bin_folder, shutil.which(words[0])):
        short = os.path.relpath(script)
        words = (short if len(short) < len(script) else script, *words[1:])
    return shlex.join(words)


def _is_in(folder: str, found: str | None) -> bool:
    """Whether a program lies in this folder: it may be a link to one elsewhere, as a venv's interpreter is."""
    return found is not None and os.path.realpath(os.path.dirname(found)) == os.path.realpath(folder)


def near(path: str) -> str:
    """A path as a person here would type it: relative where it lies below this folder; a URL as it is."""
    relative = os.path.relpath(path) if path.startswith("/") else path
    return path if relative.startswith("..") else relative


@contextlib.contextmanager
def called_as(words: Sequence[str]) -> Iterator[None]:
    """While it lasts, a command of ours with these words is at work."""
    token = _CALLED.set(shlex.join(["encore-ray", *words]))
    try:
        yield
    finally:
        _CALLED.reset(token)


def called() -> str:
    """The command line of ours that is at work; Python where it is somebody's own program."""
    return _CALLED.get()
