"""One rule's joint histogram of chosen and rejected scores and what else `weigh` needs, exact and mergeable.

A part of the corpus is measured at a time, so small that the arrays in between stay in the processor's caches, and so
large that adding up tables costs little beside counting them. What is counted of each score depends on that score
alone, and all sums are exact: how the corpus is cut into parts changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.inference.jackknife import NUM_BUCKETS
from encore_ray.composition.measure.cross_counts import CrossCounter
from encore_ray.composition.measure.problems import Offenders, ScoreProblems
from encore_ray.composition.scales.binning import Binning, snap
from encore_ray.composition.scales.ties import tie_tolerance
from encore_ray.composition.sums.exact import ExactSum, PowerSums
from encore_ray.rules import FLOAT32_MAX, Rule

MAX_DISTINCT = 64
PART_ROWS = 65_536
_PROBE = 80  # a continuous score shows more than 64 values within so many

Name = Callable[[NDArray[np.intp]], list[str]]


@dataclass(frozen=True, eq=False)
class RuleCounts:
    """One rule's counts; ``+`` is exact, associative and commutative.

    Attributes:
        rule, binning: what was counted, in which cells.
        joint_LL: int64, pairs with the chosen response in cell i and the rejected in cell j.
        single_L: int64, single responses a cell.
        bucket_JL: int64, all responses a cell of each bucket of prompts.
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
    bucket_JL: NDArray[np.int64]
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
            bucket_JL=self.bucket_JL + other.bucket_JL,
            tally=self.tally + other.tally,
            num_active=self.num_active + other.num_active,
            sum_d=self.sum_d + other.sum_d,
            sum_squared_d=self.sum_squared_d + other.sum_squared_d,
            num_clipped=self.num_clipped + other.num_clipped,
            num_off_level=self.num_off_level + other.num_off_level,
            distinct=_union(self.distinct, other.distinct),
            problems=self.problems + other.problems,
        )


@dataclass(frozen=True, eq=False)
class MeasuredRule:
    """One rule's counts and what else others make of its scores.

    Attributes:
        cell_AP: the cell of each score, for counting by group.
        score_AP: the scores in float64, ratings that are a declared level as that level; None where all of them are the
            level of their cell.
    """

    counts: RuleCounts
    cell_AP: NDArray[np.int32]
    score_AP: NDArray[np.float64] | None

    @property
    def score_or_difference_P(self) -> NDArray[np.float64]:
        """d = chosen - rejected of pairs, the score of single responses: in score units, without polarity."""
        score_AP = self.score_AP
        if score_AP is None:
            score_AP = np.asarray(self.counts.binning.levels)[self.cell_AP]
        return score_AP[0] - score_AP[1] if len(score_AP) == 2 else score_AP[0]


def measure_rule(
    rule: Rule,
    score_AP: NDArray[np.float64],
    *,
    bucket_AP: NDArray[np.int32],
    name: Name,
    binning: Binning,
    clip: bool,
    counter: CrossCounter,
) -> MeasuredRule:
    """Count one rule's scores of P pairs or of P single responses.

    Args:
        score_AP: of the chosen (A = 0) and the rejected (A = 1) response of pairs, or one row of single responses.
        bucket_AP: bucket of the resampling key of each response.
        name: the pair_ids of some of the P, by their numbers; for messages only.
        clip: count scores out of range in the end cells whatever the rule says.
        counter: by which tables are counted.

    Returns:
        Counts; bad scores are recorded in ``counts.problems``, never raised and never dropped.
    """
    lo, hi = float(score_AP.min(initial=np.inf)), float(score_AP.max(initial=-np.inf))
    problems, num_clipped = ScoreProblems(observed_lo=lo, observed_hi=hi), 0
    are_covered = binning.covers(lo, hi) and max(-lo, hi) <= FLOAT32_MAX  # nor is NaN covered
    if not are_covered:
        clipped = clip or rule.out_of_range == "clip"
        score_AP, problems, num_clipped = _examine(score_AP, name, binning, clipped=clipped)

    cell_AP = binning.assign(score_AP, are_within=binning.lo <= lo and hi <= binning.hi)
    joint_LL, single_L = _count_cells(cell_AP, binning.num_cells, counter)
    num_off_level = 0
    are_levels = _are_levels(score_AP, cell_AP, binning)
    if are_levels:
        level_L = np.asarray(binning.levels)
        differences = _Differences.of((level_L[:, None] - level_L).ravel(), rule, binning, count_D=joint_LL.ravel())
    else:
        score_AP = snap(score_AP, scale=rule.scale)
        d_P = score_AP[0] - score_AP[1] if len(score_AP) == 2 else np.zeros(0)
        bound = max(hi - lo, 0.0) if are_covered and rule.scale.levels is None else None
        differences = _Differences.of(d_P, rule, binning, bound=bound)
        if rule.scale.levels is not None:
            num_off_level = int(np.count_nonzero(~np.isin(score_AP, rule.scale.levels)))
    counts = RuleCounts(
        rule=rule,
        binning=binning,
        joint_LL=joint_LL,
        single_L=single_L,
        bucket_JL=counter.count(bucket_AP.ravel(), cell_AP.ravel(), (NUM_BUCKETS, binning.num_cells)),
        tally=differences.tally,
        num_active=differences.num_active,
        sum_d=differences.sums.total,
        sum_squared_d=differences.sums.squares,
        num_clipped=num_clipped,
        num_off_level=num_off_level,
        distinct=frozenset() if rule.scale.levels is not None else _distinct(score_AP),
        problems=problems,
    )
    return MeasuredRule(counts, cell_AP, None if are_levels else score_AP)


@dataclass(frozen=True)
class _Differences:
    """What the differences d = chosen - rejected of pairs tell; the tally with polarity applied."""

    tally: Tally
    num_active: int
    sums: PowerSums

    @classmethod
    def of(
        cls,
        d_D: NDArray[np.float64],
        rule: Rule,
        binning: Binning,
        *,
        count_D: NDArray[np.int64] | None = None,
        bound: float | None = None,
    ) -> "_Differences":
        """Of one difference a pair, or of each difference so many times; none is larger than `bound`, where known."""

        def count(which_D: NDArray[np.bool_]) -> int:
            return int(np.count_nonzero(which_D) if count_D is None else count_D[which_D].sum())

        num_pairs = len(d_D) if count_D is None else int(count_D.sum())
        tolerance = tie_tolerance(rule.scale.width)
        higher, lower = count(d_D > tolerance), count(d_D < -tolerance)
        tally = Tally(higher, num_pairs - higher - lower, lower)
        return cls(
            tally=tally if rule.polarity > 0 else tally.mirrored,
            num_active=count(np.abs(d_D) >= binning.step - 2 * binning.tolerance),
            sums=PowerSums.of(d_D, count_D, bound=bound),
        )


def _examine(
    score_AP: NDArray[np.float64], name: Name, binning: Binning, *, clipped: bool
) -> tuple[NDArray[np.float64], ScoreProblems, int]:
    """Scores with the low end in place of what is not finite, what cannot be used, and how many were clipped."""
    finite_AP = np.abs(score_AP) <= FLOAT32_MAX
    observed = score_AP[finite_AP]
    score_AP = np.where(finite_AP, score_AP, binning.lo)  # NaN and infinities would fall silently into the first cell
    outside_AP = binning.outside(score_AP)
    problems = ScoreProblems(
        non_finite=Offenders.of(name(np.nonzero(~finite_AP)[1])),
        out_of_range=Offenders() if clipped else Offenders.of(name(np.nonzero(outside_AP)[1])),
        observed_lo=float(observed.min(initial=np.inf)),
        observed_hi=float(observed.max(initial=-np.inf)),
    )
    return score_AP, problems, int(np.count_nonzero(outside_AP)) if clipped else 0


def _count_cells(
    cell_AP: NDArray[np.int32], size: int, counter: CrossCounter
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Joint counts of pairs and counts of single responses, one of the two all 0."""
    if len(cell_AP) == 1:
        return np.zeros((size, size), dtype=np.int64), np.bincount(cell_AP[0], minlength=size)
    return counter.count(cell_AP[0], cell_AP[1], (size, size)), np.zeros(size, dtype=np.int64)


def _are_levels(score_AP: NDArray[np.float64], cell_AP: NDArray[np.int32], binning: Binning) -> bool:
    """Whether all scores are the level of their cell, as float32 keeps it: their differences follow from the counts."""
    if binning.levels is None:
        return False
    return bool((np.abs(score_AP - np.asarray(binning.levels)[cell_AP]) <= binning.tolerance).all())


def _distinct(score_AP: NDArray[np.float64]) -> frozenset[float] | None:
    if len(set(score_AP[0, :_PROBE].tolist())) > MAX_DISTINCT:
        return None
    values = np.unique(score_AP)
    return frozenset(values.tolist()) if len(values) <= MAX_DISTINCT else None


def _union(a: frozenset[float] | None, b: frozenset[float] | None) -> frozenset[float] | None:
    union = None if a is None or b is None else a | b
    return union if union is not None and len(union) <= MAX_DISTINCT else None
