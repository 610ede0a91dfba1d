"""CSV and TSV: a header with names, then rows; every value is a text, and an empty cell is nothing.

Numbers in text are labels and ratings, lists in text are lists: no type is guessed from the values.
"""

import contextlib
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from encore_ray.corpora.files.bounded import ROW_BYTES, too_large
from encore_ray.corpora.files.sources import SourceFile, open_text
from encore_ray.errors import DataError

_FIELD_CHARS = 1 << 30  # the parser's own limit, never met: lines are counted before it sees them
_OTHER_MARKS = (";", "\t", "|", ",")
_SAID = "it begins with a header: prompt, chosen, rejected, for example"


@dataclass(frozen=True)
class Cells:
    """One row: its values by column, or what is wrong with it; and the text that it was, which may be no UTF-8."""

    values: dict[str, str | None] = field(default_factory=dict)
    problem: str | None = None
    raw: bytes = b""
    is_utf8: bool = True


class _Lines:
    """The lines of one row after another, which must not have more than `limit` characters together.

    Where a row ends that is too long cannot be told: a quote that is never closed takes in all that follows.
    """

    def __init__(self, text: io.TextIOWrapper, uri: str, limit: int):
        self._text, self._uri, self._limit = text, uri, limit
        self._num_rows, self._left = 0, limit

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._left + 1)
        if not line:
            raise StopIteration
        self._left -= len(line)
        if self._left < 0:
            raise DataError(
                f"{self._uri}: {too_large(f'row {self._num_rows} (0: the header)', self._limit)}. Raise it, or "
                "look for a quote that is never closed."
            )
        return line

    def end_row(self) -> None:
        self._num_rows, self._left = self._num_rows + 1, self._limit


def delimited_rows(file: SourceFile, *, row_bytes: int = ROW_BYTES) -> Iterator[Cells]:
    """The rows of a file behind its header, without blank lines.

    Raises:
        DataError: no header, or a name that stands in it twice; a row of more than `row_bytes` characters.
    """
    with _reading(file, row_bytes, _mark(file)) as (lines, reader):
        names = _names(_header(reader, file))
        while names:
            lines.end_row()
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                yield Cells(problem=f"line {reader.line_num}: {error}")
                continue
            if not cells or cells == [""]:
                continue
            yield _cells(names, cells)


@dataclass(frozen=True)
class Header:
    """The first row of a file.

    Attributes:
        stored: names as they stand there. names: without what nobody sees, and one for each column that has none.
        mark: between cells.
    """

    stored: tuple[str, ...]
    names: tuple[str, ...]
    mark: str


def read_header(file: SourceFile, *, any_mark: bool = False) -> Header:
    """The header of a file; errors as of `delimited_rows`.

    Args:
        any_mark: take it with the mark that its header has, whatever the file is called.
    """
    mark = _mark(file)
    if any_mark:
        with _reading(file, ROW_BYTES, mark) as (lines, _):
            first = next(lines, "")
        mark = max((mark, *_OTHER_MARKS), key=first.count)
    with _reading(file, ROW_BYTES, mark) as (_, reader):
        stored = _header(reader, file)
    return Header(tuple(stored), tuple(_names(stored)), mark)


def _mark(file: SourceFile) -> str:
    return "\t" if file.kind == "tsv" else ","


@contextlib.contextmanager
def _reading(file: SourceFile, row_bytes: int, mark: str) -> Iterator[tuple[_Lines, Any]]:
    csv.field_size_limit(_FIELD_CHARS)
    with open_text(file) as handle:
        text = io.TextIOWrapper(handle, "utf-8-sig", "surrogateescape", newline="")  # type: ignore[arg-type]
        lines = _Lines(text, file.uri, row_bytes)
        yield lines, csv.reader(lines, delimiter=mark, strict=True)
        text.detach()


def _header(reader: Iterator[list[str]], file: SourceFile) -> list[str]:
    """The names in a header, as they stand there."""
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise DataError(f"Cannot read the header of {file.uri}: {error}; {_SAID}.") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file.uri} has two columns of the same name: {', '.join(twice)}.")
    if any("\0" in name for name in names):
        raise DataError(
            f"{file.uri} is not in UTF-8, but most likely in UTF-16: `iconv -f UTF-16 -t UTF-8` makes it so."
        )
    other = next((mark for mark in _OTHER_MARKS if len(names) == 1 and names[0].count(mark)), None)
    if other:
        raise DataError(
            f"{file.uri} has one column alone, {_clean(names[0])!r}: its cells seem to be separated by {other!r}. Save "
            "it with commas between them, or with tabs as .tsv."
        )
    return names


def _names(stored: list[str]) -> list[str]:
    return [_clean(name) or f"column_{number}" for number, name in enumerate(stored, start=1)]


def _cells(names: list[str], cells: list[str]) -> Cells:
    raw = ",".join(cells).encode("utf-8", "surrogateescape")
    if len(cells) != len(names):
        return Cells(problem=f"expected {len(names)} cells, found {len(cells)}", raw=raw)
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return Cells(problem=f"byte {error.start + 1} of the row is not UTF-8: {error.reason}", raw=raw, is_utf8=False)
    return Cells({name: cell or None for name, cell in zip(names, cells, strict=True)}, raw=raw)


def _clean(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
