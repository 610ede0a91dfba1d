import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.inference.agreement import Tally, correlate


def test_a_tie_is_half_a_win_or_none_at_all_and_both_are_reported():
    tally = Tally.of(np.array([1.0, 2e-12, 1e-12, 0.0, -1e-12, -3.0]), tolerance=1e-12)
    assert tally == Tally(wins=2, ties=3, losses=1)
    assert tally.accuracy == 3.5 / 6
    assert tally.accuracy_strict == 2 / 6


def test_tallies_merge_and_mirror():
    assert Tally(1, 2, 3) + Tally(10, 20, 30) == Tally(11, 22, 33)
    assert Tally(1, 2, 3).mirrored == Tally(3, 2, 1)


def test_no_pairs_give_nulls_and_no_interval():
    found = Tally().to_dict(num_keys=0)
    assert found["num_pairs"] == 0
    assert [found[key] for key in ("accuracy", "accuracy_strict", "accuracy_low", "accuracy_high")] == [None] * 4


def test_the_wilson_interval_is_the_textbook_one():
    # 8 of 10: (.8 + z^2/20 +- z sqrt(.8 * .2 / 10 + z^2/400)) / (1 + z^2/10) = (.4902, .9433), e.g. Brown et al. 2001
    interval = Tally(wins=8, losses=2).interval(num_keys=10)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.49016, 0.94331), abs=1e-5)


def test_the_interval_counts_prompts_not_pairs():
    # 100 pairs of 10 prompts know as much as 10 pairs
    many = Tally(wins=80, losses=20)
    assert many.interval(num_keys=10) == Tally(wins=8, losses=2).interval(num_keys=10)
    assert many.interval(num_keys=1000) == many.interval(num_keys=100)


def test_a_margin_that_is_not_finite_is_not_counted_as_anything():
    with pytest.raises(AssertionError, match="not finite"):
        Tally.of(np.array([1.0, math.nan]), tolerance=0.0)


def test_correlations_of_a_known_sample():
    # x 1 2 3 4, y 1 3 2 4: sum of products of deviations 4, norms sqrt(5) each: r = 4/5, ranks the same;
    # p = P(|t_2| > .8 sqrt(2 / .36)) = 1 - t/sqrt(t^2 + 2) with t^2 = 32/9: 1 - .8 = .2
    found = correlate([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0])
    assert found.pearson == pytest.approx(0.8, abs=1e-15)
    assert found.spearman == pytest.approx(0.8, abs=1e-15)
    assert found.pearson_p == pytest.approx(0.2, abs=1e-12)
    assert found.num_rules == 4


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=20))
def test_correlations_agree_with_scipy(points):
    x, y = [a / 7 for a, _ in points], [b / 3 for _, b in points]
    found = correlate(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found.pearson is found.pearson_p is found.spearman is found.spearman_p is None
        return
    (pearson, pearson_p), (spearman, spearman_p) = scipy.stats.pearsonr(x, y), scipy.stats.spearmanr(x, y)
    assert (found.pearson, found.spearman) == pytest.approx((pearson, spearman), abs=1e-9)
    # scipy's p of ranks is that of normal numbers: 0 for three points in order, which have six orders
    spearman_p = max(spearman_p, 2 / math.factorial(len(x)))
    assert (found.pearson_p, found.spearman_p) == pytest.approx((pearson_p, spearman_p), abs=1e-6)


def test_a_constant_that_misses_its_own_mean_by_a_rounding_has_no_correlation():
    constant = [0.49] * 7
    assert sum(constant) / 7 != 0.49
    assert correlate(constant, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).pearson is None


def test_under_three_points_there_is_no_correlation_to_report():
    assert correlate([1.0, 2.0], [1.0, 2.0]).pearson is None
    assert correlate([], []).to_dict() == {
        "pearson": None,
        "pearson_p": None,
        "spearman": None,
        "spearman_p": None,
        "num_rules": 0,
    }


def test_p_goes_by_the_rules_that_differ():
    x, y = [1.0, 1.0, 1.0, 2.0, 3.0, 5.0], [6.0, 6.0, 6.0, 4.0, 5.0, 1.0]  # three copies of one point
    found, different = correlate(x, y), correlate(x, y).among(4)
    assert (different.pearson, different.spearman, different.num_rules) == (found.pearson, found.spearman, 6)
    assert found.pearson is not None and found.pearson_p is not None and different.pearson_p is not None
    # Student's t with 2 degrees of freedom has a closed form: p = 1 - t / sqrt(2 + t^2) = 1 - |r|
    assert different.pearson_p == pytest.approx(1 - abs(found.pearson), rel=1e-12)
    assert different.pearson_p > found.pearson_p
    assert found.among(2).pearson_p is None and found.among(2).spearman_p is None
    assert found.among(9) == found
