"""One look at a corpus before any row is converted: how many rows, what content, which columns of which type.

`ranges` cuts a file into parts that are read by themselves; `scan` looks at one part; `plan` (in plan.py) adds
the parts up. A scan depends only on the file, so the parts can be scanned on any machines in any order.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.corpora.digest import ContentDigest
from encore_ray.corpora.ratings import RULE_NAMES
from encore_ray.corpora.rows import BadRow, FileRange, open_source_table, parse_object, text_items
from encore_ray.corpora.sources import SourceFile, open_bytes, reading
from encore_ray.corpora.values import Shape, ShapeCounts, plain_type, shape_of
from encore_ray.errors import DataError

RANGE_BYTES = 64 << 20
RANGE_ROWS = 1 << 16
MAX_COLUMNS = 4096
_SAMPLE_ROWS = 64
_PIECE_BYTES = 1 << 20
_MAX_RULE_LISTS = 100


@dataclass(frozen=True)
class ColumnScan:
    """What one column of one range holds: shapes of its values (of a Parquet column: of its first rows), Arrow type
    (None in text files)."""

    shapes: ShapeCounts
    type: pa.DataType | None = None


@dataclass(frozen=True)
class RangeScan:
    """What one range holds.

    Attributes:
        num_lines: lines (blank ones too), array elements or table rows.
        num_rows: the same without blank lines.
        columns: by name, in the order of first appearance, over the rows that can be read.
        rule_names: how often each list occurs in the `rule_names` column (of the first 100 different ones).
    """

    part: FileRange
    num_lines: int
    num_rows: int
    digest: ContentDigest
    columns: dict[str, ColumnScan]
    rule_names: Counter[tuple[str, ...]]


def ranges(file: SourceFile, *, range_bytes: int = RANGE_BYTES) -> list[FileRange]:
    """The parts of a file: of plain JSONL `range_bytes` each, of Parquet runs of row groups of about 64Ki rows.

    Compressed text and `.json` files are one part. An empty file is one part without rows.

    Raises:
        DataError: a Parquet file without a whole footer.
    """
    assert range_bytes > 0
    if file.kind == "parquet":
        with reading(file.uri), open_source_table(file) as table:
            rows = [table.metadata.row_group(index).num_rows for index in range(table.num_row_groups)]
        return _row_group_runs(file, rows)
    if file.gzipped or file.kind == "json" or file.size == 0:
        return [FileRange(file, 0, file.size)]
    starts = range(0, file.size, range_bytes)
    return [FileRange(file, start, min(start + range_bytes, file.size)) for start in starts]


def scan(part: FileRange) -> RangeScan:
    """Look at one range.

    Raises:
        DataError: the file cannot be read, or has more than 4,096 different columns.
    """
    return _scan_parquet(part) if part.file.kind == "parquet" else _scan_text(part)


def _row_group_runs(file: SourceFile, rows: list[int]) -> list[FileRange]:
    runs, start, held = [], 0, 0
    for index, num_rows in enumerate(rows):
        if held and held + num_rows > RANGE_ROWS:
            runs.append(FileRange(file, start, index))
            start, held = index, 0
        held += num_rows
    return [*runs, FileRange(file, start, len(rows))]


def _scan_text(part: FileRange) -> RangeScan:
    shapes: dict[str, ShapeCounts] = {}
    rule_names: Counter[tuple[str, ...]] = Counter()
    num_rows = 0

    def observed() -> Iterator[bytes]:
        nonlocal num_rows
        for item in text_items(part):
            yield item
            if item.isspace() or not item:
                continue
            num_rows += 1
            try:
                values = parse_object(item)
            except BadRow:
                continue  # the conversion meets it again and puts it in quarantine
            for name, value in values.items():
                counts = shapes.get(name)
                if counts is None:
                    counts = shapes[name] = Counter()
                counts[shape_of(value)] += 1
            _note_rule_names(values.get(RULE_NAMES), rule_names)
            if len(shapes) > MAX_COLUMNS:
                raise DataError(
                    f"{part.file.uri} has more than {MAX_COLUMNS} different columns. Its objects look like mappings "
                    "from ids to values: give each a fixed set of keys."
                )

    digest = ContentDigest.of(observed())
    columns = {name: ColumnScan(counts) for name, counts in shapes.items()}
    return RangeScan(part, digest.num_items, num_rows, digest, columns, rule_names)


def _scan_parquet(part: FileRange) -> RangeScan:
    rule_names: Counter[tuple[str, ...]] = Counter()
    with reading(part.file.uri), open_source_table(part.file) as table, open_bytes(part.file) as handle:
        metadata, schema = table.metadata, table.schema_arrow
        if len(set(schema.names)) != len(schema.names):
            raise DataError(f"{part.file.uri} has two columns of the same name: {', '.join(schema.names)}.")
        groups = [metadata.row_group(index) for index in range(part.start, part.end)]
        head = str(schema.remove_metadata()).encode()
        digest = ContentDigest.of(_stored_digest(group, handle, head) for group in groups)
        columns = {name: ColumnScan(Counter(), plain_type(schema.field(name).type)) for name in schema.names}
        batches = table.iter_batches(_SAMPLE_ROWS, row_groups=list(range(part.start, part.end)))
        for batch in batches if groups else ():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                columns[name].shapes.update(_shapes(column))
            break
        if RULE_NAMES in schema.names and groups:
            for batch in table.iter_batches(row_groups=list(range(part.start, part.end)), columns=[RULE_NAMES]):
                for value in batch.column(0).to_pylist():
                    _note_rule_names(value, rule_names)
    num_rows = sum(group.num_rows for group in groups)
    return RangeScan(part, num_rows, num_rows, digest, columns, rule_names)


def _shapes(column: pa.Array) -> ShapeCounts:
    try:
        return Counter(map(shape_of, column.to_pylist()))
    except UnicodeDecodeError:
        shapes: ShapeCounts = Counter()
        for value in column:
            with contextlib.suppress(UnicodeDecodeError):  # the conversion meets it again and quarantines its row
                shapes[shape_of(value.as_py())] += 1
        return shapes or Counter([Shape.TEXT])


def _stored_digest(group: pq.RowGroupMetaData, handle: IO[bytes], head: bytes) -> bytes:
    """SHA-256 of a schema and of a row group's bytes as they lie in the file, read in pieces."""
    chunks = [group.column(index) for index in range(group.num_columns)]
    offsets = [
        chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
        for chunk in chunks
    ]
    handle.seek(min(offsets, default=0))
    digest, left = hashlib.sha256(head), sum(chunk.total_compressed_size for chunk in chunks)
    while left:
        piece = handle.read(min(left, _PIECE_BYTES))
        if not piece:
            raise EOFError("the file ends within a row group")
        digest.update(piece)
        left -= len(piece)
    return digest.digest()


def _note_rule_names(value: object, seen: Counter[tuple[str, ...]]) -> None:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        names = tuple(value)
        if names in seen or len(seen) < _MAX_RULE_LISTS:
            seen[names] += 1
