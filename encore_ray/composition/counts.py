"""Everything `weigh` needs to know of one rule's scores, counted exactly and mergeable."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.agreement import Tally
from encore_ray.composition.binning import Binning, snap
from encore_ray.composition.exact import ExactSum
from encore_ray.composition.problems import FLOAT32_MAX, Offenders, ScoreProblems
from encore_ray.rules import Rule

TIE_TOLERANCE = 1e-12
MAX_DISTINCT = 64
_PROBE = 1024  # a continuous score shows more than 64 values within so many


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


@dataclass(frozen=True, eq=False)
class MeasuredRule:
    """One rule's counts and, for counting by group, the cell of each response."""

    counts: RuleCounts
    cell_R: NDArray[np.int64]


def measure_rule(
    rule: Rule,
    *,
    chosen_N: ArrayLike,
    rejected_N: ArrayLike,
    is_pair_N: NDArray[np.bool_],
    pair_ids: Sequence[str],
    binning: Binning,
    clip: bool,
) -> MeasuredRule:
    """Count one rule's scores of one part of the corpus.

    Args:
        chosen_N, rejected_N: scores, float32 or float64; rejected is read only where `is_pair_N`.
        clip: count scores out of range in the end cells whatever the rule says.

    Returns:
        Counts; bad scores are recorded in ``counts.problems``, never raised and never dropped. Responses are in the
        order of `chosen_N`, then of the rejected ones.
    """
    pair_N = np.flatnonzero(is_pair_N)
    num_rows = len(is_pair_N)
    score_R = np.concatenate([np.asarray(chosen_N), np.asarray(rejected_N)[pair_N]]).astype(np.float64)
    row_R = np.concatenate([np.arange(num_rows), pair_N])

    # NaN and infinities first: floor and cast would put them silently into the first cell.
    finite_R = np.abs(score_R) <= FLOAT32_MAX
    all_finite = bool(finite_R.all())
    if not all_finite:
        score_R = np.where(finite_R, score_R, binning.lo)
    outside_R = binning.outside(score_R)
    num_outside = int(outside_R.sum())
    clipped = clip or rule.out_of_range == "clip"
    observed_R = score_R if all_finite else score_R[finite_R]
    problems = ScoreProblems(
        non_finite=Offenders() if all_finite else _offenders(~finite_R, row_R, pair_ids),
        out_of_range=Offenders() if clipped or not num_outside else _offenders(outside_R, row_R, pair_ids),
        observed_lo=float(observed_R.min(initial=np.inf)),
        observed_hi=float(observed_R.max(initial=-np.inf)),
    )

    cell_R = binning.assign(score_R)
    cell_pair_P = cell_R[:num_rows][pair_N] * binning.num_cells + cell_R[num_rows:]
    score_R = snap(score_R, scale=rule.scale)
    d_P = score_R[:num_rows][pair_N] - score_R[num_rows:]
    size = binning.num_cells
    return MeasuredRule(
        RuleCounts(
            rule=rule,
            binning=binning,
            joint_LL=np.bincount(cell_pair_P, minlength=size * size).reshape(size, size),
            single_L=np.bincount(cell_R[:num_rows][~is_pair_N], minlength=size),
            tally=Tally.of(rule.polarity * d_P, tolerance=TIE_TOLERANCE * max(1.0, rule.scale.width)),
            num_active=int((np.abs(d_P) >= binning.step - 2 * binning.tolerance).sum()),
            sum_d=ExactSum.of(d_P),
            sum_squared_d=ExactSum.of_squares(d_P),
            num_clipped=num_outside if clipped else 0,
            num_off_level=_num_off_level(score_R, rule),
            distinct=frozenset() if rule.scale.levels is not None else _distinct(score_R),
            problems=problems,
        ),
        cell_R,
    )


def _offenders(bad_R: NDArray[np.bool_], row_R: NDArray[np.int64], pair_ids: Sequence[str]) -> Offenders:
    return Offenders.of([str(pair_ids[row]) for row in row_R[bad_R].tolist()])


def _num_off_level(snapped_R: NDArray[np.float64], rule: Rule) -> int:
    return 0 if rule.scale.levels is None else int((~np.isin(snapped_R, rule.scale.levels)).sum())


def _distinct(score_R: NDArray[np.float64]) -> frozenset[float] | None:
    values = np.unique(score_R[:_PROBE])
    if len(values) <= MAX_DISTINCT:
        values = np.unique(score_R)
    return frozenset(values.tolist()) if len(values) <= MAX_DISTINCT else None


def _union(a: frozenset[float] | None, b: frozenset[float] | None) -> frozenset[float] | None:
    union = None if a is None or b is None else a | b
    return union if union is not None and len(union) <= MAX_DISTINCT else None
