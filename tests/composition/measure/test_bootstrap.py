"""Replicates are a pure function of the keys, their sums are exact, and their intervals cover as they should."""

import math

import numpy as np
import pytest

from encore_ray.composition.hashing.keys import hash_keys
from encore_ray.composition.measure.bootstrap import MAX_ROWS, draw_replicates, percentile_interval, replicate_sums


def hashes(num_keys: int, *, seed: int = 0) -> np.ndarray:
    return hash_keys([f"{seed}-{number}" for number in range(num_keys)])


def test_a_draw_depends_on_nothing_but_its_key_and_the_replicate():
    hash_N = hashes(50)
    draws = draw_replicates(hash_N)
    assert np.array_equal(draw_replicates(hash_N[::-1]), draws[::-1])
    assert np.array_equal(draw_replicates(hash_N, num_replicates=3), draws[:, :3])
    assert np.array_equal(draw_replicates(hash_N[[7, 7]]), draws[[7, 7]])


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


def test_sums_are_exact_at_the_largest_size():
    draw_NB = np.full((MAX_ROWS, 1), 8, dtype=np.float32)
    assert replicate_sums(draw_NB, np.full((MAX_ROWS, 1), 200, dtype=np.float32)).item() == 4096 * 8 * 200


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (range(201), (5.0, 195.0)),  # .025 * 200 = 5, .975 * 200 = 195
        ([3.0, 1.0], (1.05, 2.95)),  # .025 and .975 of the way from 1 to 3
        ([4.0], (4.0, 4.0)),
    ],
)
def test_an_interval_is_the_middle_95_percent(values, expected):
    interval = percentile_interval(list(values))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_no_replicate_gives_no_interval():
    assert percentile_interval([]) is None
    assert percentile_interval([1.0, math.nan]) is None


@pytest.mark.parametrize("rows_a_key", [1, 3])
def test_an_interval_covers_the_truth_of_independent_keys(rows_a_key: int):
    """400 corpora of 250 keys; the rows of a key agree, so counting rows as independent would cover 74%, not 95%."""
    rng = np.random.default_rng(5)
    covered = 0
    for corpus in range(400):
        right_N = np.repeat(rng.random(250) < 0.7, rows_a_key).astype(np.float32)
        draws = draw_replicates(np.repeat(hashes(250, seed=corpus), rows_a_key))
        sums = replicate_sums(draws, np.stack([right_N, np.ones_like(right_N)], axis=1))
        interval = percentile_interval(sums[:, 0] / sums[:, 1])
        assert interval is not None
        covered += interval.low <= 0.7 <= interval.high
    # Three standard errors of a coverage of .94 over 400 corpora are .036.
    assert covered / 400 == pytest.approx(0.94, abs=0.036)
