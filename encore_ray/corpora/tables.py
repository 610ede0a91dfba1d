"""The one table of all units: which columns are passed through, under which name and type, and how they are built.

A passed-through column keeps its name unless a table of ours uses that name, now or in a later pass: then it is
kept as `source_<name>`. It keeps its type where one Arrow type holds the values of all files exactly; otherwise
each value becomes JSON text, and the field says so in its metadata ({"encoding": "json"}). A key that a row lacks
and a null are both null.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from encore_ray import schema
from encore_ray.arrays import to_texts
from encore_ray.corpora.pairing.conversations import Conversations, content_ids, short_hashes
from encore_ray.corpora.pairing.pairs import CanonicalPair
from encore_ray.corpora.pairing.ratings import RATING_PREFIXES, Ratings
from encore_ray.corpora.rows import SourceRow
from encore_ray.corpora.scan import ColumnScan
from encore_ray.corpora.values import ShapeCounts, arrow_type, json_text
from encore_ray.schema import chosen_column, rejected_column

_JSON = {b"encoding": b"json"}
_RESERVED = frozenset(
    [field.name for field in schema.PAIR_FIELDS]
    + [schema.CHOSEN_RESPONSE_ID, schema.REJECTED_RESPONSE_ID]
    + [schema.CHOSEN_TOKENS, schema.REJECTED_TOKENS, schema.CHOSEN_CHARS, schema.REJECTED_CHARS, schema.TRUNCATED]
    + [schema.CHOSEN_REWARD, schema.REJECTED_REWARD, schema.MARGIN, schema.CHOSEN_VETOES, schema.REJECTED_VETOES]
)


@dataclass(frozen=True)
class Passthrough:
    """A source column that pairs/ keeps: its name there, its Arrow type, and whether it holds JSON text."""

    source: str
    name: str
    type: pa.DataType
    is_json: bool


@dataclass(frozen=True)
class TableSpec:
    """What every unit file of pairs/ looks like, whichever file it came from."""

    rated_rules: tuple[str, ...]
    has_response_ids: bool
    passthrough: tuple[Passthrough, ...]

    @property
    def schema(self) -> pa.Schema:
        fields = list(schema.PAIR_FIELDS)
        if self.has_response_ids:
            fields += [
                pa.field(schema.CHOSEN_RESPONSE_ID, pa.string()),
                pa.field(schema.REJECTED_RESPONSE_ID, pa.string()),
            ]
        for rule in self.rated_rules:
            fields += [pa.field(chosen_column(rule), pa.float32()), pa.field(rejected_column(rule), pa.float32())]
        for column in self.passthrough:
            fields.append(pa.field(column.name, column.type, metadata=_JSON if column.is_json else None))
        return pa.schema(fields, metadata={"schema_version": str(schema.SCHEMA_VERSION)})


@dataclass(slots=True)
class PairRecord:
    """One pair with all that its row in pairs/ holds; a prompt_id that the data do not give is a hash of the prompt."""

    pair_id: str
    prompt_id: str | None
    group_id: str | None
    subset: str | None
    pair: CanonicalPair
    ratings: Ratings | None
    chosen_response_id: str | None
    rejected_response_id: str | None
    row: SourceRow


def merge_columns(
    tables: Sequence[tuple[Mapping[str, ColumnScan], frozenset[str]]], *, only: Sequence[str] | None
) -> tuple[Passthrough, ...]:
    """The columns to pass through, in the order of first appearance.

    Args:
        tables: of each file, its columns and the names of those used up.
        only: source columns to keep; None for all.
    """
    shapes: dict[str, ShapeCounts] = {}
    types: dict[str, set[pa.DataType | None]] = {}
    for columns, used in tables:
        for name, column in columns.items():
            if name in used or (only is not None and name not in only):
                continue
            of_name = types.setdefault(name, set())
            if column.type is None:
                shapes.setdefault(name, Counter()).update(column.shapes)
            else:
                of_name.add(column.type)
    taken: set[str] = {name for name in types if not _is_reserved(name)}
    merged = []
    for name, of_parquet in types.items():
        all_types = of_parquet | ({arrow_type(shapes[name])} if name in shapes else set())
        all_types.discard(pa.null())
        exact = _shared(all_types)
        kept = name
        while _is_reserved(kept) or (kept != name and kept in taken):
            kept = f"source_{kept}"
        taken.add(kept)
        is_json = bool(all_types) and exact is None
        merged.append(Passthrough(name, kept, exact or pa.string(), is_json))
    return tuple(merged)


def _shared(types: Collection[pa.DataType | None]) -> pa.DataType | None:
    """The one type of a column in all files; what is null in one of them, at any depth, is as in another."""
    shared: pa.DataType | None = None
    for number, type_ in enumerate(sorted(types, key=str)):
        shared = type_ if number == 0 else _merged(shared, type_)
        if shared is None:
            return None
    return shared


def _merged(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    if one is None or other is None or one == other:
        return one if one == other else None
    if pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    if pa.types.is_list(one) and pa.types.is_list(other):
        item = _merged(one.value_type, other.value_type)
        return item and pa.list_(item)
    if pa.types.is_struct(one) and pa.types.is_struct(other) and _names(one) == _names(other):
        types = [_merged(one.field(name).type, other.field(name).type) for name in _names(one)]
        return pa.struct(list(zip(_names(one), types, strict=True))) if all(types) else None
    return None


def _names(type_: pa.StructType) -> list[str]:
    return [field.name for field in type_]


def build_table(records: Sequence[PairRecord], *, spec: TableSpec, used: frozenset[str]) -> pa.Table:
    """The rows of one unit; `used` are the source columns of its file that are not passed through."""
    pairs = [record.pair for record in records]
    prompts = Conversations([pair.prompt for pair in pairs])
    chosen, rejected = Conversations([pair.chosen for pair in pairs]), Conversations([pair.rejected for pair in pairs])
    asked = prompts.json
    columns: list[Any] = [
        to_texts([record.pair_id for record in records]),
        content_ids(asked, chosen.json, rejected.json),
        given_or([record.prompt_id for record in records], short_hashes(asked)),
        to_texts([record.group_id for record in records]),
        prompts.column,
        chosen.column,
        rejected.column,
        to_texts([record.subset for record in records]),
    ]
    if spec.has_response_ids:
        columns.append(to_texts([record.chosen_response_id for record in records]))
        columns.append(to_texts([record.rejected_response_id for record in records]))
    columns.extend(_rating_columns(records, spec.rated_rules))
    columns.extend(_passed_through([record.row for record in records], column, used) for column in spec.passthrough)
    return pa.Table.from_arrays(columns, schema=spec.schema)


def given_or(given: Sequence[str | None], made: pa.StringArray) -> pa.StringArray:
    """Ids that the data give; where there is none, or an empty one, those that were made."""
    if not any(given):
        return made
    return to_texts([own or other for own, other in zip(given, made.to_pylist(), strict=True)])


def _is_reserved(name: str) -> bool:
    return name in _RESERVED or name.startswith(RATING_PREFIXES)


def _rating_columns(records: Sequence[PairRecord], rules: Sequence[str]) -> Iterator[pa.Array]:
    for rule in rules:
        sides = [record.ratings.of(rule) if record.ratings else (None, None) for record in records]
        yield pa.array([chosen for chosen, _ in sides], pa.float32())
        yield pa.array([rejected for _, rejected in sides], pa.float32())


def _passed_through(rows: Sequence[SourceRow], column: Passthrough, used: frozenset[str]) -> pa.Array:
    if column.source in used:
        return pa.nulls(len(rows), column.type)
    if rows[0].table is None:
        values = [row.values.get(column.source) for row in rows]
        return pa.array(
            [None if v is None else json_text(v) for v in values] if column.is_json else values, column.type
        )
    chunks = []
    for _, run in itertools.groupby(rows, key=lambda row: id(row.table)):
        same = list(run)
        table = same[0].table
        assert table is not None
        chunks.append(stored_column(table.batch, column, used, rows=[row.index for row in same]))
    return pa.concat_arrays(chunks)


def stored_column(
    batch: pa.RecordBatch, column: Passthrough, used: frozenset[str], *, rows: Sequence[int] | None = None
) -> pa.Array:
    """A passed-through column of a table's rows, all of them or those at some places; null where it is not there."""
    if column.source in used or column.source not in batch.schema.names:
        return pa.nulls(batch.num_rows if rows is None else len(rows), column.type)
    values = batch.column(column.source)
    taken = values if rows is None else values.take(pa.array(rows))
    if column.is_json:
        taken = pa.array([None if v is None else json_text(v) for v in taken.to_pylist()], pa.string())
    return taken if taken.type == column.type else taken.cast(column.type)
