"""What scores under a rule are seen to be: their range, their levels, and on which side they are higher."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.drafts.strays import Broken, Stray, find_strays
from encore_ray.folder.reading.score_block import stream_scores
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.rules import RuleSet
from encore_ray.schema import chosen_column, rejected_column

MOST_LEVELS = 11  # as from 0 to 10: more values make a range
_MOST_WHOLE = 256  # different whole numbers that are counted
_OTHER = float("inf")  # a score that is no whole number, or one of too many: never a stray

_Cells = tuple[float, float]  # the chosen and the rejected score of a pair


@dataclass(frozen=True)
class Observed:
    """Scores of one rule.

    Attributes:
        name: of the rule.
        low, high: the smallest and the largest finite one, those left out that stand apart; None where there is none.
        levels: the values between, ascending, where all are few and whole numbers; None for others.
        num_higher, num_lower: pairs whose chosen response has the higher, or the lower score; those left out of which a
            score is a stray, which says nothing of either side.
        strays: whole numbers far from all other scores.
    """

    name: str
    low: float | None
    high: float | None
    levels: tuple[float, ...] | None
    num_higher: int
    num_lower: int
    strays: tuple[Stray, ...] = ()

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
        self.whole: Counter[float] | None = Counter()  # of each whole number; None where there are many
        self.broken = Broken()
        self.higher, self.lower = Counter[_Cells](), Counter[_Cells]()  # pairs by their two scores
        self.low, self.high = float("inf"), float("-inf")

    def add(self, chosen_N: np.ndarray, rejected_N: np.ndarray) -> None:
        all_R = np.concatenate([chosen_N, rejected_N])
        all_R = all_R[np.isfinite(all_R)]
        if all_R.size:
            self.low, self.high = min(self.low, float(all_R.min())), max(self.high, float(all_R.max()))
        is_whole_R = all_R == np.rint(all_R)
        if self.whole is not None:
            values, counts = np.unique(all_R[is_whole_R], return_counts=True)
            self.whole.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            self.whole = self.whole if len(self.whole) <= _MOST_WHOLE else None
        broken_R = all_R[~is_whole_R]
        if broken_R.size:
            self.broken += Broken(broken_R.size, float(broken_R.min()), float(broken_R.max()))
        for pairs, is_so_N in ((self.higher, chosen_N > rejected_N), (self.lower, chosen_N < rejected_N)):
            pairs.update(_count_cells(chosen_N[is_so_N], rejected_N[is_so_N], apart=self.whole is not None))

    def of(self, name: str) -> Observed:
        whole = self.whole or {}
        strays = find_strays(whole, self.broken)
        apart = {stray.value for stray in strays if stray.is_apart}
        values = sorted(whole.keys() - apart)
        ends = [*values, self.broken.low, self.broken.high] if apart else [self.low, self.high]
        ends = [end for end in ends if np.isfinite(end)]
        return Observed(
            name,
            min(ends, default=None),
            max(ends, default=None),
            tuple(values) if 0 < len(values) <= MOST_LEVELS and not self.broken.num else None,
            _num_without(self.higher, strays),
            _num_without(self.lower, strays),
            tuple(strays),
        )


def _count_cells(chosen_N: np.ndarray, rejected_N: np.ndarray, *, apart: bool) -> dict[_Cells, int]:
    """How many pairs have which two whole numbers, any other score being `_OTHER`; or just how many there are."""
    if not apart:
        return {(_OTHER, _OTHER): len(chosen_N)}
    cells_M = np.concatenate([chosen_N, rejected_N])
    values, place_M = np.unique(np.where(cells_M == np.rint(cells_M), cells_M, _OTHER), return_inverse=True)
    chosen_place_N, rejected_place_N = np.split(place_M, 2)
    kinds, counts = np.unique(chosen_place_N * len(values) + rejected_place_N, return_counts=True)
    return {
        (float(values[kind // len(values)]), float(values[kind % len(values)])): count
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)
    }


def _num_without(pairs: Counter[_Cells], strays: Sequence[Stray]) -> int:
    values = {stray.value for stray in strays}
    return sum(count for cells, count in pairs.items() if values.isdisjoint(cells))
