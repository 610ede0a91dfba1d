"""The composed reward as one linear function."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.weigh.linear import linear_reward
from encore_ray.composition.weigh.rewards import compose
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.errors import ConfigError
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import make_rule, measure

RULES = RuleSet(
    [
        make_rule("kind", scale=Scale(0.0, 10.0)),
        make_rule("rude", scale=Scale(-1.0, 1.0), higher_is="worse"),
        make_rule("safe", scale=Scale(2.0, 4.0)),
    ]
)


def make_weights(weight_K, score_range):
    chosen_KN = np.array([[1.0, 9.0], [0.5, -0.5], [2.5, 3.0]])
    weights = weigh(measure(chosen_KN, chosen_KN[:, ::-1], rules=RULES), score_range="raw")
    rules = tuple(dataclasses.replace(r, weight=w) for r, w in zip(weights.rules, weight_K, strict=True))
    return dataclasses.replace(weights, rules=rules, score_range=score_range)


def test_scores_as_they_are_have_no_constant():
    linear = linear_reward(make_weights([0.5, 0.3, 0.2], "raw"))
    assert linear.factor_K == (0.5, -0.3, 0.2)
    assert linear.constant == 0
    # kind at 0 or 10, rude at 1 or -1, safe at 2 or 4
    assert linear.low == pytest.approx(0.0 - 0.3 + 0.4)
    assert linear.high == pytest.approx(5.0 + 0.3 + 0.8)


def test_scores_mapped_to_the_unit_range_are_divided_by_the_width_and_moved():
    linear = linear_reward(make_weights([0.5, 0.3, 0.2], "unit"))
    assert linear.factor_K == pytest.approx((0.5 / 10, -0.3 / 2, 0.2 / 2))
    # .5 (x - 0) / 10 - .3 (x + 1) / 2 + .2 (x - 2) / 2: what does not depend on x
    assert linear.constant == pytest.approx(0 - 0.15 - 0.2)
    assert (linear.low, linear.high) == pytest.approx((-0.3, 0.7))


@given(
    st.lists(st.floats(-2, 2), min_size=3, max_size=3).filter(any), st.sampled_from(["raw", "unit"]), st.integers(0, 99)
)
def test_it_is_what_compose_computes(weight_K, score_range, seed):
    weights = make_weights(weight_K, score_range)
    rng = np.random.default_rng(seed)
    scores_KN = np.stack([rng.uniform(rule.scale.lo, rule.scale.hi, 5) for rule in RULES])
    linear = linear_reward(weights)
    reward_N = linear.constant + np.asarray(linear.factor_K) @ scores_KN
    np.testing.assert_allclose(compose(scores_KN, scores_KN, weights=weights).chosen_N, reward_N, atol=1e-12)
    assert (reward_N >= linear.low - 1e-12).all()
    assert (reward_N <= linear.high + 1e-12).all()


def test_weights_of_each_subset_and_weights_of_0_are_no_single_model():
    weights = make_weights([0.5, 0.3, 0.2], "raw")
    by_group = dataclasses.replace(weights, groups={"a": {"weights": {"kind": 1.0, "rude": 0.0, "safe": 0.0}}})
    with pytest.raises(ConfigError, match="a model does not know the subset of a conversation"):
        linear_reward(by_group)
    with pytest.raises(ConfigError, match="Every rule has weight 0"):
        linear_reward(make_weights([0.0, 0.0, 0.0], "raw"))
