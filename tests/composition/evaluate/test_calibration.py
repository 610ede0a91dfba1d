"""Probabilities fitted to labels: what they recover, how they are evaluated, which source wins."""

import math

import numpy as np
import pytest

from encore_ray.composition.evaluate.calibration import (
    Reliability,
    calibrate,
    density_deviations,
    fit_platt,
    fit_to_labels,
    log_odds_of_densities,
)


def test_the_fit_recovers_a_planted_logistic() -> None:
    rng = np.random.default_rng(0)
    x_N = rng.normal(3.0, 40.0, 200_000)
    is_true_N = rng.random(len(x_N)) < 1 / (1 + np.exp(-(0.05 * x_N - 0.4)))
    found = fit_platt(x_N, is_true_N)
    assert found.slope == pytest.approx(0.05, rel=0.02)
    assert found.intercept == pytest.approx(-0.4, abs=0.02)
    # At the optimum the predicted and the true totals agree but for the ridge.
    assert found.probability(x_N).mean() == pytest.approx(is_true_N.mean(), abs=1e-3)


def test_margins_that_are_always_right_give_a_finite_slope_and_no_side() -> None:
    found = fit_to_labels(np.array([1.0, 2.0, 5.0]))
    assert 0 < found.slope < 100
    assert found.intercept == pytest.approx(0.0, abs=1e-12)
    assert found.probability(np.array([1e6]))[0] == pytest.approx(1.0)
    assert fit_to_labels(np.zeros(3)).probability(np.array([7.0]))[0] == pytest.approx(0.5)


def test_reliability_counts_gap_loss_and_brier() -> None:
    # Confidence .9 three times, right twice; .6 once, wrong (p = .4): |.9 - 2/3| * 3/4 + |.6 - 0| * 1/4 = .325
    found = Reliability.of(np.array([0.9, 0.9, 0.1, 0.4]))
    assert found.ece == pytest.approx(0.325)
    assert found.log_loss == pytest.approx(-(2 * math.log(0.9) + math.log(0.1) + math.log(0.4)) / 4)
    assert found.brier == pytest.approx((2 * 0.01 + 0.81 + 0.36) / 4)
    assert [(one["num_pairs"], one["right"]) for one in found.to_dict()["bins"] if one["num_pairs"]] == [
        (1, 0.0),
        (3, pytest.approx(2 / 3)),
    ]
    assert math.isfinite(Reliability.of(np.array([0.0, 1.0])).log_loss)


def test_the_source_that_knows_more_wins_on_pairs_it_was_not_fitted_to() -> None:
    rng = np.random.default_rng(1)
    gap_N = np.abs(rng.standard_normal(6000))
    right_N = rng.random(6000) < 1 / (1 + np.exp(-2 * gap_N))
    good_N = np.where(right_N, gap_N, -gap_N)
    sources = calibrate({"blind": rng.standard_normal(6000), "good": 100 * good_N}, fitted_N=np.arange(6000) % 2 == 0)
    assert [source.name for source in sources] == ["good", "blind"]
    assert sources[0].logistic.slope == pytest.approx(0.02, rel=0.1)
    assert sources[0].reliability.ece < 0.03
    assert sources[1].reliability.log_loss == pytest.approx(math.log(2), abs=0.01)
    assert sources[0].reliability.num_pairs == 3000


def test_the_source_is_chosen_by_the_pairs_it_is_fitted_to_not_by_those_that_judge_it() -> None:
    rng = np.random.default_rng(2)
    fitted_N = np.arange(4000) < 2000
    right_N = rng.random(4000) < 0.8
    informed_N = np.where(right_N, 1.0, -1.0) * rng.random(4000)
    # One source knows the labels of the first half only, the other one those of the half that tests.
    first, second = (np.where(fitted_N == early, informed_N, rng.standard_normal(4000)) for early in (True, False))
    sources = calibrate({"second": second, "first": first}, fitted_N=fitted_N)
    assert [source.name for source in sources] == ["first", "second"]
    assert sources[0].fitted_log_loss < sources[1].fitted_log_loss
    assert sources[0].reliability.log_loss > sources[1].reliability.log_loss
    others = Reliability.of(sources[0].logistic.probability(first[~fitted_N]))
    assert sources[0].reliability == others


def test_the_odds_of_two_densities_are_those_of_their_draws() -> None:
    grid_G = np.linspace(-6, 6, 401)
    energy_2G = -0.5 * ((grid_G - np.array([[1.0], [0.0]])) / np.array([[0.6], [0.8]])) ** 2 + 300
    # Gaussians: P = Phi((1 - 0) / sqrt(.36 + .64)) = Phi(1)
    p = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert log_odds_of_densities(energy_2G[:1], energy_2G[1:])[0] == pytest.approx(math.log(p / (1 - p)), abs=1e-3)
    assert log_odds_of_densities(energy_2G[1:], energy_2G[:1])[0] == pytest.approx(-math.log(p / (1 - p)), abs=1e-3)
    np.testing.assert_allclose(density_deviations(energy_2G, grid_G), [0.6, 0.8], rtol=1e-3)
