import numpy as np
import pytest

from encore_ray.composition.hashing.keys import hash_keys
from encore_ray.composition.select.discrepancy import top_rules
from encore_ray.composition.select.selection import label_pairs, most_relevant, random_rules, select_rules
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


def test_an_adapter_chooses_by_relevance_alone_and_equal_ones_go_by_rule_order():
    relevance_KN = np.array([[0.5, 0.1, 0.3], [0.5, 0.9, 0.3], [0.7, 0.8, 0.3]])
    mask_KN = most_relevant(relevance_KN, 2)
    assert mask_KN.T.tolist() == [[True, False, True], [False, True, True], [True, True, False]]
    # Differences say nothing about which rules are chosen, but which response they prefer: 1 + .2; .8 + .6; .4 - .4.
    assert label_pairs(mask_KN, D_KN[:, :3], range_K=WIDTH_K).margin_N.tolist() == pytest.approx([1.2, 1.4, 0.0])
    assert label_pairs(mask_KN, D_KN[:, :3], range_K=WIDTH_K).label_N.tolist() == [1, 1, 0]
    with pytest.raises(DataError, match="1 relevances are not from 0 to 1"):
        most_relevant(np.array([[0.5], [np.nan]]), 1)


def test_random_rules_are_as_many_for_every_pair_even_and_the_same_wherever_the_pair_is():
    hash_N = hash_keys([f"pair-{i}" for i in range(4000)])
    mask_KN = random_rules(hash_N, 2, num_rules=8, seed=0)
    assert (mask_KN.sum(axis=0) == 2).all()
    # Each rule with probability 1/4: 1,000 of 4,000, with a standard deviation of 27.
    assert (np.abs(mask_KN.sum(axis=1) - 1000) < 4 * 27).all()
    assert (random_rules(hash_N[2000:], 2, num_rules=8, seed=0) == mask_KN[:, 2000:]).all()
    assert (random_rules(hash_N, 2, num_rules=8, seed=1) != mask_KN).any()
