"""Rewards side by side: what the intervals are of, and when a difference is one."""

import numpy as np
import pytest

from encore_ray.composition.evaluate.controls import compare_rewards
from encore_ray.composition.hashing.keys import hash_keys


def test_a_reward_with_the_same_signs_does_not_differ_and_ties_are_half_a_win() -> None:
    base_N = np.array([1.0, -1.0, 0.0, 2.0])
    base, scaled, better = compare_rewards(
        {"base": base_N, "scaled": 1e3 * base_N, "better": np.abs(base_N) + 1},
        hash_N=hash_keys([f"k{i}" for i in range(4)]),
        tolerance=1e-12,
    )
    assert base.accuracy == scaled.accuracy == pytest.approx((2 + 0.5) / 4)
    assert (base.tally.wins, base.tally.ties, base.tally.losses) == (2, 1, 1)
    assert scaled.to_dict()["difference_to_base"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert not scaled.differs
    assert better.accuracy == 1.0
    assert better.difference == pytest.approx(1.5 / 4)


def test_the_interval_of_a_difference_is_over_prompts_not_rows() -> None:
    rng = np.random.default_rng(0)
    base_N, other_N = rng.normal(0.5, 1, 4000), rng.normal(0.6, 1, 4000)
    keys = [f"k{i}" for i in range(4000)]
    alone, repeated = (
        compare_rewards(
            {"base": np.tile(base_N, times), "other": np.tile(other_N, times)},
            hash_N=hash_keys(keys * times),
            tolerance=0.0,
        )[1]
        for times in (1, 3)
    )
    assert repeated.difference_interval == alone.difference_interval  # three rows a prompt tell no more than one
    assert alone.difference_interval is not None
    # sd of the difference of two independent accuracies: sqrt(2 * .22 / 4000) = .0105
    half = (alone.difference_interval.high - alone.difference_interval.low) / 2
    assert half == pytest.approx(1.96 * 0.0105, rel=0.2)
    assert alone.difference_interval.low < alone.difference < alone.difference_interval.high
