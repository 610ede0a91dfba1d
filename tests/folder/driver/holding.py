"""A process of its own that holds a folder."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def holding(
    script: str, *words: str, environment: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[str]]":
    """One that runs a script, says "held" and ends with its standard input, or is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
