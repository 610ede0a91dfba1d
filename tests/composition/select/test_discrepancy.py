import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.select.discrepancy import masked_margins, top_rules
from encore_ray.errors import ConfigError

# three rules, four pairs
D_KN = np.array([[0.5, -0.1, 0.2, 0.0], [-0.25, 0.4, -0.2, 0.0], [0.1, 0.3, 0.2, 0.0]])


def top_margins(
    d_KN: NDArray[np.float64], weight_K: ArrayLike, r: int, *, range_K: ArrayLike | None = None
) -> NDArray[np.float64]:
    return masked_margins(top_rules(d_KN, r, range_K=range_K), d_KN, weight_K)


def test_the_rules_that_tell_a_pair_most_apart_are_kept_and_ties_go_by_rule_order():
    assert top_rules(D_KN, 2).T.tolist() == [
        [True, True, False],
        [False, True, True],
        [True, True, False],
        [True, True, False],
    ]


def test_margins_are_those_of_the_kept_weights_over_their_sum():
    found = top_margins(D_KN, [0.5, 0.3, 0.2], 2)
    # (.5 * .5 - .3 * .25) / .8 = .21875; (.3 * .4 + .2 * .3) / .5 = .36; (.5 * .2 - .3 * .2) / .8 = .05; 0
    assert found.tolist() == pytest.approx([0.21875, 0.36, 0.05, 0.0], abs=1e-15)
    # equal weights: the mean of the kept differences
    plain = top_margins(D_KN, [1 / 3] * 3, 2)
    assert plain.tolist() == pytest.approx([0.125, 0.35, 0.0, 0.0], abs=1e-15)


def test_a_pair_whose_kept_weights_are_all_zero_has_margin_zero():
    assert top_margins(D_KN, [0.0, 0.5, 0.5], 1).tolist() == pytest.approx([0.0, 0.4, 0.0, 0.0])


def test_ratings_in_tenths_tie_as_ratings():
    # .3 - .2 is 5.6e-17 less than .1 in float64: the same difference, so the first rule is kept
    d_KN = np.array([[0.3 - 0.2], [0.1 - 0.0]])
    assert d_KN[0] != d_KN[1]
    assert top_rules(d_KN, 1)[:, 0].tolist() == [True, False]


def test_differences_are_ranked_as_shares_of_each_rules_range():
    # 3 of 10 is less than .5 of 1, though 3 > .5; the margin stays in the units of the scores
    d_KN = np.array([[3.0], [0.5]])
    assert top_margins(d_KN, [0.5, 0.5], 1, range_K=[10.0, 1.0]).tolist() == [0.5]
    assert top_margins(d_KN, [0.5, 0.5], 1).tolist() == [3.0]


@pytest.mark.parametrize("r", [0, 4])
def test_more_rules_than_there_are_are_refused(r):
    with pytest.raises(ConfigError, match=f"keeps {r} rules a pair, of 3: expected 1 to 3"):
        top_rules(D_KN, r)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_margins_change_sign_with_the_pair_and_stay_within_its_differences(r, seed):
    rng = np.random.default_rng(seed)
    d_KN, weight_K = rng.uniform(-1, 1, (6, 5)), rng.dirichlet(np.ones(6))
    margin_N = top_margins(d_KN, weight_K, r)
    assert (top_margins(-d_KN, weight_K, r) == -margin_N).all()
    assert (np.abs(margin_N) <= np.abs(d_KN).max(axis=0) + 1e-12).all()
    assert (top_rules(d_KN, r).sum(axis=0) == r).all()


@given(st.integers(0, 1000))
def test_keeping_every_rule_is_composing_with_all_weights(seed):
    rng = np.random.default_rng(seed)
    d_KN, weight_K = rng.uniform(-1, 1, (4, 5)), rng.dirichlet(np.ones(4))
    assert top_margins(d_KN, weight_K, 4) == pytest.approx(weight_K @ d_KN / weight_K.sum(), abs=1e-14)
