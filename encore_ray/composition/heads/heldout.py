"""Cross-validated AUC and R² of fitted heads, from binned predictions, with intervals over prompts.

Predictions are counted in cells, not kept: the AUC is that of the cells, in which two predictions tie when they lie
within a fortieth of a standard deviation. Intervals are those of a jackknife over buckets of prompts.

Each of five heads predicts a fold. A fold with more yes labels than its share leaves fewer to its head, which predicts
less for it: ranked together as they are, heads that know nothing get an AUC well under 1/2. So predictions are ranked
around their mean in the fold.

Source: on pooled and averaged AUC, Airola et al., Computational Statistics & Data Analysis 55, 2011.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference.agreement import Interval
from encore_ray.composition.inference.jackknife import (
    NUM_BUCKETS,
    buckets_of,
    jackknife_interval,
    sum_buckets,
    without_each,
)

NUM_CELLS = 512
REACH_SD = 6.0  # of the predictions, to either side of their mean; the end cells take what lies beyond


@dataclass(frozen=True)
class PredictionCells:
    """Where the predictions of one rule are counted: equal cells from lo to hi."""

    lo: float
    hi: float

    @classmethod
    def around(cls, *, num: float, total: float, square: float) -> "PredictionCells":
        """Around the mean of so many predictions with this sum and this sum of squares."""
        mean = total / max(num, 1.0)
        reach = REACH_SD * math.sqrt(max(square / max(num, 1.0) - mean**2, 0.0))
        return cls(mean - reach, mean + reach)

    def index_N(self, prediction_N: NDArray[np.float64]) -> NDArray[np.int64]:
        """The cell of each prediction; 0 for all where there is no width."""
        if not self.hi > self.lo:
            return np.zeros(len(prediction_N), dtype=np.int64)
        place_N = (prediction_N - self.lo) / (self.hi - self.lo) * NUM_CELLS
        return np.clip(np.floor(place_N), 0, NUM_CELLS - 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class HeldoutSums:
    """Sums over responses in each of J buckets of prompts; merges with ``+``.

    Attributes:
        count_KJYC: int32, responses by label, no or yes, and cell of the prediction; zeros for a rule of ratings.
        moment_KJ4: float64, sums of 1, label, label squared, and squared error.
    """

    count_KJYC: NDArray[np.int32]
    moment_KJ4: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        rank_NK: NDArray[np.float64],
        value_NK: NDArray[np.float64],
        label_NK: NDArray[np.float64],
        *,
        cells: Sequence[PredictionCells],
        thresholds: Sequence[float | None],
        hash_N: NDArray[np.uint64],
    ) -> "HeldoutSums":
        """The sums of N responses.

        Args:
            rank_NK: predictions as they rank responses: before any link, around their mean in the fold.
            value_NK: predictions in the units of the labels.
            label_NK: NaN where there is none.
            cells: of the ranks.
            thresholds: a yes is a label over it; None for a rule of ratings.
            hash_N: of the resampling keys.
        """
        bucket_N = buckets_of(hash_N)
        count_KJYC = np.zeros((label_NK.shape[1], NUM_BUCKETS, 2, NUM_CELLS), dtype=np.int32)
        moments = []
        for k, threshold in enumerate(thresholds):
            (present_P,) = np.nonzero(~np.isnan(label_NK[:, k]))
            label_P, error_P = label_NK[present_P, k], label_NK[present_P, k] - value_NK[present_P, k]
            bucket_P = bucket_N[present_P]
            moment_P4 = np.column_stack([np.ones_like(label_P), label_P, label_P**2, error_P**2])
            moments.append(sum_buckets(bucket_P, moment_P4))
            if threshold is not None:
                cell_P = cells[k].index_N(rank_NK[present_P, k])
                np.add.at(count_KJYC[k], (bucket_P, (label_P > threshold).astype(np.int64), cell_P), 1)
        return cls(count_KJYC, np.array(moments))

    def __add__(self, other: "HeldoutSums") -> "HeldoutSums":
        return HeldoutSums(self.count_KJYC + other.count_KJYC, self.moment_KJ4 + other.moment_KJ4)


@dataclass(frozen=True)
class HeldoutFigure:
    """A figure with its 95% interval; None where it cannot be known."""

    value: float | None
    interval: Interval | None

    @classmethod
    def of(cls, value_R: NDArray[np.float64], *, low: float = -math.inf) -> "HeldoutFigure":
        """Of all buckets, first, and without each in turn; NaN for unknown; it is from `low` to 1."""
        if math.isnan(value_R[0]):
            return cls(None, None)
        value = float(value_R[0])
        return cls(value, jackknife_interval(value, value_R[1:], low=low, high=1.0))


def measure_auc(sums: HeldoutSums, k: int) -> HeldoutFigure:
    """The share of pairs of a yes and a no of a rule that its head ranks rightly, ties half."""
    no_RC, yes_RC = _all_and_without_each(sums.count_KJYC[k], sums, k).transpose(1, 0, 2)
    below_RC = np.cumsum(no_RC, axis=1) - no_RC
    num_R = no_RC.sum(axis=1) * yes_RC.sum(axis=1)
    right_R = (yes_RC * (below_RC + no_RC / 2)).sum(axis=1)
    auc_R = np.divide(right_R, num_R, out=np.full(len(num_R), np.nan), where=num_R > 0)
    return HeldoutFigure.of(auc_R, low=0.0)


def measure_r2(sums: HeldoutSums, k: int) -> HeldoutFigure:
    """1 - squared error / squared deviation from the mean label; negative where the mean would do better."""
    num_R, label_R, square_R, error_R = _all_and_without_each(sums.moment_KJ4[k], sums, k).T
    deviation_R = square_R - label_R**2 / np.maximum(num_R, 1.0)
    known_R = deviation_R > 1e-12 * square_R
    ratio_R = np.divide(error_R, deviation_R, out=np.full(len(num_R), np.nan), where=known_R)
    return HeldoutFigure.of(1 - ratio_R)


def _all_and_without_each(
    sum_J: NDArray[np.integer] | NDArray[np.floating], sums: HeldoutSums, k: int
) -> NDArray[np.float64]:
    """Sums of all buckets, and then without each that holds a label of the rule, [R, ...]."""
    filled_J = sums.moment_KJ4[k, :, 0] > 0
    return np.concatenate([sum_J.sum(axis=0)[None], without_each(sum_J, filled_J)])
