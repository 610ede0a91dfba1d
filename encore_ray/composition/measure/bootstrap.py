"""The Poisson bootstrap: replicates of a corpus that are a pure function of its resampling keys.

In a replicate each key counts Poisson(1) times, with all rows that share it. The count is read from a hash of key and
replicate, so a row is drawn alike wherever and whenever it is met, and sums over any sharding merge exactly.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.splitmix import GAMMA, mix
from encore_ray.composition.measure.agreement import Interval

NUM_REPLICATES = 200
MAX_ROWS = 4096  # rows a product: its sums of whole numbers stay below 2^24, where float32 is exact
MAX_VALUE = 200  # largest value that `replicate_sums` takes
_MAX_DRAW = 8  # of a 16-bit uniform number: P(Poisson(1) > 8) = 1.1e-6 < 2^-16
_LANES = 4  # 16-bit numbers in a hash


def draw_replicates(hash_N: NDArray[np.uint64], *, num_replicates: int = NUM_REPLICATES) -> NDArray[np.float32]:
    """How often each row counts in each replicate.

    Args:
        hash_N: 64-bit hashes of the rows' resampling keys.
        num_replicates: B; the draws of fewer replicates are the first of those of more.

    Returns:
        [N, B] whole numbers 0 to 8, Poisson(1) to within 2^-16 in each probability: mean 1, variance .99997.

    Source: Poisson bootstrap, Chamandy et al., 2012.
    """
    number_H = np.arange(-(-num_replicates // _LANES), dtype=np.uint64)
    mixed_NH = mix(hash_N[:, None] + number_H * GAMMA)
    # Little-endian on every machine, so that the lanes of a hash have one order.
    uniform_NB = np.ascontiguousarray(mixed_NH.astype("<u8", copy=False)).view("<u2")
    return _poisson_table()[uniform_NB[:, :num_replicates]]


def replicate_sums(draw_NB: NDArray[np.float32], value_NC: NDArray[np.float32]) -> NDArray[np.int64]:
    """Sum of each column in each replicate, [B, C], exact.

    Args:
        draw_NB: from `draw_replicates`, at most 4,096 rows.
        value_NC: whole numbers from -200 to 200.
    """
    assert len(draw_NB) <= MAX_ROWS, "more rows than float32 adds exactly"
    assert np.abs(value_NC).max(initial=0) <= MAX_VALUE, "larger values than float32 adds exactly"
    return (draw_NB.T @ value_NC).astype(np.int64)


def percentile_interval(values_B: Sequence[float] | NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of the replicates' values; None without any, or where one is not a number."""
    ordered = sorted(map(float, values_B))
    if not ordered or any(map(math.isnan, ordered)):
        return None
    return Interval(_quantile(ordered, 0.025), _quantile(ordered, 0.975))


def _quantile(ordered: list[float], share: float) -> float:
    """Linear interpolation between the two nearest of the sorted values."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@cache
def _poisson_table() -> NDArray[np.float32]:
    """The Poisson(1) quantile of each 16-bit number, taken as the middle of its interval."""
    middle = (np.arange(1 << 16) + 0.5) / (1 << 16)
    cumulative = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(_MAX_DRAW)])
    return np.searchsorted(cumulative, middle).astype(np.float32)
