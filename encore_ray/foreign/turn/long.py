"""A table with a row a score or a row a response, turned into a row a pair.

Rows of one pair may lie anywhere. So a table of more than `PARTITION_SCORES` is first put in partitions by a
hash of the id, of which one at a time is in memory; in a smaller one pairs keep the order of the table.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from encore_ray.arrays import in_one_piece, to_arrow, to_numpy
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.columns import first_texts
from encore_ray.foreign.form.forms import Long, rule_names
from encore_ray.foreign.form.sides import side_values
from encore_ray.foreign.row_names import row_called
from encore_ray.foreign.values import Texts, as_ids, as_scores
from encore_ray.schema import PAIR_ID, chosen_column, rejected_column
from encore_ray.shell import again
from encore_ray.storage import Folder
from encore_ray.visible import short

PARTITION_SCORES = 1 << 23
_PARTITIONS = 64
_RULE, _SIDE, _SCORE = "rule", "side", "score"


@dataclass
class Scores:
    """What the scores of a table are so far.

    Attributes:
        form: of the table.
        rules: names that are known beforehand.
        names: of the rules, by what the table calls them, as they first occur.
        num_without: rows without a score.
        types: of scores.
    """

    form: Long
    rules: Sequence[str] = ()
    names: dict[str, str] = field(default_factory=dict)
    num_without: int = 0
    types: set[pa.DataType] = field(default_factory=set)

    def read(self, rows: pa.Table, *, texts: Texts | None, first_row: int) -> pa.Table:
        """The scores of some rows, each with numbers for rule and side; those that are missing are left out.

        Raises:
            ConfigError: `side` says something else than chosen and rejected. DataError: a rule or an id is missing, a
                score is no number.
        """
        form = self.form
        columns = {name: in_one_piece(as_ids(rows.column(column), column)) for name, column in form.ids.items()}
        self._require(columns[PAIR_ID], form.ids[PAIR_ID], first_row)
        columns[_SIDE] = self._sides(rows.column(form.side))
        parts: list[pa.Table] = []
        has_any_N = np.zeros(rows.num_rows, dtype=bool)
        for label, column in form.scores.items():
            score = as_scores(rows.column(column), column, texts, first_row=first_row)
            self.types.add(score.type)
            table = pa.table({**columns, _RULE: self._rules(self._labels(rows, label, first_row)), _SCORE: score})
            parts.append(table.filter(score.is_valid()))
            has_any_N |= to_numpy(score.is_valid())
        self.num_without += int(np.count_nonzero(~has_any_N))
        return pa.concat_tables(parts, promote_options="permissive")

    def _labels(self, rows: pa.Table, label: str, first_row: int) -> pa.Array:
        """What the table calls the rule of each score of a column."""
        if self.form.rule is None:
            return pa.array([label] * rows.num_rows, pa.string())
        found = in_one_piece(as_ids(rows.column(self.form.rule), self.form.rule))
        self._require(found, self.form.rule, first_row)
        return found

    @staticmethod
    def _require(column: pa.Array, name: str, first_row: int) -> None:
        """DataError where a row does not tell its pair, or its rule."""
        if column.null_count:
            row = row_called(first_row + int(np.flatnonzero(~to_numpy(column.is_valid()))[0]) + 1)
            raise DataError(f"column {short(name)}, {row}: there is none, and a score must tell its {name}.")

    def _rules(self, column: pa.Array) -> pa.Array:
        encoded = column.dictionary_encode()
        labels = encoded.dictionary.to_pylist()
        new = [label for label in labels if label not in self.names]
        self.names |= rule_names(new, self.rules, taken=self.names.values())
        order = list(self.names)
        place_R = np.array([order.index(label) for label in labels], dtype=np.int32)
        return to_arrow(place_R[to_numpy(encoded.indices)])

    def _sides(self, column: pa.ChunkedArray) -> pa.Array:
        encoded = in_one_piece(as_ids(column, self.form.side)).dictionary_encode()
        labels = encoded.dictionary.to_pylist()
        numbers = []
        for label in labels:
            said = label.strip().lower()
            numbers.append(next((n for n, words in enumerate(self.form.sides) if said in words), -1))
        if encoded.null_count or -1 in numbers:
            raise ConfigError(f"column {short(self.form.side)} says {self._other_side(encoded, labels, numbers)}")
        return to_arrow(np.array(numbers, dtype=np.int8)[to_numpy(encoded.indices)])

    def _other_side(self, encoded: pa.DictionaryArray, labels: Sequence[str], numbers: Sequence[int]) -> str:
        """The end of a sentence on what is no side, with what says which is which."""
        other = "nothing" if encoded.null_count else short(labels[numbers.index(-1)])
        known = f"{self.form.sides[0][0]} nor {(*self.form.sides[1], 'a second response')[0]}"
        if (likely := side_values(labels)) is not None:
            chosen, rejected = likely
            line = again(chosen=chosen, rejected=rejected)
            return f"{other}, which is neither {known}; if {short(chosen)} is the chosen response, say so:\n  {line}"
        one, two = labels if len(labels) == 2 else ("VALUE", "VALUE")
        ways = [again(chosen=one, rejected=two), *([again(chosen=two, rejected=one)] if len(labels) == 2 else [])]
        return "\n  ".join([f"{other}, which is neither {known}. Say which is which, as in", *ways])


def pairs(parts: Sequence[pa.Table], scores: Scores) -> pa.Table:
    """The pairs of one partition, in the order in which they first occur.

    Raises:
        DataError: a pair has two scores of the same rule and side.
    """
    table = pa.concat_tables(parts)
    if not table.num_rows:
        return table
    encoded = in_one_piece(table.column(PAIR_ID)).dictionary_encode()
    pair_N = to_numpy(encoded.indices).astype(np.int64)
    num, num_rules = len(encoded.dictionary), len(scores.names)
    place_N = to_numpy(table.column(_RULE)).astype(np.int64) * 2 + to_numpy(table.column(_SIDE))
    cell_N = pair_N * (2 * num_rules) + place_N
    _refuse_twice(cell_N, table, scores)
    kind = np.float32 if scores.types == {pa.float32()} else np.float64
    score_C = np.full(num * 2 * num_rules, np.nan, dtype=kind)
    score_C[cell_N] = to_numpy(table.column(_SCORE)).astype(kind)
    score_PC = score_C.reshape(num, 2 * num_rules)
    _, first_P = np.unique(pair_N, return_index=True)
    columns = {name: table.column(name).take(to_arrow(first_P)) for name in scores.form.ids}
    for number, name in enumerate(scores.names.values()):
        for side, column in enumerate((chosen_column(name), rejected_column(name))):
            value_P = np.ascontiguousarray(score_PC[:, 2 * number + side])
            columns[column] = pa.chunked_array([to_arrow(value_P, null_N=np.isnan(value_P))])
    return pa.table(columns)


def _refuse_twice(cell_N: np.ndarray, table: pa.Table, scores: Scores) -> None:
    order_N = np.argsort(cell_N, kind="stable")
    same = np.flatnonzero(cell_N[order_N][1:] == cell_N[order_N][:-1])
    if same.size:
        row = int(order_N[same[0] + 1])
        pair, rule = table.column(PAIR_ID)[row].as_py(), [*scores.names][table.column(_RULE)[row].as_py()]
        raise DataError(
            f"{same.size:,} scores are there twice, as that of pair {short(pair)} under {short(rule)}: "
            f"each pair has one of a rule and a side. Is {short(scores.form.ids[PAIR_ID])} the id of a pair?"
        )


def partitions(tables: Iterable[pa.Table], scratch: Folder) -> Iterator[Sequence[pa.Table]]:
    """Compact rows in partitions, so that all of a pair are in one.

    Args:
        tables: as of `Scores.read`.
        scratch: folder for partitions, where there are several.
    """
    held: list[pa.Table] = []
    num_held = number = 0
    files: list[list[str]] = [[] for _ in range(_PARTITIONS)]
    for table in tables:
        held.append(table)
        num_held += table.num_rows
        if num_held > PARTITION_SCORES:
            _spill(pa.concat_tables(held), files, scratch, number)
            held, num_held, number = [], 0, number + 1
    if not number:
        yield held
        return
    if held:
        _spill(pa.concat_tables(held), files, scratch, number)
    for names in files:
        yield [scratch.read_table(name) for name in names]
        for name in names:
            scratch.delete(name)


def _spill(table: pa.Table, files: list[list[str]], scratch: Folder, number: int) -> None:
    of_N = first_texts([table.column(PAIR_ID)]).hash_N() % np.uint64(_PARTITIONS)
    for partition, names in enumerate(files):
        rows = table.take(to_arrow(np.flatnonzero(of_N == partition)))
        names.append(scratch.write_table(f"partition-{partition:02d}-{number:06d}", rows).file)
