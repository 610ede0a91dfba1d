"""The scores of some rows as arrays, and what is measured of them: histograms, extremes, signed differences.

Wherever the rows come from, a unit of a table or arrays in memory, these functions measure them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.keys import is_heldout
from encore_ray.composition.measure.differences import signed_differences
from encore_ray.composition.measure.side_by_side import Compared
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import Binning, choose_binning
from encore_ray.composition.scales.score_range import ScoreRange
from encore_ray.errors import DataError
from encore_ray.rules import RuleSet


@dataclass(frozen=True, eq=False)
class PairScores:
    """Scores of N rows under K rules.

    Attributes:
        chosen_KN, rejected_KN: columns in rule order, float32 or float64; NaN where there is none.
        has_rejected_N: bool, False for single responses.
        pair_ids: of each row, for messages.
        keys: resampling key of each row: prompt_id, else group_id, else pair_id.
        subsets: subset of each row, None where a row has none; or None where no row has one.
    """

    chosen_KN: Sequence[NDArray[np.floating]]
    rejected_KN: Sequence[NDArray[np.floating]]
    has_rejected_N: NDArray[np.bool_]
    pair_ids: Sequence[str]
    keys: Sequence[str]
    subsets: Sequence[str | None] | None

    def differences(self, row_N: NDArray[np.bool_], *, rules: RuleSet, score_range: ScoreRange) -> NDArray[np.float64]:
        """`signed_differences` of some of the pairs, [K, P]."""
        return signed_differences(
            [scores_N[row_N] for scores_N in self.chosen_KN],
            [scores_N[row_N] for scores_N in self.rejected_KN],
            rules=rules,
            score_range=score_range,
        )

    def calibration_differences(self, *, rules: RuleSet, score_range: ScoreRange) -> NDArray[np.float64]:
        """`signed_differences` of the pairs that weights may be learned from, [K, P]."""
        return self.differences(self.has_rejected_N & ~is_heldout(self.keys), rules=rules, score_range=score_range)


def measure_statistics(
    scores: PairScores,
    rules: RuleSet,
    binnings: Sequence[Binning],
    *,
    clip: bool,
    with_products: bool = False,
    compared: Compared | None = None,
) -> RuleStatistics:
    """What weights are computed from; see `RuleStatistics.measure`."""
    return RuleStatistics.measure(
        scores.chosen_KN,
        scores.rejected_KN,
        has_rejected_N=scores.has_rejected_N,
        rules=rules,
        binnings=binnings,
        pair_ids=scores.pair_ids,
        keys=scores.keys,
        subsets=scores.subsets,
        clip=clip,
        with_products=with_products,
        compared=compared,
    )


@dataclass(frozen=True, eq=False)
class ScoreExtremes:
    """Smallest and largest finite score of every rule; merges with ``+``."""

    low_K: NDArray[np.float64]
    high_K: NDArray[np.float64]

    @classmethod
    def of(cls, scores: PairScores) -> "ScoreExtremes":
        both = [np.concatenate(sides) for sides in zip(scores.chosen_KN, scores.rejected_KN, strict=True)]
        finite = [score_M[np.isfinite(score_M)] for score_M in both]
        return cls(
            np.array([score_M.min(initial=np.inf) for score_M in finite]),
            np.array([score_M.max(initial=-np.inf) for score_M in finite]),
        )

    def __add__(self, other: "ScoreExtremes") -> "ScoreExtremes":
        return ScoreExtremes(np.minimum(self.low_K, other.low_K), np.maximum(self.high_K, other.high_K))

    def binnings(self, rules: RuleSet, *, num_bins: int | None) -> list[Binning]:
        """Equal bins between the extremes of each rule; DataError where one has a single value, or none."""
        constant = [rule.name for rule, wide in zip(rules, self.low_K < self.high_K, strict=True) if not wide]
        if constant:
            raise DataError(
                f"Bins over the observed range need two different scores; {', '.join(constant)} has one value or none. "
                "Use the declared scales."
            )
        return [
            choose_binning(rule, num_bins=num_bins, observed=(float(low), float(high)))
            for rule, low, high in zip(rules, self.low_K, self.high_K, strict=True)
        ]
