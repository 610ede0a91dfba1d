"""Covariances from exact sums: those of numpy, whatever the order and the cuts."""

import math

import numpy as np
import pytest

from encore_ray.composition.sums.moments import Moments


def values(num_rules: int = 4, count: int = 10_000) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.standard_normal((num_rules, count)) * np.geomspace(0.001, 1.0, num_rules)[:, None] + 0.4


def test_covariances_are_those_of_numpy():
    value_KN = values()
    value_KN[1] += value_KN[3]
    moments = Moments.of(value_KN)
    # Rounding to 2^-17 is noise of sd 2^-17 / sqrt(12) = 2.2e-6: over 10,000 values it moves the covariance with a
    # quantity of sd 1 by 2.2e-8, and the smallest variance, 1e-6, by 4.9e-12.
    assert moments.covariance_KK == pytest.approx(np.cov(value_KN, bias=True), rel=1e-5, abs=1e-7)
    assert moments.covariance_KK[0, 0] == pytest.approx(value_KN[0].var(), rel=1e-4)
    assert moments.correlation_KK[1, 3] == pytest.approx(np.corrcoef(value_KN)[1, 3], abs=1e-6)
    factor_K = [1.0, -2.0, 0.5, 3.0]
    assert moments.deviation(factor_K) == pytest.approx((factor_K @ value_KN).std(), rel=1e-5)


def test_cuts_and_order_change_no_bit():
    value_KN = values()
    whole = Moments.of(value_KN).covariance_KK
    shuffled_KN = value_KN[:, np.random.default_rng(3).permutation(10_000)]
    parts = [Moments.of(part_KN) for part_KN in np.array_split(shuffled_KN, 7, axis=1)]
    assert np.array_equal(sum(parts[1:], parts[0]).covariance_KK, whole)


def test_a_constant_has_no_correlation():
    moments = Moments.of(np.array([[0.1, 0.1, 0.1], [0.0, 0.5, 1.0]]))
    assert moments.covariance_KK[0, 0] == 0.0
    assert np.isnan(moments.correlation_KK[0, 1])
    assert moments.correlation_KK[1, 1] == 1.0


def test_half_of_a_symmetric_matrix_gives_the_sum_of_all_of_it_to_the_bit():
    moments, factor_K = Moments.of(values()), np.array([0.1, -2.0, 0.3, 7.0])
    terms_KK = factor_K[:, None] * factor_K[None, :] * moments.covariance_KK
    assert moments.deviation(factor_K) == math.sqrt(math.fsum(terms_KK.ravel()))
