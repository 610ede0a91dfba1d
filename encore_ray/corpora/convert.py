"""From the rows of one split to units of canonical pairs and a quarantine; no row is lost on the way."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from encore_ray.arrays import rows_to_table
from encore_ray.corpora.bounded import ROW_BYTES
from encore_ray.corpora.layouts.columns import at_path
from encore_ray.corpora.own_verdict import own_verdict
from encore_ray.corpora.pairs import Candidate, canonical_pair, short_hash
from encore_ray.corpora.plan import Split
from encore_ray.corpora.rows import BadRow, SourceRow, read_rows
from encore_ray.corpora.sources import current_stamp
from encore_ray.corpora.tables import PairRecord, TableSpec, build_table
from encore_ray.corpora.values import json_text
from encore_ray.errors import DataError
from encore_ray.schema import QUARANTINE_SCHEMA, Reason

RAW_CHARS = 1 << 20  # of a row that are kept in quarantine
PACKED_ROWS = 8_192  # of quarantine that are held as Python objects, six times the size of Arrow's
RAW_CHARS_OF_ALL = 64 << 20  # of a split; of rows after these only their beginning
RAW_CHARS_OF_LATER = 1 << 10

_Prepared = tuple[SourceRow, dict[str, Any]]  # a row and its values as its layout reads them


@dataclass(frozen=True)
class ConvertSettings:
    """How rows become units.

    Attributes:
        unit_pairs: most pairs in a unit; only a group of more pairs than that is a larger unit, of its own.
        unit_bytes: most bytes of source rows in a unit of more than one row, so that long texts fit memory.
        max_field_bytes: a row with a column of more UTF-8 bytes (of a list: as JSON) is quarantined.
        max_row_bytes: a longer row is quarantined, and not held as a whole.
        limit_rows: stop after this many source rows; None reads them all.
    """

    unit_pairs: int = 1024
    unit_bytes: int = 64 << 20
    max_field_bytes: int = 1 << 20
    max_row_bytes: int = ROW_BYTES
    limit_rows: int | None = None


@dataclass(frozen=True)
class SplitOutcome:
    """What became of the rows of one split; rows_in = rows_kept + rows_quarantined.

    Attributes:
        pairs_out: rows of pairs/, single responses included.
        singles: of these, responses without a rejected one.
        identical: of these, pairs whose two sides are the same.
        quarantine: the rows that could not be used, as schema.QUARANTINE_SCHEMA.
        reasons: number of quarantined rows by reason.
        notes: what was done to read the others, by name.
    """

    rows_in: int
    rows_kept: int
    rows_quarantined: int
    pairs_out: int
    singles: int
    identical: int
    quarantine: pa.Table
    reasons: dict[str, int]
    notes: dict[str, int]


class SplitConverter:
    """Converts one split: iterate over `units()` to its end, then ask for the `outcome`.

    It holds one unit and the quarantined rows, no more. `left_out` rows, by their place in the split from 0 on, are
    quarantined unseen.
    """

    def __init__(
        self,
        split: Split,
        *,
        table: TableSpec,
        settings: ConvertSettings | None = None,
        left_out: Mapping[int, BadRow] = MappingProxyType({}),
    ):
        self._split = split
        self._left_out = left_out
        self._table = table
        self._settings = settings or ConvertSettings()
        self._quarantine: list[pa.Table] = []
        self._to_pack: list[dict[str, Any]] = []
        self._reasons: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._outcome: SplitOutcome | None = None
        self._raw_chars = 0

    @property
    def outcome(self) -> SplitOutcome:
        """The account of all rows; there once `units()` has been read to its end."""
        assert self._outcome is not None, "read units() to its end first"
        return self._outcome

    def units(self) -> Iterator[pa.Table]:
        """Tables of pairs in the order of their rows; the pairs of one row are never in two of them.

        Raises:
            DataError: the file cannot be read, or is not the one that was scanned.
        """
        settings = self._settings
        held: list[PairRecord] = []
        held_bytes = 0
        for rows in self._joined(self._readable_rows()):
            try:
                records = self._records(rows)
            except BadRow as problem:
                for row, _ in rows:
                    self._put_in_quarantine(row, problem)
                continue
            self._counts["rows_kept"] += len(rows)
            size = sum(_row_bytes(row) for row, _ in rows)
            if held and (len(held) + len(records) > settings.unit_pairs or held_bytes + size > settings.unit_bytes):
                yield self._build(held)
                held, held_bytes = [], 0
            held += records
            held_bytes += size
        if held:
            yield self._build(held)
        self._finish()

    def _readable_rows(self) -> Iterator[_Prepared]:
        """Rows as their layout reads them; the others are put in quarantine on the way."""
        split, reading = self._split, self._split.reading
        settings = self._settings
        rows = read_rows(
            split.part, first_line=split.first_line, columns=reading.decoded, row_bytes=settings.max_row_bytes
        )
        for row in rows:
            if self._counts["rows_in"] == settings.limit_rows:
                return
            left_out = self._left_out.get(self._counts["rows_in"])
            self._counts["rows_in"] += 1
            notes: Counter[str] = Counter()
            try:
                if left_out or row.problem:
                    raise left_out or row.problem  # type: ignore[misc]
                _check_sizes(row, settings.max_field_bytes)
                values = reading.prepare(row.values, notes)
                if reading.layout.check:
                    reading.layout.check(values)
            except BadRow as problem:
                self._put_in_quarantine(row, problem)
                continue
            self._notes += notes
            yield row, values

    def _joined(self, rows: Iterator[_Prepared]) -> Iterator[list[_Prepared]]:
        """Each row alone, or those that belong together and follow each other where the layout joins them."""
        column = self._split.reading.layout.joined_by
        if column is None:
            yield from ([row] for row in rows)
            return
        for _, same in itertools.groupby(rows, key=lambda row: json_text(row[1].get(column))):
            yield list(same)

    def _records(self, rows: list[_Prepared]) -> list[PairRecord]:
        reading = self._split.reading
        row, values = rows[0]
        notes: Counter[str] = Counter()
        candidates = reading.candidates([values for _, values in rows], notes)
        pairs = [canonical_pair(candidate) for candidate in candidates]
        ratings = reading.ratings.read(values) if reading.ratings else None
        if len(pairs) == 1 and pairs[0].rejected is not None:
            notes.update(filter(None, [own_verdict(values, reading.worths, ratings)]))
        subset = _name(values, reading.subset_column) if reading.subset_column else reading.subset
        prompt_id = _name(values, reading.prompt_id_column) if reading.prompt_id_column else None
        key = f"{reading.digest}:{reading.ordinal}:{row.line}"
        given = _given_id(values, reading.id_column) if reading.id_column else None
        if len(pairs) == 1 and not reading.layout.is_grouped:
            pair_ids, group_id = [given or short_hash(f"{key}:0")], None
        else:
            group_id = given or short_hash(key)
            pair_ids = [f"{given}:{i}" if given else short_hash(f"{key}:{i}") for i in range(len(pairs))]
        self._notes += notes
        return [
            PairRecord(
                pair_id,
                prompt_id or candidate.tree or pair.prompt_id,
                group_id,
                subset,
                pair,
                candidate.ratings or ratings,
                candidate.chosen_key,
                candidate.rejected_key,
                _row_of(candidate, rows),
            )
            for pair_id, pair, candidate in zip(pair_ids, pairs, candidates, strict=True)
        ]

    def _build(self, records: list[PairRecord]) -> pa.Table:
        self._counts["pairs_out"] += len(records)
        self._counts["singles"] += sum(record.pair.rejected is None for record in records)
        self._counts["identical"] += sum(record.pair.is_identical for record in records)
        for name in ("nothing_said", "repeats_prompt", "marked_responses"):
            if found := sum(getattr(record.pair, name) for record in records):
                self._notes[name] += found
        try:
            return build_table(records, spec=self._table, used=self._split.reading.used)
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise self._changed(f"a value no longer has the type found then ({error})") from error

    def _put_in_quarantine(self, row: SourceRow, problem: BadRow) -> None:
        raw, detail = row.text(), problem.detail
        most = RAW_CHARS if self._raw_chars < RAW_CHARS_OF_ALL else RAW_CHARS_OF_LATER
        if len(raw) > most:
            detail = f"{detail} (raw row: the first {most} of {len(raw)} characters)"
        self._raw_chars += min(len(raw), most)
        self._reasons[problem.reason.value] += 1
        self._to_pack.append(
            {
                "source": self._split.part.file.uri,
                "line": row.line,
                "pair_id": None,
                "reason": problem.reason.value,
                "detail": detail,
                "raw": raw[:most],
            }
        )
        if len(self._to_pack) == PACKED_ROWS:
            self._pack()

    def _pack(self) -> None:
        self._quarantine.append(rows_to_table(self._to_pack, QUARANTINE_SCHEMA))
        self._to_pack = []

    def _finish(self) -> None:
        counts = self._counts
        if self._settings.limit_rows is None and counts["rows_in"] != self._split.num_rows:
            raise self._changed(f"it had {self._split.num_rows} rows in this part then, {counts['rows_in']} now")
        file = self._split.part.file
        stamp = current_stamp(file)
        if stamp != file.stamp:
            raise self._changed(f"its size and time or version were {file.stamp} then, {stamp} now")
        self._pack()
        quarantine = pa.concat_tables(self._quarantine)
        assert counts["rows_in"] == counts["rows_kept"] + quarantine.num_rows
        self._outcome = SplitOutcome(
            rows_in=counts["rows_in"],
            rows_kept=counts["rows_kept"],
            rows_quarantined=quarantine.num_rows,
            pairs_out=counts["pairs_out"],
            singles=counts["singles"],
            identical=counts["identical"],
            quarantine=quarantine,
            notes=dict(sorted(self._notes.items())),
            reasons=dict(sorted(self._reasons.items())),
        )

    def _changed(self, how: str) -> DataError:
        uri = self._split.part.file.uri
        return DataError(
            f"{uri} has changed since it was listed and scanned: {how}. Start over once it is no longer written to."
        )


def _row_of(candidate: Candidate, rows: list[_Prepared]) -> SourceRow:
    """The row whose further columns a pair keeps: of joined rows that of the chosen response."""
    place = int((candidate.chosen_key or "a0")[1:]) if len(rows) > 1 else 0
    return rows[place][0]


def _check_sizes(row: SourceRow, limit: int) -> None:
    if row.batch is None and len(row.raw) <= limit:  # no field of a JSON row is longer than its text
        return
    sizes = _text_sizes(row) if row.batch is None else _arrow_sizes(row.batch, row.index, limit)
    for name, size in sizes:
        if size > limit:
            raise BadRow(
                Reason.FIELD_TOO_LARGE,
                f"{name}: expected at most {limit} bytes, found {size} (prepare.max_field_bytes)",
            )


def _text_sizes(row: SourceRow) -> Iterator[tuple[str, int]]:
    for name, value in row.values.items():
        yield name, len((value if isinstance(value, str) else json_text(value)).encode())


def _arrow_sizes(batch: pa.RecordBatch, index: int, limit: int) -> Iterator[tuple[str, int]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.nbytes <= limit:
            continue
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            value = column[index].as_buffer()
            yield name, value.size if value is not None else 0
        else:
            yield name, len(json_text(column[index].as_py()).encode())


def _row_bytes(row: SourceRow) -> int:
    return len(row.raw) if row.batch is None else row.batch.nbytes // row.batch.num_rows


def _given_id(values: dict[str, Any], column: str) -> str:
    value = at_path(values, column)
    if value is None or value == "":
        raise BadRow(Reason.MISSING_FIELD, f"{column} is missing; `--ids row` makes ids from rows instead")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow(Reason.WRONG_TYPE, f"{column}: expected a text or a whole number, found {type(value).__name__}")
    return str(value)


def _name(values: dict[str, Any], column: str) -> str | None:
    """What a row names in a column that may be empty: its subset, its prompt."""
    value = at_path(values, column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow(Reason.WRONG_TYPE, f"{column}: expected a text or a whole number, found {type(value).__name__}")
    return str(value)
