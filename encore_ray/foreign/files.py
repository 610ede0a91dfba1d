"""Files of a table as record batches of at most so many rows, whatever kind they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pyarrow import csv

from encore_ray.corpora.files.sources import InputSpec, SourceFile, list_files, open_text, reading
from encore_ray.corpora.kinds.delimited import Header, read_header
from encore_ray.corpora.kinds.tables import TABLE_KINDS, open_table
from encore_ray.corpora.rows import FileRange, read_rows
from encore_ray.corpora.values import json_text
from encore_ray.errors import ConfigError, DataError
from encore_ray.foreign.values import Texts, decimal_mark
from encore_ray.schema import COMPARISON_FILE, METRICS_FILE, REWARDS_DIR, SCORES_DIR, WEIGHTS_FILE
from encore_ray.shell import near
from encore_ray.storage import Folder
from encore_ray.visible import short

PART_ROWS = 65_536
_BLOCK_BYTES = 8 << 20  # of CSV that are parsed at a time; no row may be longer
_RESULTS = (WEIGHTS_FILE, METRICS_FILE, COMPARISON_FILE)  # files of ours in a folder that are no tables
_NOT_UTF8 = "it is not in UTF-8. Save it so, or convert it: `iconv -f LATIN1 -t UTF-8`."
_KINDS_IN_ORDER = ("parquet", "arrow", "lance", "csv", "tsv", "jsonl", "json")


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Attributes:
        header: of CSV and TSV.
        texts: how it writes numbers, where all that it holds is text.
    """

    source: SourceFile
    header: Header | None = None
    texts: Texts | None = None

    @property
    def uri(self) -> str:
        return self.source.uri

    def parts(self) -> Iterator[pa.Table]:
        """Its rows, `PART_ROWS` at a time.

        Raises:
            DataError: it cannot be read.
        """
        with reading(self.uri):
            yield from _of_size(self._batches(), PART_ROWS)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self.source.kind in TABLE_KINDS:
            with open_table(self.source) as table:
                yield from table.batches(0, len(table.rows()), rows=PART_ROWS)
        elif self.header is not None:
            yield from _delimited(self.source, self.header)
        else:
            yield from _objects(self.source)


def table_files(uri: str) -> list[TableFile]:
    """The files of a table: one, or those of one kind in a folder.

    Raises:
        ConfigError: none is there, or they are of several kinds. DataError: a header cannot be read.
    """
    here = _inner(uri)
    places = {_inner(file.uri): file for file in list_files([InputSpec(uri)])}
    own = (here, f"{here}/data")  # as our Parquet lies; not those of folders below, as of a whole run
    files = [
        file
        for place, file in places.items()
        if place == here or (place.rpartition("/")[0] in own and place.rpartition("/")[2] not in _RESULTS)
    ]
    if not files:
        inside = next((name for name in (SCORES_DIR, REWARDS_DIR) if Folder(uri).exists(name)), None)
        place = "RUN/scores" if inside is None else near(Folder(uri).path(inside))
        raise ConfigError(f"{uri}: no table lies in this folder. Name the one in it that holds a table, as {place}.")
    kinds = [kind for kind in _KINDS_IN_ORDER if any(file.kind == kind for file in files)]
    kinds = [kind for kind in kinds if kind != "json"] or kinds  # what describes data is JSON, too
    if len(kinds) > 1:
        raise ConfigError(
            f"{uri} has files of several kinds: {', '.join(kinds)}. Name a file, or a folder of one kind."
        )
    return [_opened(file) for file in files if file.kind == kinds[0]]


def _inner(uri: str) -> str:
    """A path without its scheme and the slashes around it, of which stores write one more or less."""
    return uri.rpartition("://")[2].strip("/")


def _opened(file: SourceFile) -> TableFile:
    if file.kind not in ("csv", "tsv"):
        return TableFile(file)
    with reading(file.uri):
        header = read_header(file, any_mark=True)
    if any("\udc80" <= character <= "\udcff" for name in header.stored for character in name):
        raise DataError(f"Cannot read {file.uri}: {_NOT_UTF8}")
    found = TableFile(file, header, Texts())
    if header.mark == ",":
        return found
    head = next(found.parts(), None)  # numbers have a comma where columns have another mark
    marks = {decimal_mark(column) for column in head.columns} if head is not None else set()
    return replace(found, texts=Texts("," if "," in marks and "." not in marks else "."))


def _delimited(file: SourceFile, header: Header) -> Iterator[pa.RecordBatch]:
    if not header.names:
        return
    names = list(header.names)
    read = csv.ReadOptions(block_size=_BLOCK_BYTES)
    parse = csv.ParseOptions(delimiter=header.mark, newlines_in_values=True)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(header.stored, pa.string()))
    with open_text(file) as handle:
        try:
            with csv.open_csv(handle, read, parse, convert) as reader:
                for batch in reader:
                    yield pa.RecordBatch.from_arrays(batch.columns, names=names)
        except pa.ArrowInvalid as error:
            raise DataError(f"Cannot read {file.uri}: {_said(error)}") from None


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "UTF8" in text or "UTF-8" in text:
        return _NOT_UTF8
    if "straddl" in text:
        return f"a row is longer than {_BLOCK_BYTES:,} bytes, or a quote is never closed."
    return f"{short(text, 300)}. Every row has as many cells as the header has names."


def _objects(file: SourceFile) -> Iterator[pa.RecordBatch]:
    """Rows of JSON objects."""
    rows: list[dict[str, Any]] = []
    for row in read_rows(FileRange(file, 0, file.size), first_line=1, columns=()):
        if row.problem is not None:
            raise DataError(f"{file.uri}, line {row.line}: {row.problem.detail}.")
        rows.append(row.values)
        if len(rows) == PART_ROWS:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _batch(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.RecordBatch.from_arrays([_array([row.get(name) for row in rows]) for name in names], names=names)


def _array(values: Sequence[Any]) -> pa.Array:
    """Values of a key as a column; as JSON text where no type of Arrow has all of them."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else json_text(value) for value in values], pa.string())


def _of_size(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Tables of just so many rows each, but for the last one."""
    held: list[pa.RecordBatch] = []
    num_held = 0
    for batch in batches:
        start = 0
        while num_held + batch.num_rows - start >= rows:
            end = start + rows - num_held
            yield pa.Table.from_batches([*held, batch.slice(start, end - start)])
            held, num_held, start = [], 0, end
        if start < batch.num_rows:
            held.append(batch.slice(start))
            num_held += batch.num_rows - start
    if held:
        yield pa.Table.from_batches(held)
