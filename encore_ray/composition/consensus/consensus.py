"""The consensus of rules: how far each of them goes with what all of them have in common, told without a label.

Rules that measure one quality, each with an error of its own, agree with each other by as much as each agrees with
that quality: R_jk = l_j l_k. So the loadings l tell signal from noise where entropy cannot, and weigh the rules. How
well that model fits tells when not to trust it. What it cannot see: a nuisance that all rules share, as length or
style, is a consensus too, and so is noise that some rules share.

Sources: ranking classifiers without labels, Parisi, Strino, Nadler and Kluger, PNAS 2014; factor scores, Bartlett 1937.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.consensus.near_duplicates import near_duplicates
from encore_ray.composition.consensus.one_factor import LARGEST, fit_one_factor

MIN_EXPLAINED = 0.9  # of the squared correlations, for one direction to be shared
MIN_GROUPS = 5  # with four or fewer almost any correlations fit


@dataclass(frozen=True, eq=False)
class Consensus:
    """What the differences of K rules have in common.

    Attributes:
        num_pairs: pairs of responses that it was told by.
        loading_K: correlation of each rule with the common factor, that of its group; NaN for a rule whose scores never
            differ.
        deviation_K: root mean square of each rule's difference, in composed units.
        r_KK: correlations about zero, polarity applied; NaN for a rule whose scores never differ.
        groups: near-duplicates, by numbers of rules; every rule that varies is in one, often alone.
        spread_G: root mean square of the mean of each group's standardised differences, at most 1.
        explained: share of the squared correlations between groups that one factor explains; None where there are none.
    """

    num_pairs: int
    loading_K: tuple[float, ...]
    deviation_K: tuple[float, ...]
    r_KK: NDArray[np.float64]
    groups: tuple[tuple[int, ...], ...]
    spread_G: tuple[float, ...]
    explained: float | None

    @property
    def num_groups(self) -> int:
        return len(self.groups)

    @property
    def trusted(self) -> bool:
        """Whether the rules share one direction, as far as five or more groups of them can tell."""
        return self.num_groups >= MIN_GROUPS and self.explained is not None and self.explained >= MIN_EXPLAINED

    @property
    def clipped_K(self) -> tuple[bool, ...]:
        """Which loadings ended at the largest one that is allowed."""
        return tuple(abs(loading) >= LARGEST for loading in self.loading_K)

    @property
    def weight_K(self) -> NDArray[np.float64]:
        """Weights of the factor scores, >= 0 and of sum 1, trusted or not: l / (1 - l^2) over the deviation.

        A group's weight is shared equally among the standardised differences of its rules. A negative loading gives
        weight 0, and so does a rule whose scores never differ. All 0 where no loading is above 0.
        """
        share_K = [0.0] * len(self.loading_K)
        for group, spread in zip(self.groups, self.spread_G, strict=True):
            loading = max(self.loading_K[group[0]], 0.0)
            for k in group:
                share_K[k] = loading / (1 - loading * loading) / spread / len(group) / self.deviation_K[k]
        total = math.fsum(share_K)
        return np.array([share / total for share in share_K] if total > 0 else share_K)

    def weigh(self, *, force: bool) -> NDArray[np.float64]:
        """`weight_K` where they are trusted, or forced; else, or where they are all 0, equal weights of what varies."""
        weight_K = self.weight_K
        if (self.trusted or force) and weight_K.any():
            return weight_K
        varies_K = np.array(self.deviation_K) > 0
        if not varies_K.any():
            varies_K[:] = True
        return varies_K / np.count_nonzero(varies_K)

    @property
    def residual_KK(self) -> NDArray[np.float64]:
        """R - l l^T; NaN inside a group, on the diagonal, and for a rule whose scores never differ."""
        loading_K = np.array(self.loading_K)
        left_KK = self.r_KK - loading_K[:, None] * loading_K
        for group in self.groups:
            left_KK[np.ix_(group, group)] = np.nan
        return left_KK


def find_consensus(
    moment_KK: NDArray[np.float64], *, num_pairs: int, groups: Sequence[Sequence[int]] | None = None
) -> Consensus:
    """The consensus of K rules.

    Args:
        moment_KK: mean products of the rules' differences, polarity applied, in composed units.
        num_pairs: over which, 1 or more.
        groups: near-duplicates, of the rules that vary; None: they are found.
    """
    deviation_K = np.sqrt(np.diag(moment_KK))
    r_KK = _correlations(moment_KK)
    live = np.flatnonzero(deviation_K > 0)
    if groups is None:
        found = near_duplicates(r_KK[np.ix_(live, live)])
        groups = [tuple(int(live[k]) for k in group) for group in found]
    spread_G, r_GG = _group_correlations(r_KK, groups)
    loading_K, explained = np.full(len(moment_KK), np.nan), None
    if groups:
        # In an order that does not depend on the rules' own: permuting rules permutes the loadings, to the last bit.
        order_G = sorted(range(len(groups)), key=lambda g: math.fsum(r_GG[g]))
        fit = fit_one_factor(r_GG[np.ix_(order_G, order_G)][None])
        for g, loading in zip(order_G, fit.loading_BG[0], strict=True):
            loading_K[list(groups[g])] = loading
        explained = float(fit.explained_B[0])
    return Consensus(
        num_pairs=num_pairs,
        loading_K=tuple(loading_K.tolist()),
        deviation_K=tuple(deviation_K.tolist()),
        r_KK=r_KK,
        groups=tuple(map(tuple, groups)),
        spread_G=spread_G,
        explained=None if explained is None or math.isnan(explained) else explained,
    )


def _correlations(moment_KK: NDArray[np.float64]) -> NDArray[np.float64]:
    """M_jk / sqrt(M_jj M_kk), exactly 1 for copies; NaN for a rule whose scores never differ."""
    square_K = np.diag(moment_KK)
    unit_K = 2.0 ** -(np.frexp(square_K)[1] // 2)  # so that no product of two squares overflows
    square_K, product_KK = square_K * unit_K * unit_K, moment_KK * unit_K[:, None] * unit_K
    size_KK = np.sqrt(square_K[:, None] * square_K)
    r_KK = np.divide(product_KK, size_KK, out=np.full_like(size_KK, np.nan), where=size_KK > 0)
    return np.clip(r_KK, -1.0, 1.0)


def _group_correlations(
    r_KK: NDArray[np.float64], groups: Sequence[Sequence[int]]
) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    """Of the means of the groups' standardised differences: root mean squares, and correlations."""
    # `mean` rounds once: copies of a rule go with another one exactly as the rule alone does.
    mean_GG = np.array([[mean(r_KK[np.ix_(a, b)].ravel().tolist()) for b in groups] for a in groups])
    mean_GG = mean_GG.reshape(len(groups), len(groups))
    square_G = np.diag(mean_GG)
    return tuple(np.sqrt(square_G).tolist()), mean_GG / np.sqrt(square_G[:, None] * square_G)
