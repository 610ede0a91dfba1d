"""Bradley-Terry weights agree with scikit-learn and scipy, and do not depend on how the pairs are cut."""

import itertools
import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls
from sklearn.linear_model import LogisticRegression

from encore_ray.composition.weigh.bradley_terry import GOAL, Terms, fit, nonnegative_minimum


def labelled(num_rules, num_pairs, *, seed=0):
    """Differences of rules of which every third disagrees with the labels and one is always 0."""
    rng = np.random.default_rng(seed)
    strength_K = rng.uniform(-0.2, 0.4, num_rules)
    d_KN = strength_K[:, None] + rng.normal(size=(num_rules, num_pairs)) * rng.uniform(0.3, 2, (num_rules, 1))
    d_KN[-1] = 0.0
    return d_KN


def fit_to(d_KN, cuts=()):
    bounds = [0, *cuts, d_KN.shape[1]]
    parts = [d_KN[:, a:b] for a, b in itertools.pairwise(bounds)]

    def measure(points):
        return [sum((Terms.of(part, w) for part in parts[1:]), Terms.of(parts[0], w)) for w in points]

    return fit(measure, num_rules=len(d_KN))


def objective(w_K, d_KN):
    margin_N = w_K @ d_KN
    return np.logaddexp(0, -margin_N).sum() + w_K @ w_K / 2, w_K - d_KN @ (1 / (1 + np.exp(margin_N)))


def test_terms_at_one_point_have_the_values_of_the_formula():
    # w.d = ln 3 for d = (1, 2): loss log(1 + 1/3) = ln(4/3), miss 1/4, gradient -(1, 2)/4, Hessian 3/16 d d'
    terms = Terms.of(np.array([[1.0], [2.0]]), np.array([np.log(3), 0.0]))
    assert (terms.num_pairs, terms.loss) == (1, pytest.approx(np.log(4 / 3), abs=1e-15))
    assert terms.gradient_K.tolist() == pytest.approx([-0.25, -0.5], abs=1e-15)
    assert terms.hessian_KK.ravel().tolist() == pytest.approx([3 / 16, 6 / 16, 6 / 16, 12 / 16], abs=1e-15)


def test_one_pair_is_solved_by_hand():
    # one rule, d = 1: w = 1 / (1 + exp(w)), so w = .401058137541547
    found = fit_to(np.array([[1.0]]))
    assert found.free.weight_K == pytest.approx([0.401058137541547], abs=1e-14)
    assert found.weights == {False: found.free.weight_K, True: (1.0,)}


def test_margins_of_any_size_neither_overflow_nor_lose_the_gradient():
    terms = Terms.of(np.array([[1e4, -1e4]]), np.array([1.0]))
    assert terms.loss == 1e4
    assert terms.gradient_K.tolist() == [1e4]
    assert terms.hessian_KK.tolist() == [[0.0]]


@pytest.mark.parametrize("num_rules", [2, 12])
def test_free_weights_are_those_of_logistic_regression_without_intercept(num_rules):
    d_KN = labelled(num_rules, 3000)
    # Both signs of every pair: two classes with the same loss each, so l2 = 1 is C = 1 / 2.
    model = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-12, solver="newton-cholesky", max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot reach so small a tolerance, and says so
        model.fit(np.concatenate([d_KN.T, -d_KN.T]), np.repeat([1, 0], d_KN.shape[1]))
    found = fit_to(d_KN)
    assert found.free.weight_K == pytest.approx(model.coef_[0], abs=1e-8)
    assert found.free.is_exact
    assert found.num_pairs == 3000


@pytest.mark.parametrize("num_rules", [2, 12])
def test_simplex_weights_are_those_of_a_bounded_minimiser_over_their_sum(num_rules):
    d_KN = labelled(num_rules, 3000)
    bounds = [(0, None)] * num_rules
    options = {"gtol": 1e-11, "ftol": 1e-16, "maxcor": 40}
    best = minimize(
        objective, np.zeros(num_rules), args=(d_KN,), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    ).x
    found = fit_to(d_KN)
    assert found.weights[True] == pytest.approx(best / best.sum(), abs=1e-7)
    assert found.simplex.is_exact
    assert 0.0 in found.simplex.weight_K
    assert sum(found.weights[True]) == pytest.approx(1, abs=1e-12)


@given(st.integers(1, 6), st.integers(1, 60), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 30.0]))
def test_every_fit_meets_the_conditions_of_its_minimum(num_rules, num_pairs, seed, size):
    d_KN = labelled(num_rules, num_pairs, seed=seed) * size
    found = fit_to(d_KN)
    _, free_K = objective(np.asarray(found.free.weight_K), d_KN)
    assert np.abs(free_K).max() <= 1e-9
    weight_K = np.asarray(found.simplex.weight_K)
    _, gradient_K = objective(weight_K, d_KN)
    assert (weight_K >= 0).all()
    assert np.abs(gradient_K[weight_K > 0]).max(initial=0) <= 1e-9
    assert gradient_K[weight_K == 0].min(initial=0) >= -1e-9


@pytest.mark.parametrize("cuts", [(1,), (500, 1000), tuple(range(7, 2000, 7))])
def test_cutting_the_pairs_moves_the_weights_by_less_than_1e_9(cuts):
    d_KN = labelled(8, 2000)
    whole, cut = fit_to(d_KN), fit_to(d_KN, cuts)
    for simplex in (False, True):
        assert cut.weights[simplex] == pytest.approx(whole.weights[simplex], abs=1e-9)


def test_separable_labels_have_finite_weights():
    # a rule that is right on all of 200 pairs: without l2 its weight would grow without end
    d_KN = np.abs(np.random.default_rng(0).normal(size=(1, 200)))
    found = fit_to(d_KN)
    assert 1 < found.free.weight_K[0] < 100
    assert found.free.gradient_norm <= GOAL


def test_rules_that_are_always_wrong_leave_the_simplex_empty():
    d_KN = -np.abs(np.random.default_rng(0).normal(size=(2, 50)))
    found = fit_to(d_KN)
    assert max(found.free.weight_K) < 0
    assert found.simplex.weight_K == (0.0, 0.0)
    assert set(found.weights) == {False}


def test_a_goal_beyond_float64_ends_with_what_was_reached():
    # gradients of scores near 1e6 round at about 1e-9
    d_KN = labelled(3, 400) * [[1.0], [1e6], [1e6]]
    found = fit_to(d_KN)
    assert GOAL < found.free.gradient_norm < 1e-5
    assert not found.free.is_exact
    assert found.num_passes < 100


def test_both_fits_share_each_pass():
    calls = []
    d_KN = labelled(4, 300)

    def measure(points):
        calls.append(len(points))
        return [Terms.of(d_KN, w) for w in points]

    found = fit(measure, num_rules=4)
    assert found.num_passes == len(calls) == 1 + max(found.free.num_steps, found.simplex.num_steps)
    assert calls[:2] == [2, 2]


@given(st.integers(1, 8), st.integers(0, 10_000))
def test_the_nonnegative_minimum_is_that_of_scipys_nnls(num_rules, seed):
    rng = np.random.default_rng(seed)
    a_MK, b_M = rng.normal(size=(num_rules + 4, num_rules)), rng.normal(size=num_rules + 4)
    assert nonnegative_minimum(a_MK.T @ a_MK, a_MK.T @ b_M) == pytest.approx(nnls(a_MK, b_M)[0], abs=1e-8)


@pytest.mark.parametrize("width", [1e12, 1e30])
def test_equal_rules_on_a_scale_so_wide_that_the_penalty_is_lost_are_fitted(width):
    # The Hessian of two equal rules is singular where d^2 is so large that adding 1 to it changes nothing.
    d_N = labelled(2, 300)[0] * width
    found = fit_to(np.stack([d_N, d_N]))
    (alone,) = fit_to(d_N[None]).weights[False]
    # the smallest weights share it; with w >= 0 any share is as good
    assert found.weights[False] == pytest.approx([alone / 2, alone / 2], rel=1e-6)
    assert sum(found.simplex.weight_K) == pytest.approx(alone, rel=1e-6)


def one_rule_at_a_time(matrix_KK, pull_K):
    """The plain active set of Lawson and Hanson, a solve for each rule."""
    num_rules = len(pull_K)
    value_K, free_K, refused_K = np.zeros(num_rules), np.zeros(num_rules, dtype=bool), np.zeros(num_rules, dtype=bool)
    while True:
        gain_K = np.where(free_K | refused_K, 0.0, pull_K - matrix_KK @ value_K)
        added = int(gain_K.argmax())
        if gain_K[added] <= 0:
            return value_K
        free_K[added] = True
        while True:
            inner_K = np.zeros(num_rules)
            inner_K[free_K] = np.linalg.solve(matrix_KK[np.ix_(free_K, free_K)], pull_K[free_K])
            blocked_K = free_K & (inner_K <= 0)
            if not blocked_K.any():
                value_K, refused_K[:] = inner_K, False
                break
            if blocked_K[added] and value_K[added] == 0:
                free_K[added], refused_K[added] = False, True
                continue
            room_K = value_K[blocked_K] / (value_K[blocked_K] - inner_K[blocked_K])
            value_K = np.where(free_K, value_K + room_K.min() * (inner_K - value_K), 0.0)
            free_K &= value_K > 0
            free_K[np.flatnonzero(blocked_K)[room_K.argmin()]] = False
            value_K[~free_K] = 0.0


@given(st.integers(1, 24), st.integers(1, 60), st.integers(0, 10_000), st.booleans())
def test_pivoting_finds_what_freeing_one_rule_at_a_time_finds_to_the_bit(num_rules, num_pairs, seed, has_copies):
    rng = np.random.default_rng(seed)
    d_KN = rng.normal(size=(num_rules, num_pairs)) * rng.choice([0.01, 1, 100]) + 0.2 * rng.normal()
    if has_copies and num_rules > 3:
        d_KN[1], d_KN[2], d_KN[3] = d_KN[0], -d_KN[0], np.round(d_KN[3])
    matrix_KK, pull_K = d_KN @ d_KN.T + np.eye(num_rules), d_KN.sum(axis=1)
    assert np.array_equal(nonnegative_minimum(matrix_KK, pull_K), one_rule_at_a_time(matrix_KK, pull_K))


def test_two_thousand_rules_are_fitted_while_one_waits():
    # One rule at a time is a solve of up to 2000^3 for each of 2000 rules and each step: hours.
    rng = np.random.default_rng(0)
    matrix_KK = (d_KN := rng.normal(size=(2000, 60)) + 0.05) @ d_KN.T + np.eye(2000)
    pull_K = d_KN.sum(axis=1)
    began = time.monotonic()
    value_K = nonnegative_minimum(matrix_KK, pull_K)
    assert time.monotonic() - began < 60  # 2 s on two cores
    gain_K = pull_K - matrix_KK @ value_K
    assert (value_K >= 0).all() and 0 < (value_K > 0).sum() < 2000
    assert gain_K[value_K == 0].max() <= 0 and np.abs(gain_K[value_K > 0]).max() < 1e-9
