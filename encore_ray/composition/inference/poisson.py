"""Replicates of a corpus for a bootstrap: how often each part of it counts, from nothing but a hash."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.splitmix import GAMMA, mix

_MAX_DRAW = 8  # of a 16-bit uniform number: P(Poisson(1) > 8) = 1.1e-6 < 2^-16
_LANES = 4  # 16-bit numbers in a hash


def draw_replicates(hash_J: NDArray[np.uint64], *, num_replicates: int) -> NDArray[np.float32]:
    """How often each of J parts counts in each replicate.

    Args:
        hash_J: 64-bit hashes of the parts.
        num_replicates: B; the draws of fewer replicates are the first of those of more.

    Returns:
        [J, B] whole numbers 0 to 8, Poisson(1) to within 2^-16 in each probability: mean 1, variance .99997.

    Source: Poisson bootstrap, Chamandy et al., 2012.
    """
    number_H = np.arange(-(-num_replicates // _LANES), dtype=np.uint64)
    mixed_JH = mix(hash_J[:, None] + number_H * GAMMA)
    # Little-endian on every machine, so that the lanes of a hash have one order.
    uniform_JB = np.ascontiguousarray(mixed_JH.astype("<u8", copy=False)).view("<u2")
    return _poisson_table()[uniform_JB[:, :num_replicates]]


@cache
def _poisson_table() -> NDArray[np.float32]:
    """The Poisson(1) quantile of each 16-bit number, taken as the middle of its interval."""
    middle = (np.arange(1 << 16) + 0.5) / (1 << 16)
    cumulative = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(_MAX_DRAW)])
    return np.searchsorted(cumulative, middle).astype(np.float32)
