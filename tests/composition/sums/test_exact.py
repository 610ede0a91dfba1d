import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.sums.exact import ExactSum, PowerSums, mean, standard_deviation, variance

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
SCORES = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-100)


@given(st.lists(FINITE, max_size=50))
def test_a_sum_is_the_correctly_rounded_sum(values):
    assert float(ExactSum.of(np.array(values, dtype=np.float64))) == math.fsum(values)


@given(st.lists(FINITE, min_size=1, max_size=50), st.integers(0, 50), st.randoms())
def test_splitting_and_shuffling_leave_a_sum_equal(values, cut, random):
    shuffled = random.sample(values, len(values))
    parts = ExactSum.of(np.array(shuffled[:cut], dtype=float)) + ExactSum.of(np.array(shuffled[cut:], dtype=float))
    assert parts == ExactSum.of(np.array(values))


def test_what_float64_loses_is_kept():
    assert float(ExactSum.of(np.array([1e300, 1.0, -1e300]))) == 1.0
    assert float(ExactSum.of(np.array([5e-324, 5e-324]))) == 1e-323  # the smallest numbers there are


@given(st.lists(SCORES, max_size=30))
def test_squares_are_summed_without_rounding_each(values):
    exact = sum(Fraction(value) ** 2 for value in values)
    assert Fraction(ExactSum.of_squares(np.array(values, dtype=float)).numerator, 2**1074) == exact


@given(st.lists(st.tuples(SCORES, st.integers(0, 5)), max_size=20))
def test_values_with_counts_are_summed_as_so_many_values(counted):
    values, counts = (
        np.array([value for value, _ in counted]),
        np.array([count for _, count in counted], dtype=np.int64),
    )
    assert PowerSums.of(values, counts) == PowerSums.of(np.repeat(values, counts))


def test_more_values_than_a_blas_call_takes_are_summed_exactly():
    # float32 differences have few bits: Python's integers add them in units of 2^-60
    values = np.random.default_rng(0).random((2, 20_000), dtype=np.float32).astype(np.float64)
    d = values[0] - values[1]
    units = [int(value * 2**60) for value in d.tolist()]
    sums = PowerSums.of(d)
    assert Fraction(sums.total.numerator, 2**1074) == Fraction(sum(units), 2**60)
    assert Fraction(sums.squares.numerator, 2**1074) == Fraction(sum(unit * unit for unit in units), 2**120)


def test_the_variance_of_1_2_3_4_is_one_and_a_quarter():
    # mean 2.5, squared deviations 2.25 + .25 + .25 + 2.25 = 5, over 4
    values = np.array([1.0, 2.0, 3.0, 4.0])
    total, squares = ExactSum.of(values), ExactSum.of_squares(values)
    assert mean(total, count=4) == 2.5
    assert variance(total, squares, count=4) == 1.25
    assert standard_deviation(total, squares, count=4) == math.sqrt(1.25)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e6 + 0.7, 7e-274])
def test_a_constant_has_no_variance_at_all(constant):
    values = np.full(1001, constant)
    assert variance(ExactSum.of(values), ExactSum.of_squares(values), count=1001) == 0.0


@given(st.lists(SCORES, min_size=1), st.floats(min_value=1.0, max_value=1e6))
def test_a_bound_on_the_values_changes_no_sum(values, slack):
    array = np.array(values)
    assert PowerSums.of(array, bound=float(np.abs(array).max()) * slack) == PowerSums.of(array)
