import numpy as np
import pytest

from encore_ray.composition.discrepancy import top_rules
from encore_ray.composition.selection import select_rules
from encore_ray.errors import ConfigError, DataError

# three rules with scores from -1 to 1, four pairs
D_KN = np.array([[1.0, -0.2, 0.4, 0.0], [-0.5, 0.8, -0.4, 0.0], [0.2, 0.6, 0.4, 0.0]])
WIDTH_K = [2.0, 2.0, 2.0]


def test_without_relevance_the_rules_of_the_largest_discrepancy_are_chosen():
    found = select_rules(D_KN, 2, range_K=WIDTH_K)
    assert (found.mask_KN == top_rules(D_KN, 2)).all()
    # 1 - .5; .8 + .6; .4 - .4 is a tie; nothing but ties
    assert found.margin_N.tolist() == pytest.approx([0.5, 1.4, 0.0, 0.0])
    assert found.label_N.tolist() == [1, 1, 0, 0]


def test_relevance_counts_as_much_as_half_the_discrepancy():
    relevance_KN = np.zeros((3, 4))
    relevance_KN[2, 0] = 0.2  # .1 + .2 beats .5 / 2 = .25
    relevance_KN[0, 1] = 0.19  # .1 + .19 does not beat .6 / 2
    relevance_KN[0, 2] = relevance_KN[1, 2] = 0.1
    relevance_KN[2, 3] = 0.01
    found = select_rules(D_KN, 2, range_K=WIDTH_K, relevance_KN=relevance_KN)
    assert found.mask_KN.T.tolist() == [
        [True, False, True],
        [False, True, True],
        [True, True, False],
        [True, False, True],
    ]
    assert found.label_N.tolist() == [1, 1, 0, 0]


def test_swapping_the_responses_turns_every_label_and_keeps_the_rules():
    rng = np.random.default_rng(0)
    d_KN, relevance_KN = rng.uniform(-2, 2, (6, 50)), rng.uniform(size=(6, 50))
    one, other = (select_rules(d, 3, range_K=np.full(6, 2.0), relevance_KN=relevance_KN) for d in (d_KN, -d_KN))
    assert (one.mask_KN == other.mask_KN).all()
    assert (one.label_N == -other.label_N).all()
    assert {1, -1} <= set(one.label_N.tolist())


@pytest.mark.parametrize("r", [1, 2, 3])
def test_the_number_of_rules_asked_for_is_the_number_chosen(r: int):
    assert (select_rules(D_KN, r, range_K=WIDTH_K).mask_KN.sum(axis=0) == r).all()


def test_a_sum_that_is_zero_but_for_rounding_is_a_tie():
    d_KN = np.array([[0.3 - 0.2], [0.1 - 0.2], [0.0]])
    assert d_KN.sum() != 0
    assert select_rules(d_KN, 2, range_K=WIDTH_K).label_N.tolist() == [0]


def test_more_rules_than_there_are_and_relevances_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="expected 1 to 3"):
        select_rules(D_KN, 4, range_K=WIDTH_K)
    relevance_KN = np.zeros((3, 4))
    relevance_KN[0, :2] = 1.5, np.nan
    with pytest.raises(DataError, match="2 relevances are not from 0 to 1"):
        select_rules(D_KN, 1, range_K=WIDTH_K, relevance_KN=relevance_KN)
