"""CSV and TSV: a header with names, then rows; every value is a text, and an empty cell is nothing.

Numbers in text are labels and ratings, lists in text are lists: no type is guessed from the values.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from encore_ray.corpora.sources import SourceFile, open_text
from encore_ray.errors import DataError

_CELL_CHARS = 1 << 30
_SAID = "it begins with a header: prompt, chosen, rejected, for example"


@dataclass(frozen=True)
class Cells:
    """One row: its values by column, or what is wrong with it; and the text that it was, which may be no UTF-8."""

    values: dict[str, str | None] = field(default_factory=dict)
    problem: str | None = None
    raw: bytes = b""
    is_utf8: bool = True


def delimited_rows(file: SourceFile) -> Iterator[Cells]:
    """The rows of a file behind its header, without blank lines.

    Raises:
        DataError: no header, or a name that stands in it twice.
    """
    csv.field_size_limit(_CELL_CHARS)
    with open_text(file) as handle:
        text = io.TextIOWrapper(handle, "utf-8-sig", "surrogateescape", newline="")  # type: ignore[arg-type]
        reader = csv.reader(text, delimiter="\t" if file.kind == "tsv" else ",", strict=True)
        names = _header(reader, file)
        while names:
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
        text.detach()


def _header(reader: Iterator[list[str]], file: SourceFile) -> list[str]:
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise DataError(f"Cannot read the header of {file.uri}: {error}; {_SAID}.") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file.uri} has two columns of the same name: {', '.join(twice)}.")
    return [_clean(name) or f"column_{number}" for number, name in enumerate(names, start=1)]


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
