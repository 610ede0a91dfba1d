"""The help of a command as wide as the terminal: tyro folds its boxes, and leaves what stands above them as it is."""

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@contextlib.contextmanager
def fold_help() -> Iterator[None]:
    """While it lasts, what is printed is held back, and printed at its end in lines that are no wider."""
    held = _Held(sys.stdout)
    try:
        with contextlib.redirect_stdout(held):
            yield
    finally:
        sys.stdout.write(folded(held.getvalue(), width=shutil.get_terminal_size().columns))


def folded(text: str, *, width: int) -> str:
    """The text with each line that is too wide broken between words; a usage goes on below its first flag."""
    lines: list[str] = []
    for line in text.split("\n"):
        if len(_STYLE.sub("", line)) <= width:
            lines.append(line)
            continue
        usage = re.match(r"usage: [\w-]+ [\w-]+ ", _STYLE.sub("", line))
        indent = " " * len(usage[0]) if usage else ""
        parts = re.findall(r"\[[^][]*\]|\S+", line) if usage else line.split(" ")
        pieces = (piece for part in parts for piece in _pieces(part, width - len(indent)))
        lines += _broken(pieces, width=width, indent=indent)
    return "\n".join(lines)


def _pieces(part: str, most: int) -> list[str]:
    """A part as it is, each with what stands before it; a list of choices that is too wide broken behind its commas."""
    if len(_STYLE.sub("", part)) <= most:
        return [f" {part}"]
    choices = part.split(",")
    return [f" {choices[0]},", *(f"{choice}," for choice in choices[1:-1]), *choices[1:][-1:]]


def _broken(pieces: Iterable[str], *, width: int, indent: str) -> list[str]:
    """Pieces on lines, each whole."""
    lines: list[str] = []
    for piece in pieces:
        if lines and len(_STYLE.sub("", lines[-1] + piece)) <= width:
            lines[-1] += piece
        else:
            lines.append(f"{indent if lines else ''}{piece.removeprefix(' ')}")
    return lines


class _Held(io.StringIO):
    """Text that goes to a stream later, and is drawn and styled as it would be there."""

    def __init__(self, stream: TextIO):
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()
