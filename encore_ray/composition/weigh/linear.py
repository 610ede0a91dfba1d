"""A composed reward as one linear function of the scores, for a model that gives it in one output."""

import math
from dataclasses import dataclass

from encore_ray.composition.scales.score_range import score_divisor
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import ConfigError


@dataclass(frozen=True)
class LinearReward:
    """reward = constant + sum_k factor_k score_k.

    Attributes:
        factor_K: weight and polarity of each rule, over the width of its scale where scores are mapped to [0, 1].
        constant: what that mapping takes off; 0 without it.
        low, high: of the rewards, while every score keeps to its scale.
    """

    factor_K: tuple[float, ...]
    constant: float
    low: float
    high: float


def linear_reward(weights: Weights) -> LinearReward:
    """The linear function that `compose` computes.

    Raises:
        ConfigError: each subset has weights of its own, a rule has a veto, or every weight is 0.
    """
    if weights.group_weights:
        raise ConfigError(
            "Each subset has weights of its own, and a model does not know the subset of a conversation: its rewards "
            "are no single linear function. Weigh without by_group to fold the weights into a model."
        )
    if weights.hard_rules:
        raise ConfigError(
            f"One output of a model cannot express a veto, and {', '.join(weights.hard_rules)} has one: rewards alone "
            "would pass responses that break it. Take veto out of rules.yaml and weigh again to fold the weights into "
            "a model, and check the rule beside it."
        )
    unit = weights.score_range == "unit"
    factor_K = tuple(
        rule.weight * rule.polarity / score_divisor(rule.scale, weights.score_range) for rule in weights.rules
    )
    if not any(factor_K):
        raise ConfigError("Every rule has weight 0: there is no reward to fold into a model.")
    scales = [rule.scale for rule in weights.rules]
    constant = -math.fsum(f * scale.lo for f, scale in zip(factor_K, scales, strict=True)) if unit else 0.0
    ends_K = [sorted((f * scale.lo, f * scale.hi)) for f, scale in zip(factor_K, scales, strict=True)]
    low, high = (constant + math.fsum(end) for end in zip(*ends_K, strict=True))
    return LinearReward(factor_K, constant, low, high)
