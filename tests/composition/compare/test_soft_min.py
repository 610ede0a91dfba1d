"""Soft-min over rules, beside its formula in exact arithmetic's reach."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.compare.soft_min import SoftMin
from encore_ray.composition.sums.moments import Moments
from encore_ray.errors import DataError
from tests.composition.builders import make_rules
from tests.composition.compared import compare

SHARES_KN = np.random.default_rng(0).random((4, 50))
EQUAL_K = np.full(4, 0.25)
shares = st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=5).map(np.array)


def soft_min(weight_K=EQUAL_K, share_KN=SHARES_KN, sharpness=1.0) -> SoftMin:
    return SoftMin.of(np.asarray(weight_K), Moments.of(share_KN), sharpness=sharpness)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
def test_a_reward_is_minus_the_log_of_the_mean_exponential_of_minus_the_standardised_scores(sharpness):
    found = soft_min(sharpness=sharpness)
    z_KN = (SHARES_KN - SHARES_KN.mean(axis=1)[:, None]) / SHARES_KN.std(axis=1)[:, None]
    expected = [-math.log(math.fsum(math.exp(-sharpness * z) for z in z_K) / 4) / sharpness for z_K in z_KN.T]
    assert found.rewards(SHARES_KN) == pytest.approx(expected, abs=1e-4)  # moments round scores to 2^-17


@given(shares)
def test_a_reward_lies_between_the_worst_rule_and_the_mean(share_NK):
    found = soft_min()
    z_KN = (share_NK.T - found.mean_V[:, None]) / found.deviation_V[:, None]
    reward_N = found.rewards(share_NK.T)
    assert (reward_N >= z_KN.min(axis=0) - 1e-12).all()
    assert (reward_N <= z_KN.mean(axis=0) + 1e-12).all()


def test_no_sharpness_overflows_and_a_large_one_takes_the_worst_rule():
    found = soft_min(sharpness=1e6)
    z_KN = (SHARES_KN - found.mean_V[:, None]) / found.deviation_V[:, None]
    assert found.rewards(SHARES_KN) == pytest.approx(z_KN.min(axis=0), abs=2e-6)  # ln 4 / k above it at most
    rare_KN = np.zeros((1, 10**6))
    rare_KN[0, 0] = 1.0  # z = 1000
    rare = SoftMin.of(np.ones(1), Moments.of(rare_KN), sharpness=10.0)
    assert np.isfinite(rare.rewards(np.array([[0.0, 1.0]]))).all()


def test_rules_that_never_vary_are_left_out_with_those_that_have_no_weight():
    share_KN = np.vstack([SHARES_KN, np.full((1, 50), 0.5)])
    weight_K = np.array([0.25, 0.25, 0.25, 0.0, 0.25])
    found, alone = soft_min(weight_K, share_KN), soft_min([1.0, 1.0, 1.0], SHARES_KN[:3])
    assert found.rules == (0, 1, 2)
    assert (found.rewards(share_KN) == alone.rewards(SHARES_KN[:3])).all()
    with pytest.raises(DataError, match="no rule's score varies"):
        soft_min([1.0], np.full((1, 5), 0.3))


@given(shares, st.permutations(range(4)))
def test_permuting_rules_moves_a_margin_by_less_than_the_tolerance(share_NK, order):
    chosen_KN, rejected_KN = share_NK.T, share_NK.T[:, ::-1]
    found, permuted = soft_min(), soft_min(share_KN=SHARES_KN[list(order)])
    one = found.rewards(chosen_KN) - found.rewards(rejected_KN)
    other = permuted.rewards(chosen_KN[list(order)]) - permuted.rewards(rejected_KN[list(order)])
    assert np.abs(one - other).max() <= found.tolerance / 10


def test_a_score_that_two_rules_exchange_is_a_tie():
    rules = make_rules(2)
    chosen_KN = np.array([[0.1, 0.9, 0.3, 0.7], [0.7, 0.3, 0.9, 0.1]])
    comparison = compare(chosen_KN, chosen_KN[::-1], rules=rules)  # both rules have the same scores over all responses
    found = next(line for line in comparison["schemes"] if line["name"] == "soft_min")
    assert (found["all"]["ties"], found["params"], found["weights"]) == (4, {"sharpness": 1.0}, None)


def test_the_worst_rule_decides_what_the_mean_leaves_undecided():
    # rejected: one rule far down, the other up by as much; the chosen one is even
    chosen_KN = np.array([[0.5, 0.5, 0.0, 1.0], [0.5, 0.5, 1.0, 0.0]])
    rejected_KN = np.array([[0.1, 0.9, 0.0, 1.0], [0.9, 0.1, 1.0, 0.0]])
    comparison = compare(chosen_KN, rejected_KN, rules=make_rules(2))
    wins = {line["name"]: line["all"]["wins"] for line in comparison["schemes"] if line["all"]}
    assert (wins["uniform"], wins["soft_min"]) == (0, 2)
