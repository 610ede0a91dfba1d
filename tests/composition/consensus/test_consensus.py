"""The consensus of rules: what the method's laws say, on planted differences of known loadings."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.composition.consensus.consensus import find_consensus
from encore_ray.composition.consensus.near_duplicates import near_duplicates
from encore_ray.composition.consensus.one_factor import LARGEST, fit_one_factor

SEEDS = st.integers(0, 10_000)
SOME = settings(max_examples=25)  # a fit takes some milliseconds


def differences(seed: int = 0, num_rules: int = 6, num_pairs: int = 300) -> np.ndarray:
    """d_k = l_k f + sqrt(1 - l_k^2) z of one quality f and an error z of each rule's own."""
    rng = np.random.default_rng(seed)
    loading_K = rng.uniform(0.2, 0.8, num_rules)
    quality_N, error_KN = rng.standard_normal(num_pairs), rng.standard_normal((num_rules, num_pairs))
    return loading_K[:, None] * quality_N + np.sqrt(1 - loading_K[:, None] ** 2) * error_KN


def consensus(d_KN: np.ndarray):
    return find_consensus(d_KN @ d_KN.T / d_KN.shape[1], num_pairs=d_KN.shape[1])


def test_loadings_of_correlations_that_one_factor_makes_are_found_exactly():
    loading_G = np.array([0.9, 0.7, 0.5, 0.3, -0.2, 0.0])
    fit = fit_one_factor((loading_G[:, None] * loading_G)[None])
    assert fit.loading_BG[0] == pytest.approx(loading_G, abs=1e-11)
    assert fit.explained_B[0] == pytest.approx(1, abs=1e-12)


@SOME
@given(SEEDS)
def test_no_other_loading_of_one_rule_fits_better(seed):
    r_KK = consensus(differences(seed)).r_KK
    loading_K = fit_one_factor(r_KK[None]).loading_BG[0]
    off_KK = ~np.eye(6, dtype=bool)

    def left(loading_K):
        return ((r_KK - np.outer(loading_K, loading_K))[off_KK] ** 2).sum()

    for k in range(6):
        for step in (-1e-4, 1e-4):
            assert left(loading_K + step * np.eye(6)[k]) > left(loading_K)


def test_fits_at_once_are_those_of_each_alone_to_the_last_bit():
    r_BKK = np.stack([consensus(differences(seed)).r_KK for seed in range(5)])
    together = fit_one_factor(r_BKK)
    for r_KK, loading_G in zip(r_BKK, together.loading_BG, strict=True):
        assert fit_one_factor(r_KK[None]).loading_BG[0].tolist() == loading_G.tolist()


def test_a_loading_is_cut_where_a_rule_goes_with_the_others_too_well():
    # l1 l2 = .9 with l2 l3 = l1 l3 = .5 wants l1 = l2 = .95 and l3 = .53; with .95 and .3 it wants l1 > 1
    r_KK = np.array([[1, 0.95, 0.9], [0.95, 1, 0.4], [0.9, 0.4, 1]])
    loading_K = fit_one_factor(r_KK[None]).loading_BG[0]
    assert loading_K[0] == LARGEST
    found = find_consensus(r_KK * (1 - np.eye(3)) * 0.9 + np.eye(3), num_pairs=10)
    assert found.clipped_K == (True, False, False)


def test_near_duplicates_join_by_their_smallest_correlation():
    r_KK = np.array([[1, 0.95, 0.8, 0], [0.95, 1, 0.92, 0], [0.8, 0.92, 1, 0], [0, 0, 0, 1]])
    assert near_duplicates(r_KK) == [(0, 1), (2,), (3,)]  # 2 goes with 1, not with 0
    r_KK[0, 2] = r_KK[2, 0] = 0.9
    assert near_duplicates(r_KK) == [(0, 1, 2), (3,)]
    assert near_duplicates(np.ones((3, 3))) == [(0, 1, 2)]
    assert near_duplicates(-np.ones((2, 2)) + 2 * np.eye(2)) == [(0,), (1,)]  # opposites are no duplicates
    assert near_duplicates(np.zeros((0, 0))) == []


@SOME
@given(SEEDS, st.permutations(range(6)))
def test_permuting_rules_permutes_to_the_last_bit(seed, order):
    d_KN = differences(seed)
    moment_KK = d_KN @ d_KN.T / 300
    moment_KK = (moment_KK + moment_KK.T) / 2
    found = find_consensus(moment_KK, num_pairs=300)
    permuted = find_consensus(moment_KK[np.ix_(order, order)], num_pairs=300)
    assert permuted.explained == pytest.approx(found.explained, abs=1e-14)
    assert [found.loading_K[k] for k in order] == list(permuted.loading_K)
    assert found.weigh(force=True)[order].tolist() == permuted.weigh(force=True).tolist()


@SOME
@given(SEEDS, st.integers(0, 5), st.floats(1e-6, 1e6))
def test_scaling_a_rule_scales_its_weight_by_the_inverse(seed, k, factor):
    d_KN = differences(seed)
    scaled_KN = d_KN.copy()
    scaled_KN[k] *= factor
    before, after = consensus(d_KN), consensus(scaled_KN)
    assert after.loading_K == pytest.approx(before.loading_K, abs=1e-9)
    expected_K = before.weigh(force=True)
    expected_K[k] /= factor
    assert after.weigh(force=True) == pytest.approx(expected_K / expected_K.sum(), rel=1e-8, abs=1e-300)


@SOME
@given(SEEDS, st.integers(0, 5), st.integers(1, 4))
def test_copies_share_the_weight_of_one_and_change_nothing_else(seed, k, num_copies):
    d_KN = differences(seed)
    alone, copied = consensus(d_KN), consensus(np.concatenate([d_KN, *[d_KN[k : k + 1]] * num_copies]))
    assert copied.num_groups == alone.num_groups
    assert copied.explained == pytest.approx(alone.explained, abs=1e-12)
    weight_K, copied_K = alone.weigh(force=True), copied.weigh(force=True)
    assert copied_K[[k, *range(6, 6 + num_copies)]] == pytest.approx(weight_K[k] / (num_copies + 1), rel=1e-9)
    others = [j for j in range(6) if j != k]
    assert copied_K[others] == pytest.approx(weight_K[others], rel=1e-9)


@SOME
@given(SEEDS, st.integers(0, 6), st.booleans())
def test_constant_rules_weigh_nothing_and_change_nothing(seed, place, force):
    d_KN = differences(seed)
    found, with_constant = consensus(d_KN), consensus(np.insert(d_KN, place, 0.0, axis=0))
    assert math.isnan(with_constant.loading_K[place])
    assert with_constant.weigh(force=force)[place] == 0
    assert np.delete(with_constant.weigh(force=force), place) == pytest.approx(found.weigh(force=force), rel=1e-12)
    assert with_constant.num_groups == found.num_groups


def test_a_rule_that_goes_against_the_others_weighs_nothing():
    d_KN = differences(num_pairs=5000)
    d_KN[2] *= -1
    found = consensus(d_KN)
    assert found.loading_K[2] < 0
    assert found.weigh(force=True)[2] == 0
    assert sum(found.loading_K) > 0


@SOME
@given(SEEDS)
def test_four_groups_are_never_trusted_whatever_the_fit(seed):
    d_KN = differences(seed, num_rules=4, num_pairs=4000)
    found = consensus(np.concatenate([d_KN, d_KN[:1]]))  # five rules, two of them copies
    assert (found.num_groups, found.trusted) == (4, False)
    assert found.weigh(force=False).tolist() == [0.2] * 5


def test_two_directions_are_not_trusted_and_weigh_alike():
    first_KN, second_KN = differences(1, num_rules=4, num_pairs=4000), differences(2, num_rules=4, num_pairs=4000)
    found = consensus(np.concatenate([first_KN, second_KN]))
    assert found.num_groups == 8
    assert found.explained < 0.9
    assert not found.trusted
    assert found.weigh(force=False).tolist() == [0.125] * 8
    assert found.weigh(force=True).tolist() == found.weight_K.tolist()


def test_weights_are_the_factor_scores_of_the_loadings():
    loading_K = np.array([0.8, 0.6, 0.5, 0.4, 0.2])
    r_KK = np.outer(loading_K, loading_K) * (1 - np.eye(5)) + np.eye(5)
    deviation_K = np.array([1.0, 2.0, 0.5, 1.0, 4.0])
    found = find_consensus(r_KK * np.outer(deviation_K, deviation_K), num_pairs=1)
    share_K = loading_K / (1 - loading_K**2) / deviation_K
    assert found.trusted
    assert found.weigh(force=False) == pytest.approx(share_K / share_K.sum(), rel=1e-9)


def test_residuals_are_what_the_factor_leaves_of_the_correlations():
    found = consensus(differences())
    expected_KK = found.r_KK - np.outer(found.loading_K, found.loading_K)
    off_KK = ~np.eye(6, dtype=bool)
    assert found.residual_KK[off_KK].tolist() == expected_KK[off_KK].tolist()
    assert np.isnan(np.diag(found.residual_KK)).all()
