"""Signed score differences of pairs: what every scheme that looks at pairs is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.scales.binning import snap
from encore_ray.composition.scales.score_range import ScoreRange, score_divisor
from encore_ray.composition.scales.ties import tie_tolerance
from encore_ray.rules import RuleSet


def signed_differences(
    chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
    rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
    *,
    rules: RuleSet,
    score_range: ScoreRange,
) -> NDArray[np.float64]:
    """d_k = polarity_k (chosen_k - rejected_k) in composed units: a margin is sum_k w_k d_k, as `compose` adds it.

    Args:
        chosen_KN, rejected_KN: K columns of the scores of N pairs, in rule order, float32 or float64, finite. Ratings
            that are a declared level are that level in float64.
        score_range: "unit" maps each rule's scale to [0, 1], else scores are taken as they are.

    Returns:
        float64 [K, N].
    """
    d_KN: list[NDArray[np.float64]] = []
    for rule, chosen_N, rejected_N in zip(rules, chosen_KN, rejected_KN, strict=True):
        d_N = snap(chosen_N, scale=rule.scale) - snap(rejected_N, scale=rule.scale)
        d_KN.append(rule.polarity * (d_N / score_divisor(rule.scale, score_range)))
    return np.stack(d_KN)


def signed_shares(score_KN: Sequence[ArrayLike] | NDArray[np.floating], *, rules: RuleSet) -> NDArray[np.float64]:
    """polarity_k (score_k - lo_k) / width_k of N responses, float64 [K, N]: higher is better, whatever the scale."""
    shares = [
        rule.polarity * ((snap(score_N, scale=rule.scale) - rule.scale.lo) / rule.scale.width)
        for rule, score_N in zip(rules, score_KN, strict=True)
    ]
    return np.stack(shares)


@dataclass(frozen=True)
class RuleAgreement:
    """How each of K rules alone agrees with the labels of some pairs; merges with ``+``."""

    num_pairs: int
    tally_K: tuple[Tally, ...]

    @classmethod
    def of(cls, d_KN: NDArray[np.float64], *, rules: RuleSet, score_range: ScoreRange) -> "RuleAgreement":
        """Count `signed_differences`; ties are those of `RuleCounts`."""
        tallies = [
            Tally.of(d_N, tolerance=tie_tolerance(rule.scale.width) / score_divisor(rule.scale, score_range))
            for rule, d_N in zip(rules, d_KN, strict=True)
        ]
        return cls(d_KN.shape[1], tuple(tallies))

    @property
    def accuracy_K(self) -> tuple[float, ...] | None:
        """Share of wins, a tie counting as half; None without pairs."""
        if not self.num_pairs:
            return None
        return tuple((tally.wins + tally.ties / 2) / tally.num_pairs for tally in self.tally_K)

    def __add__(self, other: "RuleAgreement") -> "RuleAgreement":
        return RuleAgreement(
            self.num_pairs + other.num_pairs,
            tuple(a + b for a, b in zip(self.tally_K, other.tally_K, strict=True)),
        )
