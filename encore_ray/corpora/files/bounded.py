"""Lines of a text and elements of a JSON array, of which no more than a limit is ever in memory."""

import codecs
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from encore_ray.errors import DataError

ROW_BYTES = 16 << 20
HEAD_BYTES = 1 << 20  # of a line that is too long, kept for people

_PIECE = 1 << 20
_NEAR = 32  # characters: more than a number, a word or an escape that was cut may lack
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that is longer than the limit: its beginning, and what is known of all of it.

    Attributes:
        size: in bytes. sha256: of all of them.
    """

    head: bytes
    size: int
    sha256: bytes


def read_line(reader: io.BufferedReader, limit: int) -> bytes | TooLong:
    """The next line with its line feed; empty at the end. One of more than `limit` bytes is read, and not kept."""
    line = reader.readline(limit + 1)
    if len(line) <= limit or (len(line) == limit + 1 and line.endswith(b"\n")):
        return line
    digest, size = hashlib.sha256(line), len(line)
    while True:
        piece = reader.readline(_PIECE)
        ends = not piece or piece.endswith(b"\n")
        digest.update(piece.removesuffix(b"\n"))
        size += len(piece.removesuffix(b"\n"))
        if ends:
            return TooLong(line[:HEAD_BYTES], size, digest.digest())


def too_large(what: str, limit: int) -> str:
    """What is said of a row that is longer than the limit, and of which option sets it."""
    return f"{what}: expected at most {limit} bytes (prepare.max_row_bytes)"


def array_elements(handle: IO[bytes], uri: str, limit: int) -> Iterator[bytes]:
    """The elements of a JSON array, one at a time.

    Args:
        handle: at the array, behind any byte order mark.
        limit: most bytes of an element.

    Raises:
        DataError: what is no array, and an element that is too long: where it ends is not looked for.
    """
    text = _Window(handle)
    try:
        text.skip()
        while text.peek() != "]":
            item = _element(text, limit)
            if item is None or len(item) > limit:
                said = too_large(f"the element at character {text.place + 1}", limit)
                raise DataError(f"{uri}: {said}. Raise it, or write one object a line: then only that row is left out.")
            yield item
            if text.peek() == ",":
                text.skip()
            elif text.peek() != "]":
                raise json.JSONDecodeError("Expecting ',' or ']'", text.held, text.start)
        text.skip()
        if text.peek():
            raise json.JSONDecodeError("Extra data", text.held, text.start)
    except (ValueError, RecursionError) as error:
        said = str(error)
        if isinstance(error, json.JSONDecodeError):
            said = f"{error.msg} (character {text.place - text.start + error.pos + 1})"
        raise DataError(f"Cannot read {uri} as a JSON array: {said}. Mend it, or write one object a line.") from None


def _element(text: "_Window", limit: int) -> bytes | None:
    """The next element; None where it is longer than the limit.

    A window that ends within it looks broken there, or ends a number too early: then more is read.
    """
    while True:
        left = len(text.held) - text.start
        try:
            end = _DECODER.raw_decode(text.held, text.start)[1]
            if text.is_whole or len(text.held) - end > _NEAR:
                return text.take(end)
        except json.JSONDecodeError as error:
            is_cut = error.msg.startswith("Unterminated string") or error.pos > len(text.held) - _NEAR
            if text.is_whole or not is_cut:
                raise
        if left > limit + _NEAR:
            return None
        text.grow()


class _Window:
    """The part of a text that is looked at; grows at its end, and is cut at its start.

    Attributes:
        held: decoded so far. start: where in it what was not taken begins. is_whole: nothing follows it.
    """

    def __init__(self, handle: IO[bytes]):
        self._handle = handle
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._passed = 0
        self.held, self.start, self.is_whole = "", 0, False

    @property
    def place(self) -> int:
        """Characters before `start`, since the array began."""
        return self._passed + self.start

    def grow(self) -> None:
        """Read about as much again as is left."""
        left = self.held[self.start :]
        data = self._handle.read(max(len(left), _PIECE))
        self._passed, self.start = self._passed + self.start, 0
        self.held, self.is_whole = left + self._decode(data, not data), not data

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            found = _SPACE.match(self.held, self.start)
            assert found
            self.start = found.end()
            if self.start < len(self.held) or self.is_whole:
                return self.held[self.start : self.start + 1]
            self.grow()

    def skip(self) -> None:
        """Go behind that character, and to the next one."""
        self.peek()
        self.start += 1
        self.peek()

    def take(self, end: int) -> bytes:
        item, self.start = self.held[self.start : end], end
        return item.encode("utf-8", "surrogateescape")
