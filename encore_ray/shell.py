"""How a person calls our console scripts from the shell they are in."""

import os
import shlex
import shutil
import sys


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
