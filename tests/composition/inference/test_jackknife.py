"""Sums by bucket are exact and merge; intervals from them are those of textbooks, and cover as they say."""

import math

import numpy as np
import pytest

from encore_ray.composition.hashing.keys import hash_keys
from encore_ray.composition.inference.jackknife import (
    NUM_BUCKETS,
    buckets_of,
    jackknife_bias,
    jackknife_error,
    jackknife_interval,
    student_quantile,
    sum_buckets,
    without_each,
)


def buckets(num_keys: int, *, seed: int = 0) -> np.ndarray:
    return buckets_of(hash_keys([f"{seed}-{number}" for number in range(num_keys)]))


def test_keys_fill_all_buckets_alike():
    filled_J = np.bincount(buckets(100 * NUM_BUCKETS), minlength=NUM_BUCKETS)
    assert len(filled_J) == NUM_BUCKETS
    # chi-square of 511 degrees of freedom: mean 511, sd 32
    assert ((filled_J - 100.0) ** 2 / 100).sum() == pytest.approx(511, abs=5 * 32)


def test_sums_by_bucket_are_the_sums_of_its_rows_whatever_their_order():
    rng = np.random.default_rng(0)
    bucket_N, value_N3 = buckets(1000), rng.integers(-9, 9, (1000, 3))
    sum_J3 = sum_buckets(bucket_N, value_N3)
    assert (sum_J3.shape, sum_J3.dtype) == ((NUM_BUCKETS, 3), value_N3.dtype)
    expected = [value_N3[bucket_N == bucket].sum(axis=0) for bucket in range(NUM_BUCKETS)]
    assert np.array_equal(sum_J3, expected)
    order = rng.permutation(1000)
    parts = [sum_buckets(bucket_N[rows], value_N3[rows]) for rows in (order[:300], order[300:])]
    assert np.array_equal(parts[0] + parts[1], sum_J3)
    assert not sum_buckets(bucket_N[:0], value_N3[:0]).any()


def test_sums_without_a_bucket_leave_out_empty_ones():
    sum_J = np.array([3, 0, 5])
    assert without_each(sum_J, sum_J > 0).tolist() == [5.0, 3.0]


def test_the_error_of_a_mean_is_the_textbook_one_and_its_bias_is_none():
    value_J = np.random.default_rng(0).normal(size=50)
    without_J = (value_J.sum() - value_J) / 49
    assert jackknife_error(without_J) == pytest.approx(value_J.std(ddof=1) / math.sqrt(50), rel=1e-12)
    assert jackknife_bias(value_J.mean(), without_J) == pytest.approx(0, abs=1e-12)
    interval = jackknife_interval(value_J.mean(), without_J)
    assert interval is not None
    assert interval.high - value_J.mean() == pytest.approx(2.0096 * value_J.std(ddof=1) / math.sqrt(50), rel=1e-4)
    assert student_quantile(50) == pytest.approx(2.0096, abs=1e-4)  # of 49 degrees of freedom


def test_an_interval_without_bias_has_the_figure_in_it():
    # without each of three: bias 2 (.2 - .5) = -.6, error sqrt(2/3 (.01 + 0 + .01)) = .115, times t(2) = 4.303
    plain = jackknife_interval(0.5, [0.1, 0.2, 0.3])
    assert plain is not None
    assert (plain.low, plain.high) == pytest.approx((0.5 - 0.4968, 0.5 + 0.4968), abs=1e-3)
    unbiased = jackknife_interval(0.5, [0.1, 0.2, 0.3], unbiased=True)
    assert unbiased is not None
    assert (unbiased.low, unbiased.high) == pytest.approx((0.5, 1.1 + 0.4968), abs=1e-3)
    within = jackknife_interval(0.5, [0.1, 0.2, 0.3], low=0.3, high=0.8)
    assert within is not None
    assert (within.low, within.high) == (0.3, 0.8)


@pytest.mark.parametrize("without_J", [[], [0.5], [0.5, math.nan], [0.5, math.inf]])
def test_what_cannot_be_known_has_no_interval(without_J: list[float]):
    assert jackknife_interval(0.5, without_J) is None


@pytest.mark.parametrize("rows_a_key", [1, 3])
def test_an_interval_covers_the_truth_of_independent_keys(rows_a_key: int):
    """400 corpora of 60 keys; the rows of a key agree, so counting rows as independent would cover 74%, not 95%."""
    rng = np.random.default_rng(5)
    covered = 0
    for corpus in range(400):
        right_N = np.repeat(rng.random(60) < 0.7, rows_a_key)
        bucket_N = np.repeat(buckets(60, seed=corpus), rows_a_key)
        sum_J2 = sum_buckets(bucket_N, np.stack([right_N, np.ones_like(right_N)], axis=1).astype(np.int64))
        rest_J2 = without_each(sum_J2, sum_J2[:, 1] > 0)
        interval = jackknife_interval(right_N.mean(), rest_J2[:, 0] / rest_J2[:, 1])
        assert interval is not None
        covered += interval.low <= 0.7 <= interval.high
    # Three standard errors of a coverage of .95 over 400 corpora are .033.
    assert covered / 400 == pytest.approx(0.95, abs=0.033)
