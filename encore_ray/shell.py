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
    """A command line to paste, e.g. command("mlflow", "ui").

    The script's own path is used where the shell would not find it, as after `make demo` without activating `.venv`.
    """
    script = os.path.join(os.path.dirname(sys.executable), words[0])
    if shutil.which(words[0]) is None and os.path.exists(script):
        near = os.path.relpath(script)
        words = (near if len(near) < len(script) else script, *words[1:])
    return shlex.join(words)


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
