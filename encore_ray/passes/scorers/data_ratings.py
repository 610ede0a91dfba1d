"""Ratings in the data as scores: columns of pairs/, with lengths in characters instead of tokens."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes.scorers.outputs import CARRIED, TEXTS, UnitOutputs, without
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.passes.scorers.score_unit import ScoreUnit
from encore_ray.rules import RuleSet
from encore_ray.schema import CHOSEN, CHOSEN_CHARS, REJECTED, REJECTED_CHARS, chosen_column, rejected_column

FACTS = {"model": "ratings in the data"}


class DataRatings:
    """The ratings of one unit as its outputs.

    Args:
        rules: of the ratings.
    """

    def __init__(self, rules: RuleSet):
        self._rules = rules

    def __call__(self, unit: TableUnit, left_out: Sequence[LeftOut]) -> UnitOutputs:
        sides = [(chosen_column(name), rejected_column(name)) for name in self._rules.names]
        table = unit.read([*CARRIED, *TEXTS, *(column for pair in sides for column in pair)])
        kept = without(table, left_out)
        columns = [[to_numpy(kept.column(name).cast(pa.float32())) for name in pair] for pair in sides]
        scores_N2K = np.array(columns, dtype=np.float32).transpose(2, 1, 0)
        return UnitOutputs(unit, table, left_out, scores_N2K, FACTS, columns=length_columns(kept))


def length_columns(pairs: pa.Table) -> dict[str, pa.Array]:
    """The length of both responses in characters; null where there is none."""
    single = to_numpy(pairs.column(REJECTED).is_null())
    return {
        CHOSEN_CHARS: pa.array(_num_chars(pairs.column(CHOSEN)), pa.int32()),
        REJECTED_CHARS: pa.array(_num_chars(pairs.column(REJECTED)), pa.int32(), mask=single),
    }


def _num_chars(column: pa.ChunkedArray) -> list[int]:
    """Characters of each response; 0 where there is none."""
    return [sum(len(message["content"]) for message in messages or ()) for messages in column.to_pylist()]


def unit_by_ratings(rules: RuleSet) -> ScoreUnit:
    """The work of the score pass where the data brings its own ratings."""
    return ScoreUnit(DataRatings(rules), ScoreWriter(rules))
