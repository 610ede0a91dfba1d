"""Marks of what is in work: one tiny file each, which only a process that dies leaves behind.

Ray tries the unit of an actor that died again, and again if that one dies: the mark tells the second try of the first.
"""

import os
import uuid
from dataclasses import dataclass

from encore_ray.storage import Folder

STDERR = 2  # Ray leads it to the worker's log
_GONE = "a process that has ended since"


@dataclass(frozen=True)
class InFlight:
    """A folder of marks, empty where nothing is in work."""

    folder: Folder

    def begin(self, name: str) -> str | None:
        """Mark something as in work; None, or the process that marked it before and has not ended it."""
        mine = f"{place()}\n{uuid.uuid4().hex}"  # no two marks are the same, not even of a process number used again
        if self.folder.create_once(name, mine.encode()):
            return None
        try:
            return self.folder.read_bytes(name).decode().partition("\n")[0]
        except FileNotFoundError:
            return _GONE

    def standing(self) -> list[str]:
        """What is in work, or was when its process ended."""
        return self.folder.names()

    def end(self, name: str) -> None:
        self.folder.delete(name)

    def clear(self) -> None:
        """Forget all, as a driver must that starts: what died with the last one is nobody's fault."""
        self.folder.delete_tree()


def place() -> str:
    """This process and its log, for people who look for what it left behind."""
    try:
        log = os.readlink(f"/proc/self/fd/{STDERR}")
    except OSError:
        log = "on its standard error"
    return f"process {os.getpid()} on {os.uname().nodename}, log {log}"
