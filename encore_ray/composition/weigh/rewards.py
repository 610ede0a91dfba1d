"""Composing scores into rewards: the polarity-signed weighted sum, in float64, the same to the last bit anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.measure.counts import PART_ROWS
from encore_ray.composition.measure.vetoes import BrokenRules
from encore_ray.composition.scales.binning import snap
from encore_ray.composition.scales.ties import linear_reach, tie_tolerance
from encore_ray.composition.weigh.weights import RuleWeight, Weights
from encore_ray.errors import DataError
from encore_ray.rules import FLOAT32_MAX


@dataclass(frozen=True, eq=False)
class ComposedRewards:
    """Rewards of N rows, float64.

    Attributes:
        chosen_N, rejected_N: finite, but that rejected is NaN for single responses.
        margin_N: NaN for single responses and for pairs that a veto decides, finite everywhere else.
        broken: the hard rules that each response breaks; None where no rule has a veto.
    """

    chosen_N: NDArray[np.float64]
    rejected_N: NDArray[np.float64]
    margin_N: NDArray[np.float64]
    broken: BrokenRules | None = None


def compose(
    chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
    rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
    *,
    weights: Weights,
    has_rejected_N: ArrayLike | None = None,
) -> ComposedRewards:
    """reward = sum_k w_k polarity_k score_k; margin = sum_k w_k polarity_k (chosen_k - rejected_k).

    A veto changes no reward. A pair of which just one response breaks a hard rule is decided by it and has no margin.

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
    unit = weights.score_range == "unit"
    chosen_K, rejected_K = [np.asarray(x_N) for x_N in chosen_KN], [np.asarray(x_N) for x_N in rejected_KN]
    num_rows = len(chosen_K[0])
    if has_rejected_N is None:
        is_pair_N = np.zeros(num_rows, dtype=bool)
        for rejected_N in rejected_K:
            is_pair_N |= ~np.isnan(rejected_N)
    else:
        is_pair_N = np.asarray(has_rejected_N, dtype=bool)
    reward_2N, margin_N = np.zeros((2, num_rows)), np.zeros(num_rows)
    for start in range(0, num_rows, PART_ROWS):
        part = slice(start, start + PART_ROWS)
        for rule, chosen_N, rejected_N in zip(weights.rules, chosen_K, rejected_K, strict=True):
            sides = chosen_N[part], rejected_N[part]
            if not is_pair_N[part].all():
                sides = sides[0], np.where(is_pair_N[part], sides[1], sides[0])
            _add_rule(rule, np.stack(sides, dtype=np.float64), reward_2N[:, part], margin_N[part], unit=unit)
    # No sum hides a score that is not finite; only wider numbers than float32 can be too large and still finite.
    if not np.isfinite(reward_2N).all() or any(scores_N.dtype != np.float32 for scores_N in chosen_K + rejected_K):
        for rule, chosen_N, rejected_N in zip(weights.rules, chosen_K, rejected_K, strict=True):
            _check_finite(rule, chosen_N, np.where(is_pair_N, rejected_N, chosen_N))
    reward_2N[1, ~is_pair_N] = np.nan
    margin_N[~is_pair_N] = np.nan
    broken = BrokenRules.of(weights.rules, chosen_KN=chosen_K, rejected_KN=rejected_K, has_rejected_N=is_pair_N)
    if broken is not None:
        margin_N[broken.decided_N != 0] = np.nan
    return ComposedRewards(reward_2N[0], reward_2N[1], margin_N, broken)


def margin_parts(
    chosen_KN: Sequence[NDArray[np.floating]], rejected_KN: Sequence[NDArray[np.floating]], *, weights: Weights
) -> list[NDArray[np.float64]]:
    """What each of K rules adds to the margins of N pairs: in rule order they sum to `compose`'s, to the last bit."""
    part_KN = []
    for rule, chosen_N, rejected_N in zip(weights.rules, chosen_KN, rejected_KN, strict=True):
        part_N, reward_2N = np.zeros(len(chosen_N)), np.zeros((2, len(chosen_N)))
        sides = np.stack([chosen_N, rejected_N], dtype=np.float64)
        _add_rule(rule, sides, reward_2N, part_N, unit=weights.score_range == "unit")
        part_KN.append(part_N)
    return part_KN


def margin_tolerance(weights: Weights) -> float:
    """Margins of at most so much are ties: see `tie_tolerance`, in reward units."""
    return tie_tolerance(linear_reach([rule.weight for rule in weights.rules], weights.width_K))


def _add_rule(
    rule: RuleWeight,
    score_2P: NDArray[np.float64],
    reward_2P: NDArray[np.float64],
    margin_P: NDArray[np.float64],
    *,
    unit: bool,
) -> None:
    """Add one rule's part to the rewards of the chosen and the rejected responses, and to the margins, in place.

    The scores are used up.
    """
    factor = rule.weight * rule.polarity
    with np.errstate(invalid="ignore"):  # infinities are refused afterwards
        score_2P = snap(score_2P, scale=rule.scale)
        d_P = score_2P[0] - score_2P[1]
        if unit:
            score_2P -= rule.scale.lo
            score_2P /= rule.scale.width
            d_P /= rule.scale.width
        # In place: what is not written anew stays in the processor's cache.
        score_2P *= factor
        d_P *= factor
        reward_2P += score_2P
        margin_P += d_P


def _check_finite(rule: RuleWeight, chosen_N: NDArray[np.floating], rejected_N: NDArray[np.floating]) -> None:
    finite_N = (np.abs(chosen_N) <= FLOAT32_MAX) & (np.abs(rejected_N) <= FLOAT32_MAX)
    if not finite_N.all():
        rows = np.flatnonzero(~finite_N)
        raise DataError(
            f"Rule {rule.name}: {len(rows)} of {len(finite_N)} rows have a score that is not finite, the first is row "
            f"{rows[0] + 1}. `encore-ray weigh` refuses such scores: these are other scores than were weighed."
        )
