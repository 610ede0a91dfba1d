"""What scores under a rule are seen to be: their range, their levels, and on which side they are higher."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.folder.reading.score_block import stream_scores
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.rules import RuleSet
from encore_ray.schema import chosen_column, rejected_column

MOST_LEVELS = 11  # as from 0 to 10: more values make a range


@dataclass(frozen=True)
class Observed:
    """Scores of one rule.

    Attributes:
        name: of the rule.
        low, high: the smallest and the largest finite one; None where there is none.
        levels: all values, ascending, where they are few and whole numbers; None for others.
        num_higher, num_lower: pairs whose chosen response has the higher, or the lower score.
    """

    name: str
    low: float | None
    high: float | None
    levels: tuple[float, ...] | None
    num_higher: int
    num_lower: int

    @property
    def is_worse(self) -> bool:
        """Whether rejected responses score higher, by far more pairs than a coin would give."""
        return self.num_lower - self.num_higher > 3 * (self.num_higher + self.num_lower) ** 0.5


def observe_units(units: Iterable[TableUnit], rules: RuleSet) -> list[Observed]:
    """Look at the scores of a table under rules of which only the names count; DataError as of `stream_scores`."""
    seen = [_Seen() for _ in rules]
    for unit in units:
        with stream_scores(unit, rules) as block:
            for each, chosen_N, rejected_N in zip(seen, block.chosen_KN, block.rejected_KN, strict=True):
                each.add(chosen_N, rejected_N)
    return [each.of(name) for each, name in zip(seen, rules.names, strict=True)]


def observe(tables: Iterable[pa.Table], names: Sequence[str]) -> list[Observed]:
    """Look at the scores of some rules in tables with the columns chosen__<rule> and rejected__<rule>."""
    seen = {name: _Seen() for name in names}
    for table in tables:
        for name in names:
            sides = [to_numpy(table.column(side(name)).cast(pa.float64())) for side in (chosen_column, rejected_column)]
            seen[name].add(*sides)
    return [each.of(name) for name, each in seen.items()]


class _Seen:
    """Sums over tables."""

    def __init__(self) -> None:
        self.values: set[float] | None = set()
        self.low, self.high = float("inf"), float("-inf")
        self.num_higher = self.num_lower = 0

    def add(self, chosen_N: np.ndarray, rejected_N: np.ndarray) -> None:
        all_R = np.concatenate([chosen_N, rejected_N])
        all_R = all_R[np.isfinite(all_R)]
        if all_R.size:
            self.low, self.high = min(self.low, float(all_R.min())), max(self.high, float(all_R.max()))
        if self.values is not None:
            self.values |= set(np.unique(all_R)[: MOST_LEVELS + 1].tolist())
            if len(self.values) > MOST_LEVELS or any(value != int(value) for value in self.values):
                self.values = None
        self.num_higher += int((chosen_N > rejected_N).sum())
        self.num_lower += int((chosen_N < rejected_N).sum())

    def of(self, name: str) -> Observed:
        is_empty = self.low > self.high
        levels = tuple(sorted(self.values)) if self.values else None
        return Observed(
            name,
            None if is_empty else self.low,
            None if is_empty else self.high,
            levels,
            self.num_higher,
            self.num_lower,
        )
