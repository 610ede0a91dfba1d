"""Fences: what a process asks before it changes a folder that another one may have taken over while it stood still.

Only what replaces or deletes asks. A file that is created under a name which nobody has is in nobody's way.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class _Fence:
    folder: str
    ask: Callable[[], None]
    open_to_all: Collection[str]

    def surrounds(self, path: str) -> bool:
        inside = path.removeprefix(f"{self.folder}/")
        return inside != path and inside.partition("/")[0] not in self.open_to_all


_fences: list[_Fence] = []


@contextlib.contextmanager
def fenced(folder: str, ask: Callable[[], None], *, open_to_all: Collection[str] = ()) -> Iterator[None]:
    """Have this process ask before each change of a folder, for the duration of the block.

    Args:
        folder: by path or URL.
        ask: raises where the folder is another's now; called by whatever thread changes something, just before it does.
        open_to_all: names in the folder in which each writer has files of its own.
    """
    fence = _Fence(folder.rstrip("/"), ask, open_to_all)
    _fences.append(fence)
    try:
        yield
    finally:
        _fences.remove(fence)


def ask_leave(path: str) -> None:
    """Ask before a file, or a folder with all that is in it, is replaced or deleted; raises what the fence raises."""
    for fence in tuple(_fences):
        if fence.surrounds(path):
            fence.ask()
