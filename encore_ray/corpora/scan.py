"""One look at a corpus before any row is converted: how many rows, what content, which columns of which type.

`ranges` cuts a file into parts that are read by themselves; `scan` looks at one part; `plan` (in plan.py) adds
the parts up. A scan depends only on the file, so the parts can be scanned on any machines in any order.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.corpora.columnar.column_shapes import column_shapes
from encore_ray.corpora.columnar.row_sizes import pieces
from encore_ray.corpora.files.bounded import ROW_BYTES, TooLong
from encore_ray.corpora.files.digest import ContentDigest
from encore_ray.corpora.files.sources import SourceFile, reading
from encore_ray.corpora.kinds.tables import TABLE_KINDS, open_table
from encore_ray.corpora.pairing.ratings import RULE_NAMES
from encore_ray.corpora.rows import BadRow, FileRange, parse_object, read_rows, text_items
from encore_ray.corpora.values import ShapeCounts, plain_type, shape_of
from encore_ray.errors import DataError

RANGE_BYTES = 64 << 20
RANGE_ROWS = 1 << 16
MAX_COLUMNS = 4096
_BATCH_ROWS = 4096
_MAX_RULE_LISTS = 100


@dataclass(frozen=True)
class ColumnScan:
    """What one column of one range holds: shapes of its values, and their Arrow type (None in text files)."""

    shapes: ShapeCounts
    type: pa.DataType | None = None


@dataclass(frozen=True)
class RangeScan:
    """What one range holds.

    Attributes:
        num_lines: lines (blank ones too), array elements or table rows.
        num_rows: the same without blank lines.
        columns: by name, in the order of first appearance, over the rows that can be read.
        num_too_long: of these rows, those over the limit.
        rule_names: how often each list occurs in the `rule_names` column (of the first 100 different ones).
    """

    part: FileRange
    num_lines: int
    num_rows: int
    digest: ContentDigest
    columns: dict[str, ColumnScan]
    rule_names: Counter[tuple[str, ...]]
    num_too_long: int = 0


def ranges(file: SourceFile, *, range_bytes: int = RANGE_BYTES) -> list[FileRange]:
    """The parts of a file: of plain JSONL `range_bytes` each, of Parquet runs of row groups of about 64Ki rows.

    Every other file is one part. An empty file is one part without rows.

    Raises:
        DataError: a table that cannot be opened, as a Parquet file without a whole footer.
    """
    assert range_bytes > 0
    if file.kind in TABLE_KINDS:
        with reading(file.uri), open_table(file) as table:
            rows = table.rows()
        return _row_group_runs(file, rows)
    if file.gzipped or file.kind != "jsonl" or file.size == 0:
        return [FileRange(file, 0, file.size)]
    starts = range(0, file.size, range_bytes)
    return [FileRange(file, start, min(start + range_bytes, file.size)) for start in starts]


def whole_because(file: SourceFile) -> str | None:
    """Why a file that is large enough to be cut is one part all the same; None of any other."""
    if file.size <= RANGE_BYTES or file.kind in TABLE_KINDS:
        return None
    if file.gzipped:
        return "gzip is read from its beginning on, and cannot be split"
    return None if file.kind == "jsonl" else f"a file of the kind {file.kind} is read from its beginning on"


def scan(part: FileRange, *, row_bytes: int = ROW_BYTES, most_rows: int | None = None) -> RangeScan:
    """Look at one range.

    Args:
        row_bytes: a longer row is counted, and not held as a whole.
        most_rows: look at no more than about so many of its first rows, blank lines among them, as if there were no
            others; None looks at all.

    Raises:
        DataError: the file cannot be read, or has more than 4,096 different columns.
    """
    if part.file.kind in TABLE_KINDS:
        return _scan_table(part, row_bytes, most_rows)
    scan_kind = _scan_delimited if part.file.kind in ("csv", "tsv") else _scan_text
    return scan_kind(part, row_bytes, most_rows)


def _row_group_runs(file: SourceFile, rows: list[int]) -> list[FileRange]:
    runs, start, held = [], 0, 0
    for index, num_rows in enumerate(rows):
        if held and held + num_rows > RANGE_ROWS:
            runs.append(FileRange(file, start, index))
            start, held = index, 0
        held += num_rows
    return [*runs, FileRange(file, start, len(rows))]


def _scan_text(part: FileRange, row_bytes: int, most_rows: int | None) -> RangeScan:
    shapes: dict[str, ShapeCounts] = {}
    rule_names: Counter[tuple[str, ...]] = Counter()
    num_rows = num_too_long = 0

    def observed() -> Iterator[bytes | TooLong]:
        nonlocal num_rows, num_too_long
        for item in itertools.islice(text_items(part, row_bytes=row_bytes), most_rows):
            yield item
            if isinstance(item, TooLong):
                num_rows, num_too_long = num_rows + 1, num_too_long + 1
                continue
            if item.isspace() or not item:
                continue
            num_rows += 1
            try:
                values = parse_object(item)
            except BadRow:
                continue  # the conversion meets it again and puts it in quarantine
            for name, value in values.items():
                if name not in shapes:
                    shapes[name] = Counter()
                shapes[name][shape_of(value)] += 1
            if RULE_NAMES in values:
                _note_rule_names(values[RULE_NAMES], rule_names)
            if len(shapes) > MAX_COLUMNS:
                raise DataError(
                    f"{part.file.uri} has more than {MAX_COLUMNS} different columns. Its objects look like mappings "
                    "from ids to values: give each a fixed set of keys."
                )

    digest = ContentDigest.of(observed())
    columns = {name: ColumnScan(counts) for name, counts in shapes.items()}
    return RangeScan(part, digest.num_items, num_rows, digest, columns, rule_names, num_too_long)


def _scan_delimited(part: FileRange, row_bytes: int, most_rows: int | None) -> RangeScan:
    """CSV and TSV have their digest line by line, as any text: a copy with other line ends is another content."""
    shapes: dict[str, ShapeCounts] = {}
    num_rows = 0
    digest = ContentDigest.of(itertools.islice(text_items(part, row_bytes=row_bytes), most_rows))
    rows = read_rows(part, first_line=1, columns=(), row_bytes=row_bytes)
    for row in itertools.islice(rows, most_rows):
        num_rows += 1
        for name, value in row.values.items():
            shapes.setdefault(name, Counter())[shape_of(value)] += 1
    columns = {name: ColumnScan(counts) for name, counts in shapes.items()}
    return RangeScan(part, num_rows, num_rows, digest, columns, Counter())


def _scan_table(part: FileRange, row_bytes: int, most_rows: int | None) -> RangeScan:
    rule_names: Counter[tuple[str, ...]] = Counter()
    num_too_long = 0
    with reading(part.file.uri), open_table(part.file) as table:
        schema = table.schema
        if len(set(schema.names)) != len(schema.names):
            raise DataError(f"{part.file.uri} has two columns of the same name: {', '.join(schema.names)}.")
        num_rows = sum(table.rows()[part.start : part.end])
        is_whole = most_rows is None or num_rows <= most_rows
        has_digest = is_whole and (num_rows or part.end > part.start)
        digest = table.digest(part.start, part.end) if has_digest else ContentDigest()
        columns = {name: ColumnScan(Counter(), plain_type(schema.field(name).type)) for name in schema.names}
        batches = table.batches(part.start, part.end, rows=min(_BATCH_ROWS, most_rows or _BATCH_ROWS))
        for piece in pieces(_first(batches, most_rows), row_bytes):
            batch = piece.batch
            num_too_long += len(piece.too_long) - batch.num_rows
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                columns[name].shapes.update(column_shapes(column))
            if RULE_NAMES in schema.names:
                for value in batch.column(RULE_NAMES).to_pylist():
                    _note_rule_names(value, rule_names)
    return RangeScan(part, num_rows, num_rows, digest, columns, rule_names, num_too_long)


def _first(batches: Iterator[pa.RecordBatch], most_rows: int | None) -> Iterator[pa.RecordBatch]:
    """Batches until so many rows are there; None: all."""
    num_rows = 0
    for batch in batches:
        yield batch
        num_rows += batch.num_rows
        if most_rows is not None and num_rows >= most_rows:
            return


def _note_rule_names(value: object, seen: Counter[tuple[str, ...]]) -> None:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        names = tuple(value)
        if names in seen or len(seen) < _MAX_RULE_LISTS:
            seen[names] += 1
