import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.inference.entropy import Entropy, entropy, estimate_entropy, max_entropy
from encore_ray.composition.inference.jackknife import student_quantile

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


def apart(*responses: int, cells: int) -> np.ndarray:
    """Counts by bucket and cell of responses that are each in a bucket of their own."""
    return np.eye(cells, dtype=np.int64)[list(responses)]


def width(found: Entropy) -> float:
    return found.high - found.low


def test_the_interval_of_single_responses_is_nearly_the_textbook_one():
    # p = 3/4: variance of -log p is p(1-p) (log p - log q)^2 = 3/16 ln(3)^2; a mean of 400 of them
    found = estimate_entropy(apart(*[0] * 300, *[1] * 100, cells=2))
    half_width = student_quantile(400) * math.sqrt(3 / 16) * math.log(3) / math.sqrt(400)
    assert found.value == entropy(counts(300, 100))
    assert width(found) / 2 == pytest.approx(half_width, rel=0.005)
    # Miller: the plug-in entropy of two cells is 1/2n too low on average
    assert (found.high + found.low) / 2 - found.value == pytest.approx(1 / 800, rel=0.02)


def test_equal_responses_of_a_prompt_are_one_observation():
    single = estimate_entropy(apart(*[0] * 300, *[1] * 100, cells=2))
    several = estimate_entropy(5 * apart(*[0] * 300, *[1] * 100, cells=2))
    assert several.value == single.value
    assert width(several) == pytest.approx(width(single), rel=1e-9)


def test_which_bucket_a_prompt_is_in_changes_no_bit():
    count_JL = np.random.default_rng(0).integers(0, 5, (40, 6))
    assert estimate_entropy(count_JL[::-1]) == estimate_entropy(np.vstack([count_JL, np.zeros((3, 6), np.int64)]))


@pytest.mark.parametrize("responses_a_prompt", [2, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(responses_a_prompt: int):
    """Half of the prompts repeat one response; over pairs, the interval of ten responses would cover .55."""
    rng = np.random.default_rng(1)
    p_L = np.array([0.5, 0.3, 0.15, 0.05])
    truth = -float((p_L * np.log(p_L)).sum())
    covered = 0
    for _ in range(400):
        same_J = rng.random((100, 1)) < 0.5
        count_JL = np.where(same_J, responses_a_prompt * rng.multinomial(1, p_L, 100), 0)
        count_JL += np.where(same_J, 0, rng.multinomial(responses_a_prompt, p_L, 100))
        found = estimate_entropy(count_JL)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_constant_rule_has_an_interval_of_no_width():
    found = estimate_entropy(np.array([[6, 0], [4, 0]]))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_one_prompt_tells_nothing_of_others():
    found = estimate_entropy(np.array([[6, 4], [0, 0]]))
    assert (found.low, found.high) == (0.0, math.log(2))
