"""One rule's joint histogram of chosen and rejected scores and what else `weigh` needs, exact and mergeable."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.measure.agreement import Tally
from encore_ray.composition.measure.binning import Binning
from encore_ray.composition.measure.exact import ExactSum
from encore_ray.composition.measure.problems import ScoreProblems
from encore_ray.rules import Rule

MAX_DISTINCT = 64


@dataclass(frozen=True, eq=False)
class RuleCounts:
    """One rule's counts; ``+`` is exact, associative and commutative.

    Attributes:
        rule, binning: what was counted, in which cells.
        joint_LL: int64, pairs with the chosen response in cell i and the rejected in cell j.
        single_L: int64, single responses a cell.
        tally: wins, ties and losses of the rule alone, polarity applied.
        num_active: pairs whose two scores differ by one step or more.
        sum_d, sum_squared_d: of d = chosen - rejected over pairs, in score units, without polarity.
        num_clipped: scores out of range that were counted in an end cell.
        num_off_level: scores that are none of the declared levels; 0 where none are declared.
        distinct: the distinct scores while there are at most 64, else None; empty where levels are declared.
        problems: scores that cannot be used; while there are any, the counts mean nothing.
    """

    rule: Rule
    binning: Binning
    joint_LL: NDArray[np.int64]
    single_L: NDArray[np.int64]
    tally: Tally
    num_active: int
    sum_d: ExactSum
    sum_squared_d: ExactSum
    num_clipped: int
    num_off_level: int
    distinct: frozenset[float] | None
    problems: ScoreProblems

    @property
    def count_L(self) -> NDArray[np.int64]:
        """int64 histogram of all responses, chosen, rejected and single pooled."""
        return self.joint_LL.sum(axis=1) + self.joint_LL.sum(axis=0) + self.single_L

    def __add__(self, other: "RuleCounts") -> "RuleCounts":
        assert (self.rule, self.binning) == (other.rule, other.binning), "counts of different rules or cells"
        return RuleCounts(
            rule=self.rule,
            binning=self.binning,
            joint_LL=self.joint_LL + other.joint_LL,
            single_L=self.single_L + other.single_L,
            tally=self.tally + other.tally,
            num_active=self.num_active + other.num_active,
            sum_d=self.sum_d + other.sum_d,
            sum_squared_d=self.sum_squared_d + other.sum_squared_d,
            num_clipped=self.num_clipped + other.num_clipped,
            num_off_level=self.num_off_level + other.num_off_level,
            distinct=_union(self.distinct, other.distinct),
            problems=self.problems + other.problems,
        )


def _union(a: frozenset[float] | None, b: frozenset[float] | None) -> frozenset[float] | None:
    union = None if a is None or b is None else a | b
    return union if union is not None and len(union) <= MAX_DISTINCT else None
