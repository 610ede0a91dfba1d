"""When a margin is a tie: the one tolerance for what rounding leaves of an exact 0."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_SHARE = 1e-12  # of how far a margin may reach


def tie_tolerance(reach: float) -> float:
    """Margins of at most so much, either way, are ties.

    Args:
        reach: how far a margin can go in its own unit: a scale's width, or `linear_reach`. Under 1 it counts as 1.
    """
    return _SHARE * max(1.0, reach)


def tie_tolerances(reach_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """`tie_tolerance` of each of N margins, which reach so far."""
    return _SHARE * np.maximum(1.0, reach_N)


def linear_reach(weight_K: Iterable[float], width_K: Iterable[float]) -> float:
    """The largest margin of a weighted sum of scores within their ranges, either way: sum |w_k| range_k."""
    return sum(abs(weight) * width for weight, width in zip(weight_K, width_K, strict=True))
