"""Z-scores of columns, from moments that merge in one pass (Chan's parallel mean and variance)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the mean variance of all columns: a column that is constant here, and is not elsewhere, stays within bounds.
EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class StreamedMoments:
    """Count, means, summed squared deviations and extremes of D columns; ``+`` joins two parts.

    Joining rounds: only the same parts in the same order give the same bits.

    Attributes:
        num_D: int64, values of each column; a column leaves out its NaN.
        mean_D, squares_D, low_D, high_D: float64; 0, 0, inf and -inf without a value.
    """

    num_D: NDArray[np.int64]
    mean_D: NDArray[np.float64]
    squares_D: NDArray[np.float64]
    low_D: NDArray[np.float64]
    high_D: NDArray[np.float64]

    @classmethod
    def of(cls, value_ND: NDArray[np.floating]) -> "StreamedMoments":
        """The moments of N rows."""
        value_ND = value_ND.astype(np.float64)
        present_ND = ~np.isnan(value_ND)
        num_D = present_ND.sum(axis=0)
        mean_D = np.where(present_ND, value_ND, 0.0).sum(axis=0) / np.maximum(num_D, 1)
        return cls(
            num_D,
            mean_D,
            np.where(present_ND, value_ND - mean_D, 0.0).__pow__(2).sum(axis=0),
            np.where(present_ND, value_ND, np.inf).min(axis=0, initial=np.inf),
            np.where(present_ND, value_ND, -np.inf).max(axis=0, initial=-np.inf),
        )

    def __add__(self, other: "StreamedMoments") -> "StreamedMoments":
        num_D = self.num_D + other.num_D
        share_D = other.num_D / np.maximum(num_D, 1)
        apart_D = other.mean_D - self.mean_D
        return StreamedMoments(
            num_D,
            self.mean_D + apart_D * share_D,
            self.squares_D + other.squares_D + apart_D**2 * self.num_D * share_D,
            np.minimum(self.low_D, other.low_D),
            np.maximum(self.high_D, other.high_D),
        )

    @property
    def variance_D(self) -> NDArray[np.float64]:
        return self.squares_D / np.maximum(self.num_D, 1)


@dataclass(frozen=True, eq=False)
class StandardScaler:
    """A shift and a scale for each of D columns.

    Attributes:
        mean_D: float64.
        deviation_D: float64, > 0.
    """

    mean_D: NDArray[np.float64]
    deviation_D: NDArray[np.float64]

    @classmethod
    def of_embeddings(cls, moments: StreamedMoments) -> "StandardScaler":
        """For columns of one kind: sqrt(variance + 1e-5 of the mean variance), so that constant ones become 0."""
        variance_D = moments.variance_D
        return cls(moments.mean_D, np.sqrt(variance_D + (EPSILON * variance_D.mean() or 1.0)))

    @classmethod
    def of_rewards(cls, moments: StreamedMoments) -> "StandardScaler":
        """For columns each of its own kind; a constant one keeps its scale."""
        deviation_D = np.sqrt(moments.variance_D)
        return cls(moments.mean_D, np.where(deviation_D > 0, deviation_D, 1.0))

    def apply(self, value_ND: NDArray[np.floating]) -> NDArray[np.float32]:
        """Standardised, float32; computed in float64 where the values are."""
        wide_ND = value_ND.astype(np.result_type(value_ND.dtype, np.float32))
        wide_ND -= self.mean_D.astype(wide_ND.dtype)
        wide_ND /= self.deviation_D.astype(wide_ND.dtype)
        return wide_ND.astype(np.float32, copy=False)

    def undo(self, value_ND: NDArray[np.floating]) -> NDArray[np.float64]:
        return value_ND * self.deviation_D + self.mean_D
