"""A row for each thing that was tried, with its seconds; a command that fails ends all with what it said."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator

SHOWN = 4000  # characters of what a failed command said


@contextlib.contextmanager
def step(what: str) -> Iterator[Callable[[str], None]]:
    """Print a row when the block has ended well; what it is given ends the row."""
    notes: list[str] = []
    begun = time.monotonic()
    yield notes.append
    print(f"{time.monotonic() - begun:7.1f} s  {what:<10}  {'; '.join(notes)}", flush=True)


def run(command: list[str], *, stdin: str = "", expect: int = 0, timeout_s: float = 1800) -> str:
    """What a command printed to stdout and, where it ends otherwise than expected, the end of the program."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != expect:
        said = (done.stdout + done.stderr)[-SHOWN:]
        raise SystemExit(f"{said}\n{' '.join(command)}\nended with {done.returncode}, not {expect}.")
    return done.stdout
