"""Replicates are a pure function of hashes, and Poisson."""

import math

import numpy as np
import pytest

from encore_ray.composition.hashing.keys import hash_keys
from encore_ray.composition.inference.poisson import draw_replicates


def hashes(num_keys: int, *, seed: int = 0) -> np.ndarray:
    return hash_keys([f"{seed}-{number}" for number in range(num_keys)])


def test_a_draw_depends_on_nothing_but_its_key_and_the_replicate():
    hash_N = hashes(50)
    draws = draw_replicates(hash_N, num_replicates=200)
    assert np.array_equal(draw_replicates(hash_N[::-1], num_replicates=200), draws[::-1])
    assert np.array_equal(draw_replicates(hash_N, num_replicates=3), draws[:, :3])
    assert np.array_equal(draw_replicates(hash_N[[7, 7]], num_replicates=200), draws[[7, 7]])


def test_draws_are_those_of_other_machines():
    # splitmix64 of 0 begins 0xE220A8397B1DCDAF; its 16-bit lanes, lowest first, are .80, .48, .66 and .88 of 2^16.
    # Poisson(1) has cumulative .37, .74, .92, so these are the counts 2, 1, 1 and 2.
    assert draw_replicates(np.zeros(1, np.uint64), num_replicates=4).tolist() == [[2, 1, 1, 2]]


def test_draws_are_poisson_of_mean_one():
    draws = draw_replicates(hashes(20_000), num_replicates=20)
    shares = np.bincount(draws.astype(int).ravel(), minlength=9) / draws.size
    # Four standard errors of a share of 400,000 draws are under .0031.
    assert shares[:9] == pytest.approx([math.exp(-1) / math.factorial(count) for count in range(9)], abs=0.0031)


def test_replicates_and_keys_are_not_correlated():
    draws = draw_replicates(hashes(20_000), num_replicates=40)
    off_diagonal = np.corrcoef(draws.T) - np.eye(40)
    assert np.abs(off_diagonal).max() < 5 / math.sqrt(20_000)  # 780 pairs of replicates: five standard errors
