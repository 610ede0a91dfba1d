"""What a whole corpus is made of: the layout of each file, the one table that all its pairs fit, and its splits.

`plan` adds up the scans of all ranges. Everything a worker needs to convert one range is in a `Split` and the
`TableSpec`, both small and picklable.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from encore_ray.corpora.files.columns import ColumnMap, top_of
from encore_ray.corpora.files.digest import ContentDigest
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.formats import AUTO, choose_layout
from encore_ray.corpora.layouts.layout import Layout
from encore_ray.corpora.layouts.mapped import mapped_layout
from encore_ray.corpora.pairing.own_verdict import find_worths
from encore_ray.corpora.pairing.ratings import find_ratings, unread_ratings
from encore_ray.corpora.reading import Reading, find_beside, id_and_subset
from encore_ray.corpora.rows import FileRange
from encore_ray.corpora.scan import ColumnScan, RangeScan
from encore_ray.corpora.tables import TableSpec, merge_columns
from encore_ray.corpora.values import STORED, TEXTUAL, WHOLE, Shape, usual_shape
from encore_ray.errors import ConfigError, DataError
from encore_ray.schema import PAIR_ID, PROMPT_ID, SUBSET

Ids = Literal["auto", "row"]

_ID_SHAPES = TEXTUAL | WHOLE | STORED.keys()


@dataclass(frozen=True)
class Split:
    """One range of one file, ready to be converted; lines count from 1."""

    part: FileRange
    reading: Reading
    first_line: int
    num_rows: int


@dataclass(frozen=True)
class FilePlan:
    """One file; without any row, or left out, it has no splits.

    Attributes:
        problem: why its rows are left out, on request; None where they are not.
        unread: columns called as ratings that are not read as such, with the reason.
    """

    file: SourceFile
    digest: str
    num_rows: int
    layout: str | None
    splits: tuple[Split, ...]
    problem: str | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class CorpusPlan:
    """All files in the order of the inputs, and the table that every unit of pairs/ has."""

    files: tuple[FilePlan, ...]
    table: TableSpec

    @property
    def splits(self) -> list[Split]:
        return [split for file in self.files for split in file.splits]

    @property
    def num_rows(self) -> int:
        """Source rows, blank lines left out."""
        return sum(file.num_rows for file in self.files)

    @property
    def has_prompt_ids(self) -> bool:
        """Whether a file says which of its pairs are of one prompt."""
        return any(split.reading.prompt_id_column for split in self.splits)

    @property
    def has_trees(self) -> bool:
        """Whether pairs are of conversation trees, whose name is then their prompt_id."""
        return any(split.reading.layout.has_trees for split in self.splits)

    @property
    def unread_ratings(self) -> list[str]:
        """Columns that are called as ratings and not read as such, a sentence for each file."""
        return [
            f"{file.file.uri}: no ratings are read of {', '.join(file.unread)}" for file in self.files if file.unread
        ]

    @property
    def rated_rules(self) -> tuple[str, ...]:
        """Rules whose ratings the corpus brings along; none when a model has to score it."""
        return self.table.rated_rules


def plan(
    scans: Iterable[RangeScan],
    *,
    ids: Ids = "auto",
    columns: Sequence[str] | None = None,
    rule_names: Sequence[str] | None = None,
    ignored: Sequence[str] = (),
    leaves_out: bool = False,
) -> CorpusPlan:
    """Decide how a corpus is read.

    Args:
        scans: of all ranges of all files; files in the order of the inputs, the ranges of a file in any order.
        ids: "auto" takes `pair_id`, else `id`, where a file has it; "row" makes ids from content and line.
        columns: source columns to pass through; all by default. Ratings are always kept.
        rule_names: rules of the lists `chosen_scores` and `rejected_scores`, in their order.
        ignored: columns that are not read as part of the conversation, although their name says so; prompt_id and
            ratings, too.
        leaves_out: leave out a file whose layout is not recognised, instead of refusing all.

    Raises:
        DataError: an unrecognised layout, no row at all, ratings in some files only or for different rules.
        ConfigError: `columns` names one that no file has.
    """
    by_file: dict[str, list[RangeScan]] = {}
    for scan in scans:
        by_file.setdefault(scan.part.file.uri, []).append(scan)
    files: list[FilePlan] = []
    tables: list[tuple[Mapping[str, ColumnScan], frozenset[str]]] = []
    ordinals: Counter[str] = Counter()
    for parts in by_file.values():
        parts.sort(key=lambda scan: scan.part.start)
        digest = sum((scan.digest for scan in parts), ContentDigest()).hex
        found = _add_columns(parts)
        reading, problem = None, None
        if any(scan.num_rows for scan in parts):
            names = sum((scan.rule_names for scan in parts), Counter[tuple[str, ...]]())
            try:
                _refuse_long_rows(parts)
                reading = _reading(
                    parts[0].part.file, found, digest, ordinals[digest], names, ids, rule_names, tuple(ignored)
                )
                tables.append((found, reading.used))
            except DataError as error:
                if not leaves_out:
                    raise
                problem = str(error).partition("\n")[0]
        ordinals[digest] += 1
        made = _file_plan(parts, digest, reading, problem)
        files.append(replace(made, unread=tuple(_unread(found, reading))) if reading else made)
    if not tables:
        raise DataError(f"No row in any input: {', '.join(file.file.uri for file in files) or 'no file'}.")
    _check_columns(columns, tables)
    readings = [file.splits[0].reading for file in files if file.splits]
    table = TableSpec(
        rated_rules=_rated_rules([file for file in files if file.splits]),
        has_response_ids=any(reading.layout.is_grouped for reading in readings),
        passthrough=merge_columns(tables, only=columns),
    )
    return CorpusPlan(tuple(files), table)


def _refuse_long_rows(parts: Sequence[RangeScan]) -> None:
    """DataError where no row of a file is short enough to be looked at."""
    num_rows = sum(scan.num_rows for scan in parts)
    if num_rows == sum(scan.num_too_long for scan in parts):
        raise DataError(
            f"{parts[0].part.file.uri}: all of its {num_rows:,} rows are longer than prepare.max_row_bytes. Raise it, "
            "if they are no mistake, or leave the file out."
        )


def _add_columns(parts: Sequence[RangeScan]) -> dict[str, ColumnScan]:
    added: dict[str, ColumnScan] = {}
    for scan in parts:
        for name, column in scan.columns.items():
            before = added.get(name)
            added[name] = ColumnScan(before.shapes + column.shapes, column.type) if before else column
    return added


def _reading(
    file: SourceFile,
    found: Mapping[str, ColumnScan],
    digest: str,
    ordinal: int,
    names: Counter[tuple[str, ...]],
    ids: Ids,
    given_rules: Sequence[str] | None,
    ignored: tuple[str, ...],
) -> Reading:
    shapes = {name: usual_shape(column.shapes) for name, column in found.items()}
    common = {name: shapes[name] for name in _common_columns(found)} or shapes
    layout = _mapped(file.columns, shapes, file) if file.columns else _layout(common, shapes, file)
    id_column, subset_column = id_and_subset(layout, shapes, file.columns)
    if ids == "row":
        id_column = None
    elif layout.has_ids:
        id_column = next((name for name in (PAIR_ID, "id") if common.get(name) in _ID_SHAPES), None)
    if subset_column is None and shapes.get(SUBSET, Shape.NESTED) in _ID_SHAPES:
        subset_column = SUBSET
    if file.subset is not None:
        subset_column = None
    prompt_id_column = None
    if shapes.get(PROMPT_ID, Shape.NESTED) in _ID_SHAPES and PROMPT_ID not in ignored:
        prompt_id_column = PROMPT_ID
    ratings = None
    if layout.can_be_rated:
        rated = {name: shape for name, shape in common.items() if name not in ignored}
        ratings = find_ratings(rated, rule_names=names, given=given_rules, has_rejected=not layout.is_single)
    beside = find_beside(layout, shapes, columns=file.columns, ignored=ignored)
    used = {*layout.uses, *map(top_of, beside.read)}
    used |= {top_of(name) for name in (id_column, prompt_id_column, subset_column) if name}
    return Reading(
        layout=layout,
        digest=digest,
        ordinal=ordinal,
        id_column=id_column,
        subset=file.subset,
        subset_column=subset_column,
        ratings=ratings,
        used=frozenset(used | (ratings.columns if ratings else set())),
        beside=beside,
        columns=file.columns,
        ignored=ignored,
        prompt_id_column=prompt_id_column,
        worths=find_worths(shapes) if layout.can_be_rated and not layout.is_single else None,
    )


def _unread(found: Mapping[str, ColumnScan], reading: Reading) -> list[str]:
    """Columns of a file that are called as ratings and not read as such, with the reason."""
    shapes = {name: usual_shape(column.shapes) for name, column in found.items() if name not in reading.ignored}
    read = reading.ratings.rules if reading.ratings else reading.layout.rules
    return unread_ratings(shapes, set(_common_columns(found)), read)


def _mapped(columns: ColumnMap, shapes: Mapping[str, Shape], file: SourceFile) -> Layout:
    layout = mapped_layout(columns)
    missing = [f"{path} (for {place})" for place, path in columns.places if not {path, top_of(path)} & shapes.keys()]
    if missing:
        raise DataError(
            f"{file.uri} has no column {', '.join(missing)}, as inputs[].columns names it. Columns found: "
            f"{', '.join(shapes) or 'none'}."
        )
    return layout


def _layout(common: Mapping[str, Shape], shapes: Mapping[str, Shape], file: SourceFile) -> Layout:
    """By the columns that most rows have, if these make a layout; else, or for a format that is given, by all."""
    if file.format == AUTO and common != shapes:
        with contextlib.suppress(DataError):
            return choose_layout(common, format_name=AUTO, where=file.uri)
    return choose_layout(shapes, format_name=file.format, where=file.uri)


def _common_columns(found: Mapping[str, ColumnScan]) -> list[str]:
    """Columns that half of the rows have: what fewer bring along does not decide how the others are read."""
    num_values = {name: column.shapes.total() - column.shapes[Shape.NULL] for name, column in found.items()}
    num_rows = max((column.shapes.total() for column in found.values()), default=0)
    return [name for name, count in num_values.items() if 2 * count >= num_rows]


def _file_plan(parts: Sequence[RangeScan], digest: str, reading: Reading | None, problem: str | None) -> FilePlan:
    splits = []
    line = 1
    if reading and reading.layout.joined_by:
        # One range: rows that belong together may lie on both sides of a cut.
        whole = FileRange(parts[0].part.file, parts[0].part.start, parts[-1].part.end)
        splits, parts_left = [Split(whole, reading, line, sum(scan.num_rows for scan in parts))], ()
    else:
        parts_left = parts
    for scan in parts_left:
        if reading and scan.num_rows:
            splits.append(Split(scan.part, reading, line, scan.num_rows))
        line += scan.num_lines
    num_rows = sum(scan.num_rows for scan in parts)
    return FilePlan(parts[0].part.file, digest, num_rows, reading and reading.layout.name, tuple(splits), problem)


def _rated_rules(files: Sequence[FilePlan]) -> tuple[str, ...]:
    first: FilePlan = files[0]
    rules = _rules_of(first)
    for file in files[1:]:
        if set(_rules_of(file)) != set(rules):
            raise DataError(
                f"Ratings differ: {first.file.uri} has {_listed(rules)}, {file.file.uri} has "
                f"{_listed(_rules_of(file))}. Prepare files with different ratings in runs of their own."
            )
    return rules


def _rules_of(file: FilePlan) -> tuple[str, ...]:
    reading = file.splits[0].reading
    return reading.ratings.rules if reading.ratings else reading.layout.rules


def _listed(rules: Sequence[str]) -> str:
    return f"ratings for {', '.join(rules)}" if rules else "none"


def _check_columns(
    columns: Sequence[str] | None, tables: Sequence[tuple[Mapping[str, ColumnScan], frozenset[str]]]
) -> None:
    known = dict.fromkeys(name for found, _ in tables for name in found)
    unknown = [name for name in columns or () if name not in known]
    if unknown:
        raise ConfigError(f"columns: no input has {', '.join(unknown)}. Columns found: {', '.join(known)}.")
