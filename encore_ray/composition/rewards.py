"""Composing scores into rewards: the polarity-signed weighted sum, in float64, the same to the last bit anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.binning import snap
from encore_ray.composition.counts import TIE_TOLERANCE
from encore_ray.composition.problems import FLOAT32_MAX
from encore_ray.composition.weights import RuleWeight, Weights
from encore_ray.errors import DataError


@dataclass(frozen=True, eq=False)
class Rewards:
    """Rewards of N rows, float64; rejected and margin are NaN for single responses, and finite everywhere else."""

    chosen_N: NDArray[np.float64]
    rejected_N: NDArray[np.float64]
    margin_N: NDArray[np.float64]


def compose(
    chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
    rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
    *,
    weights: Weights,
    has_rejected_N: ArrayLike | None = None,
) -> Rewards:
    """reward = sum_k w_k polarity_k score_k; margin = sum_k w_k polarity_k (chosen_k - rejected_k).

    The margin is summed from differences, so that equal scores cancel exactly whatever the size of the rewards.
    Rules are added in order and element by element: no BLAS, whose order of summation depends on the machine.

    Args:
        chosen_KN, rejected_KN: K columns of N scores in the order of the weights' rules, float32 or float64. Ratings
            that are a declared level are composed as that level in float64; scores out of range are not clipped.
        has_rejected_N: bool, which rows have a rejected response; None: those with any rejected score not NaN.

    Raises:
        DataError: another number of columns than rules, or a score that is not finite.
    """
    if len(chosen_KN) != len(weights.rules) or len(rejected_KN) != len(weights.rules):
        raise DataError(
            f"Rules differ: the weights have {len(weights.rules)}, the scores {len(chosen_KN)} of chosen and "
            f"{len(rejected_KN)} of rejected responses. Rerun `encore-ray weigh` on these scores."
        )
    num_rows = len(np.asarray(chosen_KN[0]))
    if has_rejected_N is None:
        is_pair_N = np.zeros(num_rows, dtype=bool)
        for rejected_N in rejected_KN:
            is_pair_N |= ~np.isnan(np.asarray(rejected_N))
    else:
        is_pair_N = np.asarray(has_rejected_N, dtype=bool)
    reward_N, rejected_reward_N, margin_N = np.zeros(num_rows), np.zeros(num_rows), np.zeros(num_rows)
    for k, rule in enumerate(weights.rules):
        chosen_N = snap(chosen_KN[k], scale=rule.scale)
        rejected_N = snap(np.where(is_pair_N, rejected_KN[k], chosen_KN[k]), scale=rule.scale)
        _check_finite(rule, chosen_N, rejected_N)
        factor = rule.weight * rule.polarity
        lo, width = (rule.scale.lo, rule.scale.width) if weights.score_range == "unit" else (0.0, 1.0)
        reward_N += factor * ((chosen_N - lo) / width)
        rejected_reward_N += factor * ((rejected_N - lo) / width)
        margin_N += factor * ((chosen_N - rejected_N) / width)
    rejected_reward_N[~is_pair_N] = np.nan
    margin_N[~is_pair_N] = np.nan
    return Rewards(reward_N, rejected_reward_N, margin_N)


def tie_tolerance(weights: Weights) -> float:
    """Margins of at most so much are ties: 1e-12 * max(1, sum |w_k| range_k), in reward units."""
    unit = weights.score_range == "unit"
    return TIE_TOLERANCE * max(
        1.0, sum(abs(rule.weight) * (1.0 if unit else rule.scale.width) for rule in weights.rules)
    )


def _check_finite(rule: RuleWeight, chosen_N: NDArray[np.float64], rejected_N: NDArray[np.float64]) -> None:
    finite_N = (np.abs(chosen_N) <= FLOAT32_MAX) & (np.abs(rejected_N) <= FLOAT32_MAX)
    if not finite_N.all():
        rows = np.flatnonzero(~finite_N)
        raise DataError(
            f"Rule {rule.name}: {len(rows)} of {len(finite_N)} rows have a score that is not finite, the first is row "
            f"{rows[0] + 1}. `encore-ray weigh` refuses such scores: these are other scores than were weighed."
        )
