"""Sums of products without rounding: those of fractions, whatever the order, the cuts and the size of the numbers."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.sums.products import ProductSums

FINITE = st.floats(-1e30, 1e30, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-30)
ROWS = st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=12)


def exactly(value_KN: np.ndarray) -> list[Fraction]:
    """Sums of the products of every j <= k, in units of 1."""
    return [
        sum((Fraction(a) * Fraction(b) for a, b in zip(value_KN[j], value_KN[k], strict=True)), Fraction(0))
        for j, k in zip(*np.triu_indices(len(value_KN)), strict=True)
    ]


@given(ROWS)
def test_no_product_and_no_sum_is_rounded(rows):
    value_KN = np.array(rows).T
    found = ProductSums.of(value_KN)
    assert [Fraction(numerator, 1 << 2148) for numerator in found.numerators] == exactly(value_KN)


@given(ROWS, st.integers(0, 12), st.lists(st.booleans(), min_size=12, max_size=12), st.randoms(use_true_random=False))
def test_order_cuts_and_the_sign_of_an_observation_change_no_bit(rows, cut, turned, random):
    whole = ProductSums.of(np.array(rows).T)
    random.shuffle(rows)
    value_KN = np.array(rows).T * np.where(turned[: len(rows)], -1, 1)
    assert ProductSums.of(value_KN[:, :cut]) + ProductSums.of(value_KN[:, cut:]) == whole


def test_many_rows_of_any_size_of_number_add_up_as_in_fractions():
    rng = np.random.default_rng(4)
    value_KN = rng.standard_normal((2, 10_000)) * np.array([[1e-9], [1e9]])
    found = ProductSums.of(value_KN)
    expected = [float(total / 10_000) for total in exactly(value_KN)]
    assert found.count == 10_000
    assert found.mean_KK[np.triu_indices(2)].tolist() == expected
    assert (found.mean_KK == found.mean_KK.T).all()


def test_no_observation_adds_nothing():
    none = ProductSums.of(np.zeros((2, 0)))
    some = ProductSums.of(np.array([[0.5], [2.0]]))
    assert none + some == some
    assert some.mean_KK.tolist() == [[0.25, 1.0], [1.0, 4.0]]
