"""Labels of responses beside their embeddings or texts: where a table keeps them, and what one unit has of both.

A rule's labels are numbers or booleans in the columns chosen__<rule> and rejected__<rule>; of single responses also in
a column called as the rule, or in a field of that name of a column of objects, which prepare keeps as JSON text. True
is the high end of the rule's scale, false the low one; where the rule clips, so are its labels. A response without a
label of a rule is left out for that rule.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.arrays import to_numpy
from encore_ray.composition.hashing.keys import folds_of, hash_keys
from encore_ray.composition.hashing.splitmix import mix
from encore_ray.errors import DataError
from encore_ray.folder.reading.columns import first_texts, holds_numbers, row_numbers
from encore_ray.folder.reading.parquet import open_parquet
from encore_ray.folder.reading.score_block import resampling_keys
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.passes.heads.features import read_features
from encore_ray.rules import Rule, RuleSet
from encore_ray.schema import (
    CHOSEN_EMBEDDING,
    GROUP_ID,
    PAIR_ID,
    PROMPT_ID,
    REJECTED_EMBEDDING,
    chosen_column,
    rejected_column,
)

Path = tuple[str, ...]  # a column, or a column and its field


@dataclass(frozen=True)
class LabelPlace:
    """Where the labels of a rule are; `rejected` is None where only single responses have some."""

    chosen: Path
    rejected: Path | None


@dataclass(frozen=True)
class LabelledUnit:
    """A unit of responses, as embeddings or texts, with the unit of the same pairs that has their labels."""

    responses: TableUnit
    labels: TableUnit

    @property
    def rows(self) -> int:
        return self.responses.rows


def labelled_units(responses: str, labels: str) -> list[LabelledUnit]:
    """The units of both tables, side by side; DataError where they are of different runs."""
    by_name = {unit.unit: unit for unit in table_units(labels)}
    units = table_units(responses)
    missing = [unit.unit for unit in units if unit.unit not in by_name]
    if missing:
        raise DataError(
            f"{labels} has no unit {missing[0]} of {responses}: they belong to different runs. Labels are read from "
            "pairs/ or scores/ of the same run."
        )
    return [LabelledUnit(unit, by_name[unit.unit]) for unit in units]


def find_labels(units: Sequence[TableUnit], rules: RuleSet) -> dict[str, LabelPlace]:
    """Where a table keeps the labels of each rule; DataError names the rules that have none there.

    Objects in JSON text are read unit by unit until each rule is found: the first ones may lack rare fields.
    """
    unit = units[0]
    with open_parquet(unit.folder, unit.file) as parquet:
        schema: pa.Schema = parquet.schema_arrow
    objects = [f.name for f in schema if pa.types.is_struct(f.type) or (f.metadata or {}).get(b"encoding") == b"json"]
    fields: dict[str, set[str]] = {name: set() for name in objects}
    found = {rule.name: _place(schema.names, fields, rule.name) for rule in rules}
    for unit in units if objects else ():
        if None not in found.values():
            break
        table = unit.read(objects)
        for name in objects:
            fields[name] |= {field.name for field in _structs(unit, table, name).type}
        found = {rule.name: _place(schema.names, fields, rule.name) for rule in rules}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        raise DataError(
            f"{unit.folder.uri} has no labels of {', '.join(missing[:6])}{' …' if len(missing) > 6 else ''}. Expected "
            f"{chosen_column(missing[0])} and {rejected_column(missing[0])}, or of single responses a column or a "
            f"field {missing[0]}; found the columns {', '.join(schema.names)}."
        )
    return {name: place for name, place in found.items() if place is not None}


def _place(columns: Sequence[str], fields: Mapping[str, set[str]], name: str) -> LabelPlace | None:
    if chosen_column(name) in columns:
        rejected = rejected_column(name)
        return LabelPlace((chosen_column(name),), (rejected,) if rejected in columns else None)
    if name in columns:
        return LabelPlace((name,), None)
    holders = [column for column, names in fields.items() if name in names]
    return LabelPlace((holders[0], name), None) if len(holders) == 1 else None


@dataclass(frozen=True, eq=False)
class LabelledResponses:
    """The labelled responses of a unit, chosen ones first.

    Attributes:
        embedding_ND: float64.
        label_NK: float64 in the rules' units, NaN where there is none; every response has one at least.
        fold_N, hash_N: of the resampling keys.
        mark_N: uint64, of the response alone.
    """

    embedding_ND: np.ndarray
    label_NK: np.ndarray
    fold_N: np.ndarray
    hash_N: np.ndarray
    mark_N: np.ndarray


def read_responses(unit: LabelledUnit, rules: RuleSet, places: Mapping[str, LabelPlace]) -> LabelledResponses:
    """Read the responses of a unit that have labels and an embedding.

    Raises:
        DataError: labels that are no numbers, or of single responses where there are pairs.
    """
    table = unit.responses.read([PAIR_ID, PROMPT_ID, GROUP_ID, CHOSEN_EMBEDDING, REJECTED_EMBEDDING])
    sides = read_features(table)
    keys = resampling_keys(table)
    fold_N, hash_N = folds_of(keys), hash_keys(keys)
    id_N = hash_keys(first_texts([table.column(PAIR_ID)]))
    has_rejected_N = np.all(np.isfinite(sides[1]), axis=1)
    label_NK = np.concatenate(
        read_labels(unit.labels, rules, places, pair_ids=table.column(PAIR_ID), has_rejected_N=has_rejected_N)
    )
    (kept_M,) = np.nonzero(~np.isnan(label_NK).all(axis=1))
    return LabelledResponses(
        np.concatenate(sides)[kept_M],
        label_NK[kept_M],
        np.tile(fold_N, 2)[kept_M],
        np.tile(hash_N, 2)[kept_M],
        np.concatenate([id_N, mix(id_N)])[kept_M],
    )


def read_labels(
    unit: TableUnit,
    rules: RuleSet,
    places: Mapping[str, LabelPlace],
    *,
    pair_ids: pa.ChunkedArray,
    has_rejected_N: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of N pairs, chosen and rejected, float64 [N, K] each in the rules' units; NaN where there is none.

    Args:
        unit: of the table that has them.
        rules, places: which, and where.
        pair_ids: of the pairs.
        has_rejected_N: which of them have a rejected response.

    Raises:
        DataError: labels that are no numbers, or of single responses where there are pairs.
    """
    labels = unit.read([PAIR_ID, *dict.fromkeys(path[0] for path in _paths(places))])
    for name in dict.fromkeys(path[0] for path in _paths(places) if len(path) > 1):
        labels = labels.set_column(labels.column_names.index(name), name, _structs(unit, labels, name))
    row_N = row_numbers(pair_ids, among=labels.column(PAIR_ID))
    chosen_NK, rejected_NK = (np.full((len(pair_ids), len(rules)), np.nan) for _ in range(2))
    for k, rule in enumerate(rules):
        place = places[rule.name]
        chosen_NK[:, k] = _labels(unit, labels, place.chosen, rule, row_N)
        if place.rejected is not None:
            rejected_NK[:, k] = _labels(unit, labels, place.rejected, rule, row_N)
        elif (has_rejected_N & ~np.isnan(chosen_NK[:, k])).any():
            raise DataError(
                f"{unit.folder.path(unit.file)}: {'.'.join(place.chosen)} labels one response, but there "
                f"are pairs. Give {chosen_column(rule.name)} and {rejected_column(rule.name)}."
            )
    rejected_NK[~has_rejected_N] = np.nan
    return chosen_NK, rejected_NK


def _paths(places: Mapping[str, LabelPlace]) -> Sequence[Path]:
    return [path for place in places.values() for path in (place.chosen, place.rejected) if path is not None]


def _structs(unit: TableUnit, table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of objects, those in JSON text read; no field where none is an object."""
    column = table.column(name)
    if pa.types.is_struct(column.type):
        return column
    values = [None if text is None else json.loads(text) for text in column.to_pylist()]
    try:
        array = pa.array([value if isinstance(value, dict) else None for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(f"{unit.folder.path(unit.file)}: {name} has fields of no one type: {error}") from None
    return pa.chunked_array([array if pa.types.is_struct(array.type) else pa.nulls(len(values), pa.struct([]))])


def _labels(unit: TableUnit, table: pa.Table, path: Path, rule: Rule, row_N: pa.ChunkedArray) -> np.ndarray:
    """The labels at the given rows, float64, NaN where the row or the label is null."""
    column = table.column(path[0])
    if len(path) > 1:
        if column.type.get_field_index(path[1]) < 0:  # no row of this unit has the field
            return np.full(len(row_N), np.nan)
        column = pc.call_function("struct_field", [column], pc.StructFieldOptions([path[1]]))
    if pa.types.is_boolean(column.type):
        low, high = pa.scalar(rule.scale.lo, pa.float64()), pa.scalar(rule.scale.hi, pa.float64())
        column = pc.call_function("if_else", [column, high, low])
    if not holds_numbers(column):
        raise DataError(
            f"{unit.folder.path(unit.file)}: labels {'.'.join(path)} must be numbers or booleans, found {column.type}."
        )
    label_N = to_numpy(column.cast(pa.float64(), safe=False).take(row_N))
    if rule.out_of_range == "clip":  # an infinite label stays, and is refused
        label_N = np.where(np.isinf(label_N), label_N, np.clip(label_N, rule.scale.lo, rule.scale.hi))
    return label_N
