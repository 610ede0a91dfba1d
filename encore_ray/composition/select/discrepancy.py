"""Max-discrepancy composition: for each pair those rules count that tell its two responses most apart (top r).

The weights depend on both responses of a pair, so there is a margin and no reward of a single response: `compose`,
best-of-n selection and everything else that needs one cannot use it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.errors import ConfigError

_DECIMALS = 12  # of a unit range: (.3 - .2) and (.2 - .1) differ by rounding alone


def top_rules(
    d_KN: NDArray[np.float64],
    r: int,
    *,
    range_K: ArrayLike | None = None,
    relevance_KN: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Which r rules tell each pair's responses most apart, relevance added; equal ones go by rule order.

    Args:
        d_KN: score differences, float64, of either sign.
        r: number of rules kept a pair, 1 to K.
        range_K: width of each rule's range in the units of d, > 0; None where all d are on the same range of width 1.
        relevance_KN: how much a rule matters to a pair, 0 to 1; None for all alike.

    Returns:
        bool [K, N], r True a column.

    Raises:
        ConfigError: r is not from 1 to K.

    Source: RuleAdapter, arXiv 2501.15453: relevance + |d| / 2 of scores from -1 to 1, here |d| over the range's width.
    """
    num_rules = len(d_KN)
    if not 1 <= r <= num_rules:
        raise ConfigError(f"max_discrepancy keeps {r} rules a pair, of {num_rules}: expected 1 to {num_rules}.")
    width_K = np.ones(num_rules) if range_K is None else np.asarray(range_K, dtype=np.float64)
    size_KN = np.abs(d_KN) / width_K[:, None] + (0.0 if relevance_KN is None else relevance_KN)
    size_KN = np.round(size_KN, _DECIMALS)
    kept_RN = np.argsort(-size_KN, axis=0, kind="stable")[:r]
    mask_KN = np.zeros(d_KN.shape, dtype=bool)
    np.put_along_axis(mask_KN, kept_RN, values=True, axis=0)
    return mask_KN


def masked_margins(mask_KN: NDArray[np.bool_], d_KN: NDArray[np.float64], weight_K: ArrayLike) -> NDArray[np.float64]:
    """Margin of each pair under the weights of the rules in its mask, divided by their sum; 0 where that is 0."""
    kept_KN = np.where(mask_KN, np.asarray(weight_K, dtype=np.float64)[:, None], 0.0)
    total_N, margin_N = np.zeros(d_KN.shape[1]), np.zeros(d_KN.shape[1])
    for kept_N, d_N in zip(kept_KN, d_KN, strict=True):  # in rule order, as rewards are composed
        total_N += kept_N
        margin_N += kept_N * d_N
    return np.divide(margin_N, total_N, out=np.zeros_like(margin_N), where=total_N > 0)
