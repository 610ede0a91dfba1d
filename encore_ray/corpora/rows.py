"""The rows of a file, one at a time, each with its place; a row that cannot be read is handed on as a problem.

A row is a line of a text file that is not blank, an element of a JSON array, or a row of a table. Its place is the
1-based number of that line (blank lines are numbered, and are no rows), element or row.
"""

import functools
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.corpora.columnar.batches import TableBatch
from encore_ray.corpora.columnar.row_sizes import Piece, pieces
from encore_ray.corpora.files.bounded import ROW_BYTES, TooLong, array_elements, read_line, too_large
from encore_ray.corpora.files.sources import SourceFile, open_text, reading
from encore_ray.corpora.kinds.delimited import delimited_rows
from encore_ray.corpora.kinds.tables import TABLE_KINDS, open_table
from encore_ray.corpora.values import json_text
from encore_ray.errors import DataError
from encore_ray.schema import Reason

MAX_DEPTH = 100
_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = 1024
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_JSON_SPACE = " \t\r\n"
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class BadRow(Exception):
    """A row that goes to quarantine, with the reason and a sentence for people."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class FileRange:
    """A part of a file that is read by itself.

    Attributes:
        start, end: of a plain JSONL file, byte offsets: the lines that start in [start, end). Of a Parquet file,
            row groups. Of any other file 0 and its size: it is read as a whole.
    """

    file: SourceFile
    start: int
    end: int


@dataclass(slots=True)
class SourceRow:
    """One row: its columns, or the problem that kept them from being read.

    Attributes:
        line: 1-based line, array element or table row.
        values: columns by name; of a table's row only those asked for.
        raw: the bytes of a text row.
        table, index: where the row of a table lies.
    """

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: BadRow | None = None
    raw: bytes = b""
    table: TableBatch | None = None
    index: int = 0

    def text(self) -> str:
        """The row as text that keeps what cannot be read, as backslash escapes."""
        if self.table is None:
            return self.raw.decode("utf-8", "backslashreplace")
        return self.table.text(self.index)


def text_items(part: FileRange, *, row_bytes: int = ROW_BYTES) -> Iterator[bytes | TooLong]:
    """The lines of a text range without their line feeds, or the elements of a JSON array, as bytes.

    Raises:
        DataError: the file cannot be read, or is an array with an element of more than `row_bytes`.
    """
    file = part.file
    with reading(file.uri), open_text(file) as handle:
        reader = io.BufferedReader(handle, _BUFFER_BYTES)  # type: ignore[arg-type]  # fsspec files are raw enough
        start = reader.peek(64)[:64]
        if start.startswith(_GZIP) and part.start == 0:
            raise DataError(f"{file.uri} is compressed by gzip, and its name does not end in .gz. Rename it.")
        if file.kind == "json" and start.removeprefix(_BOM).lstrip()[:1] == b"[":
            reader.read(len(_BOM) if start.startswith(_BOM) else 0)
            yield from array_elements(reader, file.uri, row_bytes)
            return
        offset = part.start
        if offset:
            reader.seek(offset - 1)
            # The line that this completes belongs to the range before; not read on where it fills all of this one.
            offset += _pass_line(reader, part.end - offset + 1) - 1
        splittable = file.kind == "jsonl" and not file.gzipped
        while not splittable or offset < part.end:
            line = read_line(reader, row_bytes)
            if not line:
                return
            if isinstance(line, TooLong):
                yield line
                offset += line.size + 1
                continue
            if offset == 0:
                yield line.removeprefix(_BOM).removesuffix(b"\n")
            else:
                yield line.removesuffix(b"\n")
            offset += len(line)


def _pass_line(reader: io.BufferedReader, most: int) -> int:
    """Read to the end of a line, yet at most so many bytes, and keep none; how many there were."""
    passed = 0
    while passed < most:
        piece = reader.readline(min(most - passed, _BUFFER_BYTES))
        passed += len(piece)
        if not piece or piece.endswith(b"\n"):
            break
    return passed


def read_rows(
    part: FileRange, *, first_line: int, columns: Collection[str], row_bytes: int = ROW_BYTES
) -> Iterator[SourceRow]:
    """The rows of a range in order.

    Args:
        first_line: number of the range's first line, element or row.
        columns: the ones that a table's row decodes; text rows have them all.
        row_bytes: a row of more is a problem, and is not held as a whole.

    Raises:
        DataError: the file cannot be read.
    """
    if part.file.kind in TABLE_KINDS:
        yield from _table_rows(part, first_line, columns, row_bytes)
        return
    if part.file.kind in ("csv", "tsv"):
        yield from _delimited_rows(part.file, first_line, row_bytes)
        return
    for line, item in enumerate(text_items(part, row_bytes=row_bytes), start=first_line):
        if isinstance(item, TooLong):
            said = too_large(f"the row has {item.size} bytes", row_bytes)
            yield SourceRow(line, problem=BadRow(Reason.ROW_TOO_LARGE, said), raw=item.head)
            continue
        if item.isspace() or not item:
            continue
        try:
            yield SourceRow(line, parse_object(item), raw=item)
        except BadRow as problem:
            yield SourceRow(line, problem=problem, raw=item)


def parse_object(item: bytes) -> dict[str, Any]:
    """One JSON object from UTF-8 bytes; BadRow says why not.

    NaN and Infinity, which Python writes although JSON has no such numbers, are read as Python does.
    """
    try:
        text = item.decode()
        value, end = _decoder().raw_decode(text) if text.startswith("{") else (None, 0)
        if text[end:].strip(_JSON_SPACE):
            value = _decoder().decode(text)  # which knows space before it, and says what is wrong with all else
    except UnicodeDecodeError as error:
        raise BadRow(Reason.INVALID_UTF8, f"byte {error.start + 1} of the row is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise BadRow(Reason.MALFORMED_JSON, f"nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise BadRow(Reason.MALFORMED_JSON, f"{error.msg} at character {error.pos + 1}") from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise BadRow(Reason.MALFORMED_JSON, str(error)) from None
    if not isinstance(value, dict):
        raise BadRow(Reason.NOT_AN_OBJECT, f"expected an object, found {type(value).__name__}")
    nested = [one for one in value.values() if isinstance(one, (dict, list))]
    if nested and item.count(b"{") + item.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise BadRow(Reason.MALFORMED_JSON, f"nested deeper than {MAX_DEPTH}")
    if _SURROGATE_ESCAPE.search(item):
        try:
            json_text(value).encode()
        except UnicodeEncodeError:
            raise BadRow(Reason.INVALID_UTF8, "half of a surrogate pair, which no UTF-8 text can hold") from None
    return value


@functools.cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise BadRow(Reason.MALFORMED_JSON, f"the key {repeated!r} appears twice in one object")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
    return depth - 1


def _delimited_rows(file: SourceFile, first_line: int, row_bytes: int) -> Iterator[SourceRow]:
    with reading(file.uri):
        for line, cells in enumerate(delimited_rows(file, row_bytes=row_bytes), start=first_line):
            reason = Reason.MALFORMED_CSV if cells.is_utf8 else Reason.INVALID_UTF8
            problem = BadRow(reason, cells.problem) if cells.problem else None
            yield SourceRow(line, cells.values, problem, cells.raw)


def _table_rows(part: FileRange, first_line: int, columns: Collection[str], row_bytes: int) -> Iterator[SourceRow]:
    for rows in table_rows(part, first_line=first_line, columns=columns, row_bytes=row_bytes):
        yield from rows.read(range(len(rows)))


def table_rows(
    part: FileRange, *, first_line: int, columns: Collection[str], row_bytes: int = ROW_BYTES
) -> Iterator["TableRows"]:
    """The rows of a range of a table in order, some at a time; see `read_rows`."""
    with reading(part.file.uri), open_table(part.file) as table:
        for piece in pieces(table.batches(part.start, part.end, rows=_BATCH_ROWS), row_bytes):
            rows = TableRows(piece, first_line, columns, row_bytes)
            yield rows
            first_line += len(rows)


class TableRows:
    """Some rows of a table that follow each other, of which each is read out when it is asked for.

    Attributes:
        table: those of them that are not too long.
        first_line: of the first one, 1-based.
        place_N: int64, where in `table` each row lies; -1 for one that is too long.
    """

    def __init__(self, piece: Piece, first_line: int, columns: Collection[str], row_bytes: int):
        self._piece, self._columns, self._row_bytes = piece, columns, row_bytes
        self.table = TableBatch.of(piece.batch)
        self.first_line = first_line
        short_N = np.array(piece.too_long) == 0
        self.place_N = np.where(short_N, np.cumsum(short_N) - 1, -1)

    def __len__(self) -> int:
        return len(self.place_N)

    def read(self, numbers: Sequence[int]) -> Iterator[SourceRow]:
        """Some of the rows, by their numbers from 0 on."""
        places = self.place_N[np.asarray(numbers, dtype=np.int64)].tolist()
        batch = self.table.batch
        wanted = batch.select([name for name in batch.schema.names if name in self._columns])
        values = iter(self._values(wanted, [place for place in places if place >= 0]))
        for number, place in zip(numbers, places, strict=True):
            line = self.first_line + number
            if place < 0:
                said = too_large(f"the row has {self._piece.too_long[number]} bytes", self._row_bytes)
                yield SourceRow(line, problem=BadRow(Reason.ROW_TOO_LARGE, said), raw=self._piece.head(number))
                continue
            found = next(values)
            problem = BadRow(Reason.INVALID_UTF8, found) if isinstance(found, str) else None
            yield SourceRow(line, {} if isinstance(found, str) else found, problem, table=self.table, index=place)

    def _values(self, wanted: pa.RecordBatch, places: list[int]) -> Iterable[dict[str, Any] | str]:
        """The columns of each row that are asked for, or what is wrong with it."""
        if not self.table.is_valid:
            return (self._checked(wanted, place) for place in places)
        whole = len(places) == wanted.num_rows
        try:
            return (wanted if whole else wanted.take(pa.array(places, pa.int64()))).to_pylist()
        except UnicodeDecodeError:
            return (self._checked(wanted, place) for place in places)

    def _checked(self, wanted: pa.RecordBatch, place: int) -> dict[str, Any] | str:
        try:
            # A copy of one row, since a slice still validates its neighbours' bytes.
            self.table.batch.take(pa.array([place])).validate(full=True)
            return wanted.slice(place, 1).to_pylist()[0]
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            return " ".join(str(error).split())[:200]
