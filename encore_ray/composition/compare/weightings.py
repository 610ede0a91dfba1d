"""All weightings of a comparison, and which pairs each of them gets right.

Axes: W weightings (each gives every pair a margin), E entrants (lines of the comparison: a weighting, or several whose
counts are added up, as of random weights).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.soft_min import SoftMin
from encore_ray.composition.measure.statistics import subset_codes
from encore_ray.composition.select.discrepancy import masked_margins, top_rules

_ROUNDING = 2.0**-53  # of one float64 operation, in proportion


@dataclass(frozen=True, eq=False)
class TopRuleWeights:
    """Weights of the kept rules, of which only so many count for a pair: those that tell its responses most apart."""

    weight_K: NDArray[np.float64]
    num_rules: int


@dataclass(frozen=True, eq=False)
class Weightings:
    """Everything that makes a margin of a pair's scores, in this order along W.

    Attributes:
        weight_LK: linear rewards, a row each of the L weightings that are the same for all pairs.
        soft_mins: of all rules' scores.
        top_rules: weights inside the rules that tell a pair's responses most apart.
        by_subset: weights of the pairs of each subset, of others under None; or None for no such weighting.
        by_mask: weights of all rules of each weighting that is told which rules of a pair count.
        kept: numbers of the rules that may have a weight.
        range_K: width of each rule's range in the units of the differences.
        tolerance_L, pair_tolerance: margins of at most so much are ties: of linear rewards, and of weights that differ
            from pair to pair.
        members_E: for each entrant the weightings whose counts it adds up.
        uniform: which entrant the others are compared with.
        consensus: which entrant weighs by consensus; None where none does.
    """

    weight_LK: NDArray[np.float64]
    soft_mins: tuple[SoftMin, ...]
    top_rules: tuple[TopRuleWeights, ...]
    by_subset: Mapping[str | None, NDArray[np.float64]] | None
    by_mask: tuple[NDArray[np.float64], ...]
    kept: tuple[int, ...]
    range_K: tuple[float, ...]
    tolerance_L: NDArray[np.float64]
    pair_tolerance: float
    members_E: tuple[tuple[int, ...], ...]
    uniform: int
    consensus: int | None = None

    @property
    def num_weightings(self) -> int:
        """W."""
        return (
            len(self.weight_LK)
            + len(self.soft_mins)
            + len(self.top_rules)
            + (self.by_subset is not None)
            + len(self.by_mask)
        )


def wins_and_ties(
    d_KN: NDArray[np.float64],
    weightings: Weightings,
    subsets: Sequence[str | None],
    masks: Sequence[NDArray[np.bool_]],
    soft_margins: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of N pairs each weighting gets right, and which are ties, [W, N] each.

    Args:
        d_KN: signed differences, see `encore_ray.composition.measure.differences`.
        subsets: N names, None where a pair has none.
        masks: for each of `weightings.by_mask` the rules that count, [K, N]; a pair without any is a tie.
        soft_margins: of each of `weightings.soft_mins`, [N].
    """
    win_WN = np.empty((weightings.num_weightings, d_KN.shape[1]), dtype=bool)
    tie_WN = np.empty_like(win_WN)
    num_linear = len(weightings.weight_LK)
    _linear_verdicts(d_KN, weightings, win_WN[:num_linear], tie_WN[:num_linear])
    others = [(margin_N, soft.tolerance) for margin_N, soft in zip(soft_margins, weightings.soft_mins, strict=True)]
    pairwise = _pairwise_margins(d_KN, weightings, subsets, masks)
    others += [(margin_N, weightings.pair_tolerance) for margin_N in pairwise]
    for w, (margin_N, tolerance) in enumerate(others, start=num_linear):
        win_WN[w] = margin_N > tolerance
        tie_WN[w] = np.abs(margin_N) <= tolerance
    return win_WN, tie_WN


def _pairwise_margins(
    d_KN: NDArray[np.float64],
    weightings: Weightings,
    subsets: Sequence[str | None],
    masks: Sequence[NDArray[np.bool_]],
) -> list[NDArray[np.float64]]:
    """Margins of the weightings whose weights differ from pair to pair, [N] each."""
    kept = list(weightings.kept)
    range_K, kept_KN = np.array(weightings.range_K)[kept], d_KN[kept]
    numbers = {top.num_rules for top in weightings.top_rules}
    mask_of = {number: top_rules(kept_KN, number, range_K=range_K) for number in numbers}
    margins = [masked_margins(mask_of[top.num_rules], kept_KN, top.weight_K) for top in weightings.top_rules]
    if weightings.by_subset is not None:
        margin_N = np.empty(d_KN.shape[1])
        for name, rows in rows_of_subsets(subsets).items():
            weight_K = weightings.by_subset.get(name, weightings.by_subset[None])
            margin_N[rows] = _margins_in_order(d_KN[:, rows], weight_K[:, None])
        margins.append(margin_N)
    return margins + [
        masked_margins(mask_KN, d_KN, w_K) for mask_KN, w_K in zip(masks, weightings.by_mask, strict=True)
    ]


def _linear_verdicts(
    d_KN: NDArray[np.float64], weightings: Weightings, win_LN: NDArray[np.bool_], tie_LN: NDArray[np.bool_]
) -> None:
    """Fill in which pairs the linear weightings get right: what the bits of `_margins_in_order` say.

    A matrix product adds in another order, ten times as fast. However K products are added up, the sum is off by less
    than K roundings of the sum of their sizes: a margin that is farther than two such errors from where verdicts change
    has the verdict of the other order. The few that are nearer are added up in order.

    Source: the error of inner products, Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1.
    """
    weight_LK, tolerance_L1 = weightings.weight_LK, weightings.tolerance_L[:, None]
    peak_K = np.maximum(d_KN.max(axis=1, initial=0.0), -d_KN.min(axis=1, initial=0.0))
    error_L1 = 1.5 * (len(peak_K) * _ROUNDING) * (np.abs(weight_LK) @ peak_K)[:, None] + np.finfo(np.float64).tiny
    margin_LN = weight_LK @ d_KN
    np.greater(margin_LN, tolerance_L1, out=win_LN)
    size_LN = np.abs(margin_LN, out=margin_LN)
    np.less_equal(size_LN, tolerance_L1, out=tie_LN)
    beyond_LN = np.abs(np.subtract(size_LN, tolerance_L1, out=size_LN), out=size_LN)
    lines, pairs = np.nonzero(beyond_LN <= 2 * error_L1)
    exact_D = _margins_in_order(d_KN[:, pairs], weight_LK[lines].T)
    win_LN[lines, pairs] = exact_D > weightings.tolerance_L[lines]
    tie_LN[lines, pairs] = np.abs(exact_D) <= weightings.tolerance_L[lines]


def _margins_in_order(d_KN: NDArray[np.float64], weight_KN: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum_k w_k d_k, rules added in order and element by element: the bits of `compose` on any machine.

    Args:
        weight_KN: of each pair; one column for all of them.
    """
    margin_N = np.zeros(d_KN.shape[1])
    for weight_N, d_N in zip(weight_KN, d_KN, strict=True):
        margin_N += weight_N * d_N
    return margin_N


def rows_of_subsets(subsets: Sequence[str | None]) -> dict[str | None, NDArray[np.intp]]:
    """The rows of each named subset, and under None those of none."""
    number, code_N = subset_codes(subsets)
    order_N = np.argsort(code_N, kind="stable")
    first_G = np.searchsorted(code_N[order_N], np.arange(-1, len(number) + 1))
    rows = {name: order_N[first_G[code] : first_G[code + 1]] for code, name in enumerate([None, *number])}
    return {name: row_N for name, row_N in rows.items() if len(row_N)}
