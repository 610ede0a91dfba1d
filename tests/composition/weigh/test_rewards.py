import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.scales.score_range import ScoreRange
from encore_ray.composition.weigh.rewards import compose, margin_tolerance
from encore_ray.composition.weigh.schemes import Uniform
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.errors import DataError
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import make_rule, make_rules, measure

TENTHS = Scale(0.0, 1.0, tuple(level / 10 for level in range(11)))
TWO = RuleSet([make_rule("kind"), make_rule("harm", higher_is="worse")])


def uniform_weights(rules, score_range: ScoreRange = "declared"):
    middle_KN = np.array([[rule.scale.lo] for rule in rules])
    return weigh(measure(middle_KN, middle_KN, rules=rules), scheme=Uniform(), score_range=score_range)


def test_a_reward_is_the_weighted_sum_of_polarity_signed_scores():
    found = compose([[0.75], [0.25]], [[0.5], [1.0]], weights=uniform_weights(TWO))
    # .5 * .75 - .5 * .25 = .25; .5 * .5 - .5 * 1 = -.25; margin .5 * .25 - .5 * (-.75) = .5
    assert (found.chosen_N.item(), found.rejected_N.item(), found.margin_N.item()) == (0.25, -0.25, 0.5)


@given(st.integers(1, 20), st.integers(0, 100))
def test_margins_are_antisymmetric_under_swapping_to_the_last_bit(n, seed):
    chosen_KN, rejected_KN = np.random.default_rng(seed).random((2, 2, n)).astype(np.float32)
    weights = weigh(measure(chosen_KN, rejected_KN, rules=TWO))
    one, two = compose(chosen_KN, rejected_KN, weights=weights), compose(rejected_KN, chosen_KN, weights=weights)
    assert (one.margin_N == -two.margin_N).all()
    assert (one.chosen_N == two.rejected_N).all()


@given(st.integers(1, 20), st.integers(0, 20))
def test_composing_in_parts_changes_no_bit(n, cut):
    chosen_KN, rejected_KN = np.random.default_rng(n).random((2, 2, n)).astype(np.float32)
    weights = uniform_weights(TWO)
    whole = compose(chosen_KN, rejected_KN, weights=weights).margin_N
    parts = [
        compose(chosen_KN[:, part], rejected_KN[:, part], weights=weights).margin_N
        for part in (slice(None, cut), slice(cut, None))
    ]
    assert (np.concatenate(parts) == whole).all()


def test_constant_rules_change_the_scale_of_the_reward_and_no_winner():
    chosen_KN, rejected_KN = np.random.default_rng(0).random((2, 3, 500)).astype(np.float32)
    with_constant_KN = [np.vstack([side, np.full((1, 500), 0.7, np.float32)]) for side in (chosen_KN, rejected_KN)]
    three = compose(chosen_KN, rejected_KN, weights=weigh(measure(chosen_KN, rejected_KN, rules=make_rules(3))))
    four = compose(*with_constant_KN, weights=weigh(measure(*with_constant_KN, rules=make_rules(4))))
    assert (np.sign(three.margin_N) == np.sign(four.margin_N)).all()
    shrunk = four.margin_N / three.margin_N
    assert shrunk == pytest.approx(np.full(500, shrunk[0]), rel=1e-9)
    assert shrunk[0] < 0.9


def test_float32_ratings_that_tie_are_composed_as_a_tie():
    # (.3 - .2) - (.2 - .1): 0 for ratings; 7e-9 in float32 times the weights, a fake win
    chosen_KN = np.array([[0.3], [0.2]], dtype=np.float32)
    rejected_KN = np.array([[0.2], [0.1]], dtype=np.float32)
    for scale, tally in ((TENTHS, Tally(ties=1)), (Scale(0.0, 1.0), Tally(wins=1))):
        rules = RuleSet([make_rule("a", scale=scale), make_rule("b", scale=scale, higher_is="worse")])
        weights = uniform_weights(rules)
        margin_N = compose(chosen_KN, rejected_KN, weights=weights).margin_N
        assert Tally.of(margin_N, tolerance=margin_tolerance(weights)) == tally


def test_declared_levels_are_restored_even_where_the_histogram_has_bins():
    rules = RuleSet([make_rule("a", scale=TENTHS), make_rule("b", scale=TENTHS, higher_is="worse")])
    weights = weigh(measure([[0.0], [0.0]], [[0.0], [0.0]], rules=rules, num_bins=20), scheme=Uniform())
    assert weights.rules[0].binning.kind == "bins"
    sides = (np.array([[a], [b]], dtype=np.float32) for a, b in ((0.3, 0.2), (0.2, 0.1)))
    assert abs(compose(*sides, weights=weights).margin_N.item()) <= margin_tolerance(weights)


def test_a_margin_is_the_sum_of_differences_and_loses_nothing_beside_large_rewards():
    rules = RuleSet([make_rule("a", scale=Scale(0.0, 1e9)), make_rule("b", scale=Scale(0.0, 1e9))])
    # rewards near 5e8 are spaced 6e-8 apart; the difference of 1e-9 * .5 is only in the margin
    found = compose([[1e9], [1e-9]], [[1e9], [0.0]], weights=uniform_weights(rules))
    assert found.margin_N.item() == 0.5e-9
    assert found.chosen_N.item() == found.rejected_N.item() == 5e8


def test_unit_range_maps_each_scale_to_zero_to_one():
    rules = RuleSet([make_rule("a"), make_rule("b", scale=Scale(-10.0, 10.0))])
    found = compose([[0.5], [5.0]], [[0.0], [-10.0]], weights=uniform_weights(rules, "unit"))
    # .5 * .5 + .5 * (15 / 20) = .625; 0; the margin is their difference
    assert (found.chosen_N.item(), found.rejected_N.item(), found.margin_N.item()) == (0.625, 0.0, 0.625)
    raw = compose([[0.5], [5.0]], [[0.0], [-10.0]], weights=uniform_weights(rules, "raw"))
    assert raw.margin_N.item() == 0.5 * 0.5 + 0.5 * 15


def test_the_margin_tolerance_follows_the_range_of_rewards():
    wide = RuleSet([make_rule("a", scale=Scale(0.0, 50.0)), make_rule("b", scale=Scale(0.0, 50.0))])
    assert margin_tolerance(uniform_weights(TWO)) == 1e-12  # .5 * 1 + .5 * 1 = 1
    assert margin_tolerance(uniform_weights(wide)) == pytest.approx(5e-11)  # .5 * 50 + .5 * 50 = 50
    assert margin_tolerance(uniform_weights(wide, "unit")) == 1e-12


@pytest.mark.parametrize("has_rejected_N", [None, [True, False]])
def test_a_single_response_has_a_reward_and_no_margin(has_rejected_N):
    rejected_KN = [[0.5, math.nan], [0.5, math.nan]]
    found = compose([[1.0, 1.0], [0.5, 0.5]], rejected_KN, weights=uniform_weights(TWO), has_rejected_N=has_rejected_N)
    assert found.chosen_N.tolist() == [0.25, 0.25]
    assert found.margin_N[0] == 0.25
    assert np.isnan([found.rejected_N[1], found.margin_N[1]]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_with_rule_and_row(bad):
    with pytest.raises(DataError, match=r"Rule harm: 1 of 3 rows .* the first is row 2"):
        compose(np.zeros((2, 3)), [[0, 0, 0], [0, bad, 0]], weights=uniform_weights(TWO))
    with pytest.raises(DataError, match=r"Rule kind: 1 of 1 rows"):
        compose([[bad], [0.0]], np.zeros((2, 1)), weights=uniform_weights(TWO))
    with pytest.raises(DataError, match=r"Rule kind: 1 of 1 rows"):
        compose([[0.0], [0.0]], np.full((2, 1), bad), weights=uniform_weights(TWO), has_rejected_N=[True])


def test_scores_of_another_number_of_rules_are_refused():
    with pytest.raises(DataError, match="the weights have 2, the scores 3"):
        compose(np.zeros((3, 1)), np.zeros((3, 1)), weights=uniform_weights(TWO))
