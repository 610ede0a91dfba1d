"""Rows of a table that are texts in columns of their own become pairs column by column, not one by one.

A row is plain where its layout says in which columns prompt and responses stand, each of these is content and nothing
else, and all that further belongs to a pair (ratings, ids, subset) is such as needs no look at it. What `Reading` and
`canonical_pair` would make of a plain row, and no other, is made here for all rows at once, to the last byte.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encore_ray.arrays import to_arrow, to_numpy, to_texts
from encore_ray.corpora.columnar.batches import TableBatch
from encore_ray.corpora.columnar.plain_texts import plain_texts
from encore_ray.corpora.pairing.conversations import content_ids, short_hashes, single_turns
from encore_ray.corpora.pairing.own_verdict import MARGIN, STATUS, rated_sides
from encore_ray.corpora.pairing.pairs import LEAST_REPEATED, repeats
from encore_ray.corpora.reading import Reading
from encore_ray.corpora.tables import TableSpec, given_or, stored_column
from encore_ray.corpora.turns.transcripts import ASSISTANT, USER
from encore_ray.corpora.values import json_text
from encore_ray.rules import FLOAT32_MAX
from encore_ray.schema import MESSAGES, chosen_column, rejected_column

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PlainPairs:
    """Pairs of plain rows.

    Attributes:
        singles: how many are single responses. identical: how many have the same on both sides.
        repeats_prompt: how many responses begin with their whole prompt.
    """

    table: pa.Table
    singles: int
    identical: int
    repeats_prompt: int = 0


@dataclass(frozen=True)
class PlainRows:
    """Which rows of the tables of a split are plain, and their pairs.

    Attributes:
        table: what the pairs look like.
        max_field_bytes: a row with a column of more is not plain.
    """

    reading: Reading
    table: TableSpec
    max_field_bytes: int

    @property
    def may_be(self) -> bool:
        """Whether there can be any."""
        reading = self.reading
        return bool(reading.layout.plain) and not (reading.ratings and reading.ratings.listed)

    def are(self, table: TableBatch) -> Mask:
        """Of each row whether it is plain."""
        reading, batch = self.reading, table.batch
        layout, names = reading.layout, set(batch.schema.names)
        assert layout.plain
        ratings = reading.ratings.columns if reading.ratings else frozenset()
        named = {name for name in (reading.id_column, reading.prompt_id_column, reading.subset_column) if name}
        empty = (layout.uses - {*layout.plain}) | {*reading.beside.refused, *reading.beside.talk}
        needed = ratings.union(layout.plain, named, reading.beside.read)  # what is a path is looked up row by row
        plain_N = np.full(batch.num_rows, table.is_valid and needed <= names & reading.decoded)

        def narrow(is_plain: Callable[[pa.Array], Mask], columns: set[str] | frozenset[str] | tuple[str, ...]) -> None:
            for name in columns:
                if plain_N.any():
                    np.logical_and(plain_N, is_plain(batch.column(name)), out=plain_N)

        narrow(_are_texts, layout.plain)
        narrow(_are_empty, (empty | reading.beside.read) & names)
        narrow(_are_ratings, ratings)
        narrow(_are_names, named)
        if not layout.is_single:
            for sides in rated_sides(reading.worths, reading.ratings):
                if plain_N.any():
                    plain_N &= _is_better(*(batch.column(name) for name in sides)) if {*sides} <= names else False
            narrow(_say_no_tie, {STATUS} & names & reading.decoded)
            narrow(_are_no_loss, {MARGIN} & names & reading.decoded)
        if reading.id_column:
            narrow(_are_given, (reading.id_column,))
        narrow(self._are_small, tuple(name for name, most in table.column_bytes.items() if most > self.max_field_bytes))
        return plain_N

    def _are_small(self, column: pa.Array) -> Mask:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            return _lengths(column) <= self.max_field_bytes
        sizes = (len(json_text(value).encode()) for value in column.to_pylist())
        return np.fromiter((size <= self.max_field_bytes for size in sizes), bool, len(column))

    def pairs(self, table: TableBatch, plain_N: Mask, line_N: NDArray[np.int64]) -> PlainPairs:
        """The pairs of the plain rows; `line_N` are the lines of all."""
        batch = table.batch if plain_N.all() else table.batch.take(to_arrow(np.flatnonzero(plain_N)))
        reading, size = self.reading, batch.num_rows
        layout = reading.layout
        assert layout.plain
        texts = [batch.column(name) for name in layout.plain]
        roles = (USER, ASSISTANT, ASSISTANT)[: len(texts)]
        sides = [single_turns(role, column) for role, column in zip(roles, texts, strict=True)]
        if layout.is_single:
            sides.append((pa.nulls(size, MESSAGES), [b"null"] * size))
        prompt_ids = short_hashes(sides[0][1])
        if reading.prompt_id_column:
            prompt_ids = given_or(_names(batch.column(reading.prompt_id_column)).to_pylist(), prompt_ids)
        if reading.id_column:
            pair_ids = _names(batch.column(reading.id_column))
        else:
            key = f"{reading.digest}:{reading.ordinal}:%d:0".encode()
            pair_ids = short_hashes(key % line for line in line_N[plain_N].tolist())
        columns: list[pa.Array] = [
            pair_ids,
            content_ids(*(texts for _, texts in sides)),
            prompt_ids,
            pa.nulls(size, pa.string()),
            *(column for column, _ in sides),
            self._subsets(batch),
            *(pa.nulls(size, pa.string()) for _ in range(2 * self.table.has_response_ids)),
        ]
        for rule in self.table.rated_rules:
            assert reading.ratings
            columns.append(_ratings(batch.column(chosen_column(rule))))
            columns.append(
                _ratings(batch.column(rejected_column(rule)))
                if reading.ratings.has_rejected
                else pa.nulls(size, pa.float32())
            )
        columns += [stored_column(batch, column, reading.used) for column in self.table.passthrough]
        made = pa.Table.from_arrays(columns, schema=self.table.schema)
        identical = 0 if layout.is_single else pc.call_function("equal", texts[1:]).true_count
        return PlainPairs(made, size if layout.is_single else 0, identical, _repeating(texts))

    def _subsets(self, batch: pa.RecordBatch) -> pa.Array:
        if self.reading.subset_column:
            return _names(batch.column(self.reading.subset_column))
        return to_texts([self.reading.subset] * batch.num_rows)


def _repeating(texts: list[pa.Array]) -> int:
    """How many responses begin with their prompt; only those that begin as it are looked at."""
    prompts, *sides = texts
    first = [pc.call_function("utf8_slice_codeunits", [text], pc.SliceOptions(0, LEAST_REPEATED)) for text in texts]
    alike_N = np.ones(len(prompts), dtype=bool)
    for one in first[1:]:
        alike_N &= to_numpy(pc.call_function("equal", [first[0], one]))
    rows = to_arrow(np.flatnonzero(alike_N))
    looked_at = zip(*(text.take(rows).to_pylist() for text in texts), strict=True)
    return sum(len(sides) for prompt, *replies in looked_at if repeats(prompt, replies))


def _are_texts(column: pa.Array) -> Mask:
    return plain_texts(column) if pa.types.is_string(column.type) else np.zeros(len(column), dtype=bool)


def _are_empty(column: pa.Array) -> Mask:
    """Null, or a text without a character; there are other values that say nothing, which are looked at."""
    if pa.types.is_string(column.type):
        return _lengths(column) == 0
    return ~to_numpy(column.is_valid())


def _are_ratings(column: pa.Array) -> Mask:
    """Finite float32."""
    kind = column.type
    if pa.types.is_integer(kind):
        return to_numpy(column.is_valid())
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return np.abs(to_numpy(column)) <= FLOAT32_MAX  # false of NaN, as which null is read
    return np.zeros(len(column), dtype=bool)


def _ratings(column: pa.Array) -> pa.Array:
    """By way of float64, as a number of Python's is rounded."""
    if pa.types.is_float32(column.type):
        return column
    return to_arrow(to_numpy(column).astype(np.float64).astype(np.float32))


def _is_better(chosen: pa.Array, rejected: pa.Array) -> Mask:
    """Where a row rates its chosen response higher, so that it says nothing against its label."""
    if not all(pa.types.is_integer(side.type) or pa.types.is_floating(side.type) for side in (chosen, rejected)):
        return np.zeros(len(chosen), dtype=bool)
    numbers = [to_numpy(side.cast(pa.float64(), safe=False)) for side in (chosen, rejected)]
    return numbers[0] > numbers[1]


def _say_no_tie(column: pa.Array) -> Mask:
    """Nothing at all: what a column of that name says is looked at."""
    return ~to_numpy(column.is_valid())


def _are_no_loss(column: pa.Array) -> Mask:
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return ~(to_numpy(column.cast(pa.float64(), safe=False)) < 0)
    return ~to_numpy(column.is_valid())


def _are_names(column: pa.Array) -> Mask:
    return np.full(len(column), pa.types.is_string(column.type) or pa.types.is_integer(column.type))


def _are_given(column: pa.Array) -> Mask:
    is_text = pa.types.is_string(column.type)
    return to_numpy(column.is_valid()) & (_lengths(column) > 0 if is_text else True)


def _names(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _lengths(column: pa.Array) -> NDArray[np.int32]:
    """Bytes of each text, 0 of null."""
    return to_numpy(pc.call_function("binary_length", [column]), null=0)
