"""The correlation without noise: its interval has the truth in it where that of the estimates has not."""

import numpy as np
import pytest

from encore_ray.composition.inference.agreement import Interval
from encore_ray.composition.inference.disattenuation import remove_noise

K, J = 8, 300


def estimates(truth_K: np.ndarray, rng: np.random.Generator, *, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of J observations of each of K quantities, and those without each; `noise` is that of a mean."""
    seen_JK = truth_K + noise * np.sqrt(J) * rng.normal(size=(J, K))
    return seen_JK.mean(axis=0), (seen_JK.sum(axis=0) - seen_JK) / (J - 1)


def planted(r: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of K numbers of standard deviation 1 that correlate by r exactly."""
    x_K, other_K = np.linalg.qr(np.column_stack([np.ones(K), rng.normal(size=(K, 2))]))[0][:, 1:].T * np.sqrt(K)
    return x_K, r * x_K + np.sqrt(1 - r * r) * other_K


@pytest.mark.parametrize("r", [-0.97, 0.0, 0.8])
def test_the_interval_has_the_truth_in_it_as_often_as_it_says(r: float):
    rng = np.random.default_rng(7)
    covered, values, found = 0, [], []
    for _ in range(200):
        truth = planted(r, rng)
        (x_K, without_x_JK), (y_K, without_y_JK) = (estimates(each, rng, noise=0.3) for each in truth)
        noise_free = remove_noise(x_K, y_K, without_x_JK=without_x_JK, without_y_JK=without_y_JK)
        assert noise_free is not None
        assert noise_free.value is not None
        covered += noise_free.interval.low <= r <= noise_free.interval.high
        values.append(noise_free.value)
        found.append(np.corrcoef(x_K, y_K)[0, 1])
    assert covered / 200 == pytest.approx(0.95, abs=0.046)  # three standard errors
    # Noise of variance .09 beside 1 on either side divides r by 1.09.
    assert np.mean(found) == pytest.approx(r / 1.09, abs=0.03)
    assert np.median(values) == pytest.approx(r, abs=0.03)


def test_without_noise_it_is_the_correlation():
    x_K, y_K = planted(0.6, np.random.default_rng(0))
    still = {"without_x_JK": np.tile(x_K, (9, 1)), "without_y_JK": np.tile(y_K, (9, 1))}
    noise_free = remove_noise(x_K, y_K, **still)
    assert noise_free is not None
    assert noise_free.value == pytest.approx(0.6, abs=0.003)  # the step between two that are tried
    assert noise_free.interval.high - noise_free.interval.low < 0.006


def test_the_sign_of_either_side_turns_the_interval_round():
    rng = np.random.default_rng(3)
    (x_K, without_x_JK), (y_K, without_y_JK) = (estimates(each, rng, noise=0.3) for each in planted(0.7, rng))
    up = remove_noise(x_K, y_K, without_x_JK=without_x_JK, without_y_JK=without_y_JK)
    down = remove_noise(x_K, 1 - y_K, without_x_JK=without_x_JK, without_y_JK=1 - without_y_JK)
    assert up is not None
    assert down is not None
    assert (down.interval.low, down.interval.high) == pytest.approx((-up.interval.high, -up.interval.low), abs=0.01)


def test_rules_that_differ_by_no_more_than_noise_may_correlate_in_any_way():
    rng = np.random.default_rng(0)
    (x_K, without_x_JK), (y_K, _) = (estimates(each, rng, noise=0.3) for each in planted(0.5, rng))
    noisy_JK = y_K + 5 * rng.normal(size=(J, K))
    noise_free = remove_noise(x_K, y_K, without_x_JK=without_x_JK, without_y_JK=noisy_JK)
    assert noise_free is not None
    assert (noise_free.value, noise_free.interval) == (None, Interval(-1.0, 1.0))


def test_what_cannot_be_known_is_none():
    x_K, y_K = planted(0.5, np.random.default_rng(0))
    of_nine = {"without_x_JK": np.tile(x_K, (9, 1)), "without_y_JK": np.tile(y_K, (9, 1))}
    assert remove_noise(x_K, np.full(K, 0.1), **of_nine) is None
    of_one = {"without_x_JK": x_K[None], "without_y_JK": y_K[None]}
    assert remove_noise(x_K, y_K, **of_one) is None
    assert remove_noise(x_K, y_K, **of_nine | {"without_x_JK": np.full((9, K), np.nan)}) is None
