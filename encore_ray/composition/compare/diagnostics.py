"""What `compare` measures of each rule beyond the statistics that weights need, by one map-reduce pass.

It tells how far to trust them: other bins, the calibration pairs alone, correlations between rules, and replicates of
the Poisson bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.hashing.keys import DistinctKeys
from encore_ray.composition.measure.binning import Binning, snap
from encore_ray.composition.measure.bootstrap import MAX_ROWS, draw_replicates, replicate_sums
from encore_ray.composition.measure.differences import RuleAgreement
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.measure.ties import tie_tolerance
from encore_ray.composition.sums.moments import Moments
from encore_ray.rules import FLOAT32_MAX, RuleSet


@dataclass(frozen=True, eq=False)
class Replicates:
    """Bootstrap replicates of what entropies and accuracies come from; ``+`` is exact.

    Attributes:
        count_KBL: for each rule int64 [B, L], its pooled histogram in each replicate.
        points_BK: int64, twice the wins and once the ties of each rule.
        num_pairs_B: int64.
    """

    count_KBL: tuple[NDArray[np.int64], ...]
    points_BK: NDArray[np.int64]
    num_pairs_B: NDArray[np.int64]

    def __add__(self, other: "Replicates") -> "Replicates":
        return Replicates(
            tuple(a + b for a, b in zip(self.count_KBL, other.count_KBL, strict=True)),
            self.points_BK + other.points_BK,
            self.num_pairs_B + other.num_pairs_B,
        )


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
        replicates: of the whole corpus, by resampling key.
    """

    statistics: RuleStatistics
    heldout_keys: DistinctKeys
    calibration: RuleAgreement
    swept_SK: tuple[tuple[NDArray[np.int64], ...], ...]
    differences: Moments
    responses: Moments
    replicates: Replicates

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
        for start in range(0, max(num_rows, 1), MAX_ROWS):
            rows = slice(start, start + MAX_ROWS)
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
            replicates=total.replicates,
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
            replicates=self.replicates + other.replicates,
        )


@dataclass(frozen=True, eq=False)
class _PartDiagnostics:
    """What is measured of a few thousand rows."""

    calibration: RuleAgreement
    swept_SK: tuple[tuple[NDArray[np.int64], ...], ...]
    differences: Moments
    responses: Moments
    replicates: Replicates

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
        row_N = np.arange(len(is_pair_N))
        offset_K = np.cumsum([0, *(binning.num_cells for binning in binnings)])
        num_cells, num_rules = int(offset_K[-1]), len(rules)
        # One product with the draws gives every replicate: cells of both responses, points, and the pairs themselves.
        value_NC = np.zeros((len(is_pair_N), num_cells + num_rules + 1), dtype=np.float32)
        value_NC[pair_N, -1] = 1
        difference_KP, share_KR = [], []
        for k, (rule, binning) in enumerate(zip(rules, binnings, strict=True)):
            chosen_N, rejected_P = chosen_KN[k], rejected_KN[k][pair_N]
            value_NC[row_N, offset_K[k] + binning.assign(chosen_N)] += 1
            value_NC[pair_N, offset_K[k] + binning.assign(rejected_P)] += 1
            chosen_N, rejected_P = snap(chosen_N, scale=rule.scale), snap(rejected_P, scale=rule.scale)
            d_P = rule.polarity * (chosen_N[pair_N] - rejected_P)
            tolerance = tie_tolerance(rule.scale.width)
            value_NC[pair_N, num_cells + k] = 1.0 + (d_P > tolerance) - (d_P < -tolerance)
            difference_KP.append(d_P / rule.scale.width)
            share_R = (np.concatenate([chosen_N, rejected_P]) - rule.scale.lo) / rule.scale.width
            share_KR.append(rule.polarity * share_R)
        share_KP = np.stack(difference_KP)
        sums_BC = replicate_sums(draw_replicates(hash_N), value_NC)
        return cls(
            calibration=RuleAgreement.of(share_KP[:, ~heldout_N[pair_N]], rules=rules, score_range="unit"),
            swept_SK=tuple(
                tuple(_histogram(chosen_KN[k], rejected_KN[k][pair_N], binning) for k, binning in enumerate(choice))
                for choice in swept
            ),
            differences=Moments.of(share_KP),
            responses=Moments.of(np.stack(share_KR)),
            replicates=Replicates(
                tuple(sums_BC[:, offset_K[k] : offset_K[k + 1]] for k in range(num_rules)),
                sums_BC[:, num_cells:-1],
                sums_BC[:, -1],
            ),
        )

    def __add__(self, other: "_PartDiagnostics") -> "_PartDiagnostics":
        return _PartDiagnostics(
            calibration=self.calibration + other.calibration,
            swept_SK=_add_histograms(self.swept_SK, other.swept_SK),
            differences=self.differences + other.differences,
            responses=self.responses + other.responses,
            replicates=self.replicates + other.replicates,
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
