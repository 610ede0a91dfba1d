"""From the rows of one split to units of canonical pairs and a quarantine; no row is lost on the way."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encore_ray.corpora.columnar.batches import TableBatch
from encore_ray.corpora.converting.plain_rows import PlainPairs, PlainRows
from encore_ray.corpora.converting.plain_transcripts import Alike, PlainTranscripts
from encore_ray.corpora.converting.quarantined import Quarantined
from encore_ray.corpora.converting.units import UnitCutter
from encore_ray.corpora.files.bounded import ROW_BYTES
from encore_ray.corpora.files.columns import at_path
from encore_ray.corpora.files.sources import current_stamp
from encore_ray.corpora.kinds.tables import TABLE_KINDS
from encore_ray.corpora.pairing.conversations import short_hash
from encore_ray.corpora.pairing.own_verdict import own_verdict
from encore_ray.corpora.pairing.pairs import Candidate, canonical_pair
from encore_ray.corpora.plan import Split
from encore_ray.corpora.rows import BadRow, SourceRow, TableRows, read_rows, table_rows
from encore_ray.corpora.tables import PairRecord, TableSpec, build_table
from encore_ray.corpora.values import json_text
from encore_ray.errors import DataError
from encore_ray.schema import Reason

_Prepared = tuple[SourceRow, dict[str, Any]]  # a row and its values as its layout reads them


@dataclass(frozen=True)
class _Plain:
    """Pairs of plain rows that follow each other, and the bytes of each row: of a table's the mean of its batch."""

    pairs: pa.Table
    byte_N: NDArray[np.int64]


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
        self._quarantine = Quarantined(split.part.file.uri)
        self._counts: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._outcome: SplitOutcome | None = None

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
        units = UnitCutter(self._settings.unit_pairs, self._settings.unit_bytes, self._build)
        for rows in self._in_order():
            if isinstance(rows, _Plain):
                self._counts["rows_kept"] += rows.pairs.num_rows
                yield from units.add_table(rows.pairs, rows.byte_N)
                continue
            try:
                records = self._records(rows)
            except BadRow as problem:
                for row, _ in rows:
                    self._quarantine.put(row, problem)
                continue
            self._counts["rows_kept"] += len(rows)
            yield from units.add(records, sum(_row_bytes(row) for row, _ in rows))
        yield from units.rest()
        self._finish()

    def _in_order(self) -> Iterator["list[_Prepared] | _Plain"]:
        """All rows that can be read: pairs of those that are plain, each of the others alone or with its like."""
        split, decoded, row_bytes = self._split, self._split.reading.decoded, self._settings.max_row_bytes
        plain = PlainRows(split.reading, self._table, self._settings.max_field_bytes)
        if split.part.file.kind not in TABLE_KINDS or not plain.may_be:
            rows = read_rows(split.part, first_line=split.first_line, columns=decoded, row_bytes=row_bytes)
            transcripts = PlainTranscripts(split.reading, self._table, self._settings.max_field_bytes)
            by_some = split.part.file.kind not in TABLE_KINDS and transcripts.may_be
            yield from self._by_transcripts(rows, transcripts) if by_some else self._joined(self._readable(rows))
            return
        for some in table_rows(split.part, first_line=split.first_line, columns=decoded, row_bytes=row_bytes):
            yield from self._by_columns(some, plain)
            if self._is_enough:
                return

    def _by_columns(self, rows: TableRows, plain: PlainRows) -> Iterator["list[_Prepared] | _Plain"]:
        """Some rows of a table."""
        before, most = self._counts["rows_in"], self._settings.limit_rows
        short_N = rows.place_N >= 0
        plain_N = np.zeros(len(rows), dtype=bool)
        plain_N[short_N] = plain.are(rows.table)
        plain_N[[row - before for row in self._left_out if before <= row < before + len(rows)]] = False
        if most is not None:
            plain_N[max(most - before, 0) :] = False
        pairs = self._plain_pairs(rows, plain, plain_N)
        others = rows.read(np.flatnonzero(~plain_N).tolist())
        done = 0
        for is_plain, run in itertools.groupby(plain_N.tolist()):
            size = len(list(run))
            if not is_plain:
                yield from ([row] for row in self._readable(itertools.islice(others, size)))
                continue
            self._counts["rows_in"] += size
            yield _Plain(pairs.slice(done, size), np.full(size, rows.table.row_bytes))
            done += size

    def _by_transcripts(
        self, rows: Iterable[SourceRow], plain: PlainTranscripts
    ) -> Iterator["list[_Prepared] | _Plain"]:
        """The rows of a text."""
        held: list[Alike] = []
        for row in rows:
            if self._is_enough:
                break
            alike = plain.of(row) if self._counts["rows_in"] not in self._left_out else None
            if alike:
                self._counts["rows_in"] += 1
                held.append(alike)
            if held and (not alike or len(held) == self._settings.unit_pairs):
                yield self._of_transcripts(plain, held)
                held = []
            if not alike:
                yield from ([readable] for readable in self._readable([row]))
        if held:
            yield self._of_transcripts(plain, held)

    def _of_transcripts(self, plain: PlainTranscripts, rows: list[Alike]) -> _Plain:
        return _Plain(self._counted(plain.pairs(rows)), np.array([row.num_bytes for row in rows]))

    def _plain_pairs(self, rows: TableRows, plain: PlainRows, plain_N: NDArray[np.bool_]) -> pa.Table:
        if not plain_N.any():
            return self._table.schema.empty_table()
        line_N = rows.first_line + np.arange(len(rows))
        short_N = rows.place_N >= 0
        with self._typed():
            return self._counted(plain.pairs(rows.table, plain_N[short_N], line_N[short_N]))

    def _counted(self, made: PlainPairs) -> pa.Table:
        self._counts.update(pairs_out=made.table.num_rows, singles=made.singles, identical=made.identical)
        if made.repeats_prompt:
            self._notes["repeats_prompt"] += made.repeats_prompt
        return made.table

    def _readable(self, rows: Iterable[SourceRow]) -> Iterator[_Prepared]:
        """Rows as their layout reads them; the others are put in quarantine on the way."""
        reading = self._split.reading
        notes: Counter[str] = Counter()  # of one row; most have none
        for row in rows:
            if self._is_enough:
                return
            left_out = self._left_out.get(self._counts["rows_in"])
            self._counts["rows_in"] += 1
            try:
                if left_out or row.problem:
                    raise left_out or row.problem  # type: ignore[misc]
                _check_sizes(row, self._settings.max_field_bytes)
                values = reading.prepare(row.values, notes)
                if reading.layout.check:
                    reading.layout.check(values)
            except BadRow as problem:
                self._quarantine.put(row, problem)
                notes.clear()
                continue
            if notes:
                self._notes.update(notes)
                notes.clear()
            yield row, values

    @property
    def _is_enough(self) -> bool:
        return self._counts["rows_in"] == self._settings.limit_rows

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
        if notes:
            self._notes.update(notes)
        return [
            PairRecord(
                pair_id,
                prompt_id or candidate.tree,
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
        with self._typed():
            return build_table(records, spec=self._table, used=self._split.reading.used)

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        """What a column's type cannot hold was not there in the scan."""
        try:
            yield
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise self._changed(f"a value no longer has the type found then ({error})") from error

    def _finish(self) -> None:
        counts = self._counts
        if self._settings.limit_rows is None and counts["rows_in"] != self._split.num_rows:
            raise self._changed(f"it had {self._split.num_rows} rows in this part then, {counts['rows_in']} now")
        file = self._split.part.file
        stamp = current_stamp(file)
        if stamp != file.stamp:
            raise self._changed(f"its size and time or version were {file.stamp} then, {stamp} now")
        quarantine = self._quarantine.table()
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
            reasons=dict(sorted(self._quarantine.reasons.items())),
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
    if row.table is None and len(row.raw) <= limit:  # no field of a JSON row is longer than its text
        return
    sizes = _text_sizes(row) if row.table is None else _arrow_sizes(row.table, row.index, limit)
    for name, size in sizes:
        if size > limit:
            raise BadRow(
                Reason.FIELD_TOO_LARGE,
                f"{name}: expected at most {limit} bytes, found {size} (prepare.max_field_bytes)",
            )


def _text_sizes(row: SourceRow) -> Iterator[tuple[str, int]]:
    for name, value in row.values.items():
        yield name, len((value if isinstance(value, str) else json_text(value)).encode())


def _arrow_sizes(table: TableBatch, index: int, limit: int) -> Iterator[tuple[str, int]]:
    for name, most in table.column_bytes.items():
        if most <= limit:
            continue
        column = table.batch.column(name)
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            value = column[index].as_buffer()
            yield name, value.size if value is not None else 0
        else:
            yield name, len(json_text(column[index].as_py()).encode())


def _row_bytes(row: SourceRow) -> int:
    return len(row.raw) if row.table is None else row.table.row_bytes


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
