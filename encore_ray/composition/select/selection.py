"""The rules that each pair deserves, and the label that they give it: the reference that a rule adapter learns.

Source: RuleAdapter, arXiv 2501.15453. Ties stay ties, where the original gives them to the second response.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.hashing.splitmix import GAMMA, mix
from encore_ray.composition.scales.ties import tie_tolerances
from encore_ray.composition.select.discrepancy import top_rules
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

    def decided(self, decided_N: NDArray[np.int8]) -> "RuleSelection":
        """The same where vetoes decide some pairs, see `encore_ray.composition.measure.vetoes.decide`.

        Their label is that decision, whatever rules are chosen, and their margin NaN.
        """
        margin_N = np.where(decided_N != 0, np.nan, self.margin_N)
        return RuleSelection(self.mask_KN, margin_N, np.where(decided_N != 0, decided_N, self.label_N))


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
    if relevance_KN is not None:
        _check_relevance(relevance_KN)
    return label_pairs(top_rules(d_KN, r, range_K=range_K, relevance_KN=relevance_KN), d_KN, range_K=range_K)


def most_relevant(relevance_KN: NDArray[np.float64], r: int) -> NDArray[np.bool_]:
    """Each pair's top r rules by relevance alone, as a rule adapter has it; bool [K, N], equal ones by rule order.

    Raises:
        ConfigError: r is not from 1 to K. DataError: a relevance that is not from 0 to 1.
    """
    _check_relevance(relevance_KN)
    return top_rules(np.zeros_like(relevance_KN), r, relevance_KN=relevance_KN)


def random_rules(hash_N: NDArray[np.uint64], r: int, *, num_rules: int, seed: int) -> NDArray[np.bool_]:
    """Any r of K rules for each of N pairs, drawn by the hash of its id and a seed >= 0; bool [K, N]."""
    # Other numbers than those that bootstrap draws are made of, which may have the same hashes.
    number_K = np.arange(num_rules, dtype=np.uint64) + (np.uint64(1 + seed % 2**31) << np.uint64(32))
    chosen_NR = np.argsort(mix(hash_N[:, None] + number_K * GAMMA), axis=1, kind="stable")[:, :r]
    mask_NK = np.zeros((len(hash_N), num_rules), dtype=bool)
    np.put_along_axis(mask_NK, chosen_NR, values=True, axis=1)
    return mask_NK.T


def label_pairs(mask_KN: NDArray[np.bool_], d_KN: NDArray[np.float64], *, range_K: ArrayLike) -> RuleSelection:
    """Label pairs by the sum of their chosen rules' signed differences; arguments as of `select_rules`."""
    margin_N, reach_N = np.zeros(d_KN.shape[1]), np.zeros(d_KN.shape[1])
    for kept_N, d_N, width in zip(mask_KN, d_KN, np.asarray(range_K, dtype=np.float64), strict=True):  # in rule order
        margin_N += np.where(kept_N, d_N, 0.0)
        reach_N += np.where(kept_N, width, 0.0)
    is_tie_N = np.abs(margin_N) <= tie_tolerances(reach_N)
    return RuleSelection(mask_KN, margin_N, np.where(is_tie_N, 0, np.sign(margin_N)).astype(np.int8))


def _check_relevance(relevance_KN: NDArray[np.float64]) -> None:
    wrong_KN = ~((relevance_KN >= 0) & (relevance_KN <= 1))  # NaN too
    if wrong_KN.any():
        raise DataError(
            f"{int(wrong_KN.sum()):,} relevances are not from 0 to 1. Rate the relevance of each rule and pair anew."
        )
