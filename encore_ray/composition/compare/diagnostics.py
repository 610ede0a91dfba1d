"""What `compare` measures of each rule beyond the statistics that weights need, by one map-reduce pass.

It tells how far to trust them: other bins, the calibration pairs alone, correlations between rules, and how often each
rule is right in each bucket of prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.hashing.keys import DistinctKeys
from encore_ray.composition.inference.jackknife import buckets_of, sum_buckets
from encore_ray.composition.measure.differences import RuleAgreement
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import Binning, snap
from encore_ray.composition.scales.ties import tie_tolerance
from encore_ray.composition.sums.moments import Moments
from encore_ray.rules import FLOAT32_MAX, RuleSet

PART_ROWS = 4096  # measured at a time, so that the arrays in between stay in the processor's cache


@dataclass(frozen=True, eq=False)
class BucketPoints:
    """How often each rule is right in each bucket of prompts; ``+`` is exact.

    Attributes:
        points_JK: int64, twice the wins and once the ties of each rule.
        num_pairs_J: int64.
    """

    points_JK: NDArray[np.int64]
    num_pairs_J: NDArray[np.int64]

    def __add__(self, other: "BucketPoints") -> "BucketPoints":
        return BucketPoints(self.points_JK + other.points_JK, self.num_pairs_J + other.num_pairs_J)


@dataclass(frozen=True, eq=False)
class RuleDiagnostics:
    """Everything that is measured of K rules before weights exist; ``+`` is exact, associative and commutative.

    Attributes:
        statistics: as `weigh` measures them.
        heldout_keys: distinct resampling keys of the held-out pairs.
        calibration: agreement of each rule with the labels of the pairs that are not held out.
        swept_SK: for each of S ways to choose bins, K pooled int64 histograms.
        differences: moments of polarity (chosen - rejected), in shares of each rule's range.
        responses: moments of polarity score, of all responses, in shares of each rule's range.
        points: of the whole corpus.
    """

    statistics: RuleStatistics
    heldout_keys: DistinctKeys
    calibration: RuleAgreement
    swept_SK: tuple[tuple[NDArray[np.int64], ...], ...]
    differences: Moments
    responses: Moments
    points: BucketPoints

    @classmethod
    def measure(
        cls,
        statistics: RuleStatistics,
        *,
        chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
        rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
        rules: RuleSet,
        binnings: Sequence[Binning],
        swept: Sequence[Sequence[Binning]],
        has_rejected_N: NDArray[np.bool_],
        hash_N: NDArray[np.uint64],
        heldout_N: NDArray[np.bool_],
    ) -> "RuleDiagnostics":
        """Measure one unit of scores.

        Args:
            statistics: of the same unit and binnings; where it records problems, the rest means nothing.
            chosen_KN, rejected_KN: K columns of N scores; rejected is read only where there is a rejected response.
            rules, binnings: K of each. swept: S times K binnings.
            has_rejected_N: False for single responses.
            hash_N: hashes of the resampling keys. heldout_N: which rows are held out.
        """
        parts = []
        num_rows = len(has_rejected_N)
        for start in range(0, max(num_rows, 1), PART_ROWS):
            rows = slice(start, start + PART_ROWS)
            part = _PartDiagnostics.of(
                [_finite(column, rows) for column in chosen_KN],
                [_finite(column, rows) for column in rejected_KN],
                rules=rules,
                binnings=binnings,
                swept=swept,
                is_pair_N=has_rejected_N[rows],
                hash_N=hash_N[rows],
                heldout_N=heldout_N[rows],
            )
            parts.append(part)
        total = parts[0]
        for part in parts[1:]:
            total += part
        return cls(
            statistics=statistics,
            heldout_keys=DistinctKeys.of(hash_N[has_rejected_N & heldout_N]),
            calibration=total.calibration,
            swept_SK=total.swept_SK,
            differences=total.differences,
            responses=total.responses,
            points=total.points,
        )

    @property
    def num_heldout(self) -> int:
        """Number of held-out pairs."""
        return self.statistics.num_pairs - self.calibration.num_pairs

    def __add__(self, other: "RuleDiagnostics") -> "RuleDiagnostics":
        return RuleDiagnostics(
            statistics=self.statistics + other.statistics,
            heldout_keys=self.heldout_keys + other.heldout_keys,
            calibration=self.calibration + other.calibration,
            swept_SK=_add_histograms(self.swept_SK, other.swept_SK),
            differences=self.differences + other.differences,
            responses=self.responses + other.responses,
            points=self.points + other.points,
        )


@dataclass(frozen=True, eq=False)
class _PartDiagnostics:
    """What is measured of a few thousand rows."""

    calibration: RuleAgreement
    swept_SK: tuple[tuple[NDArray[np.int64], ...], ...]
    differences: Moments
    responses: Moments
    points: BucketPoints

    @classmethod
    def of(
        cls,
        chosen_KN: list[NDArray[np.float64]],
        rejected_KN: list[NDArray[np.float64]],
        *,
        rules: RuleSet,
        binnings: Sequence[Binning],
        swept: Sequence[Sequence[Binning]],
        is_pair_N: NDArray[np.bool_],
        hash_N: NDArray[np.uint64],
        heldout_N: NDArray[np.bool_],
    ) -> "_PartDiagnostics":
        pair_N = np.flatnonzero(is_pair_N)
        points_PK = np.ones((len(pair_N), len(rules)), dtype=np.int64)
        difference_KP, share_KR = [], []
        for k, rule in enumerate(rules):
            chosen_N, rejected_P = (
                snap(score_R, scale=rule.scale) for score_R in (chosen_KN[k], rejected_KN[k][pair_N])
            )
            d_P = rule.polarity * (chosen_N[pair_N] - rejected_P)
            tolerance = tie_tolerance(rule.scale.width)
            points_PK[:, k] += (d_P > tolerance).astype(np.int64) - (d_P < -tolerance)
            difference_KP.append(d_P / rule.scale.width)
            share_R = (np.concatenate([chosen_N, rejected_P]) - rule.scale.lo) / rule.scale.width
            share_KR.append(rule.polarity * share_R)
        share_KP = np.stack(difference_KP)
        bucket_P = buckets_of(hash_N[pair_N])
        return cls(
            calibration=RuleAgreement.of(share_KP[:, ~heldout_N[pair_N]], rules=rules, score_range="unit"),
            swept_SK=tuple(
                tuple(_histogram(chosen_KN[k], rejected_KN[k][pair_N], binning) for k, binning in enumerate(choice))
                for choice in swept
            ),
            differences=Moments.of(share_KP),
            responses=Moments.of(np.stack(share_KR)),
            points=BucketPoints(
                sum_buckets(bucket_P, points_PK), sum_buckets(bucket_P, np.ones(len(pair_N), dtype=np.int64))
            ),
        )

    def __add__(self, other: "_PartDiagnostics") -> "_PartDiagnostics":
        return _PartDiagnostics(
            calibration=self.calibration + other.calibration,
            swept_SK=_add_histograms(self.swept_SK, other.swept_SK),
            differences=self.differences + other.differences,
            responses=self.responses + other.responses,
            points=self.points + other.points,
        )


def _finite(column: ArrayLike, rows: slice) -> NDArray[np.float64]:
    """Scores in float64; one that is not finite, which the statistics have recorded, is put out of the way."""
    score_N = np.asarray(column)[rows].astype(np.float64)
    return np.where(np.abs(score_N) <= FLOAT32_MAX, score_N, 0.0)


def _histogram(chosen_N: NDArray[np.float64], rejected_P: NDArray[np.float64], binning: Binning) -> NDArray[np.int64]:
    cell_R = binning.assign(np.concatenate([chosen_N, rejected_P]))
    return np.bincount(cell_R, minlength=binning.num_cells).astype(np.int64)


def _add_histograms(
    a: tuple[tuple[NDArray[np.int64], ...], ...], b: tuple[tuple[NDArray[np.int64], ...], ...]
) -> tuple[tuple[NDArray[np.int64], ...], ...]:
    return tuple(tuple(x + y for x, y in zip(p, q, strict=True)) for p, q in zip(a, b, strict=True))
