"""The rules that each pair deserves, and the label that they give it: the reference that a rule adapter learns.

Source: RuleAdapter, arXiv 2501.15453. Ties stay ties, where the original gives them to the second response.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.counts import TIE_TOLERANCE
from encore_ray.composition.discrepancy import top_rules
from encore_ray.errors import DataError


@dataclass(frozen=True, eq=False)
class RuleSelection:
    """The chosen rules of N pairs and what they say.

    Attributes:
        mask_KN: bool, r rules a pair.
        margin_N: sum of the chosen rules' signed differences, float64.
        label_N: int8, 1 where the first response is better by that sum, -1 where the second is, 0 for a tie.
    """

    mask_KN: NDArray[np.bool_]
    margin_N: NDArray[np.float64]
    label_N: NDArray[np.int8]


def select_rules(
    d_KN: NDArray[np.float64], r: int, *, range_K: ArrayLike, relevance_KN: NDArray[np.float64] | None = None
) -> RuleSelection:
    """Choose each pair's top r rules by relevance + |d| / range, and label the pair by their sum.

    Args:
        d_KN: polarity_k (first_k - second_k), float64, finite: see `signed_differences`.
        r: number of rules a pair, 1 to K; just so many are chosen.
        range_K: width of each rule's range in the units of d, > 0; 2 for scores from -1 to 1.
        relevance_KN: how much each rule matters to each pair, 0 to 1; None for all alike.

    Raises:
        ConfigError: r is not from 1 to K. DataError: a relevance that is not from 0 to 1.
    """
    if relevance_KN is not None and not ((relevance_KN >= 0) & (relevance_KN <= 1)).all():  # NaN too
        num_wrong = int((~((relevance_KN >= 0) & (relevance_KN <= 1))).sum())
        raise DataError(f"{num_wrong:,} relevances are not from 0 to 1. Rate the relevance of each rule and pair anew.")
    mask_KN = top_rules(d_KN, r, range_K=range_K, relevance_KN=relevance_KN)
    margin_N, reach_N = np.zeros(d_KN.shape[1]), np.zeros(d_KN.shape[1])
    for kept_N, d_N, width in zip(mask_KN, d_KN, np.asarray(range_K, dtype=np.float64), strict=True):  # in rule order
        margin_N += np.where(kept_N, d_N, 0.0)
        reach_N += np.where(kept_N, width, 0.0)
    is_tie_N = np.abs(margin_N) <= TIE_TOLERANCE * np.maximum(1.0, reach_N)
    return RuleSelection(mask_KN, margin_N, np.where(is_tie_N, 0, np.sign(margin_N)).astype(np.int8))
