import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.measure.entropy import Z_95, entropy, estimate_entropy, max_entropy

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=20).filter(any)


def counts(*values):
    return np.array(values, dtype=np.int64)


def test_a_fair_coin_has_ln_2_nats_and_one_bit():
    assert entropy(counts(500, 500)) == pytest.approx(math.log(2), abs=1e-15)
    assert entropy(counts(500, 500), log_base="2") == pytest.approx(1.0, abs=1e-15)


def test_a_three_to_one_coin_has_the_entropy_of_the_textbook():
    # -(3/4) ln(3/4) - (1/4) ln(1/4) = ln 4 - (3/4) ln 3
    assert entropy(counts(3, 1)) == pytest.approx(math.log(4) - 0.75 * math.log(3), abs=1e-15)


def test_a_constant_rule_has_exactly_zero_entropy_and_empty_cells_add_nothing():
    assert entropy(counts(0, 7, 0)) == 0.0
    assert entropy(counts(0, 7, 0), estimator="miller_madow") == 0.0
    assert entropy(counts(3, 0, 1, 0)) == entropy(counts(3, 1))


def test_miller_madow_adds_occupied_cells_minus_one_over_twice_the_count():
    # three occupied cells of 100: (3 - 1) / 200 = .01
    added = entropy(counts(50, 25, 25, 0), estimator="miller_madow") - entropy(counts(50, 25, 25, 0))
    assert added == pytest.approx(0.01, abs=1e-15)


@given(COUNTS)
def test_entropy_lies_between_zero_and_log_of_cells_and_forgets_the_order_of_cells(values):
    h = entropy(counts(*values))
    assert 0 <= h <= max_entropy(len(values)) + 1e-12
    assert entropy(counts(*values[::-1])) == h


def test_the_interval_of_single_responses_is_the_textbook_one():
    # p = 3/4: variance of -log p is p(1-p) (log p - log q)^2 = 3/16 ln(3)^2; a mean of 400 of them
    found = estimate_entropy(np.zeros((2, 2), dtype=np.int64), counts(300, 100))
    half_width = Z_95 * math.sqrt(3 / 16) * math.log(3) / math.sqrt(400)
    assert found.value == entropy(counts(300, 100))
    assert found.high - found.value == pytest.approx(half_width, rel=1e-12)
    assert found.value - found.low == pytest.approx(half_width, rel=1e-12)


def test_two_equal_responses_of_a_pair_are_one_observation_not_two():
    # the same 400 responses: as 200 pairs of equal ratings the interval is sqrt(2) wider than as singles,
    # as pairs of independent ratings it is not
    single = estimate_entropy(np.zeros((2, 2), dtype=np.int64), counts(300, 100))
    equal = estimate_entropy(np.diag(counts(150, 50)), counts(0, 0))
    independent = estimate_entropy(np.array([[112, 38], [38, 12]]), counts(0, 0))
    width = single.high - single.low
    assert equal.high - equal.low == pytest.approx(math.sqrt(2) * width, rel=1e-12)
    assert independent.high - independent.low == pytest.approx(width, rel=0.01)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    p_L = np.array([0.5, 0.3, 0.15, 0.05])
    truth = -float((p_L * np.log(p_L)).sum())
    # chosen and rejected are equal half of the time
    joint_p = 0.5 * np.diag(p_L) + 0.5 * np.outer(p_L, p_L)
    covered = 0
    for _ in range(400):
        joint_LL = rng.multinomial(2000, joint_p.ravel()).reshape(4, 4)
        found = estimate_entropy(joint_LL, np.zeros(4, dtype=np.int64))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_constant_rule_has_an_interval_of_no_width():
    found = estimate_entropy(np.array([[5, 0], [0, 0]]), counts(0, 0))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
