import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.weigh.groups import compose_by_group, warn_of_small_groups
from encore_ray.composition.weigh.rewards import compose
from encore_ray.composition.weigh.schemes import LowestEntropy
from encore_ray.composition.weigh.weighing import weigh
from tests.composition.builders import make_rules, measure

SUBSETS = ["a", "b", None, "unseen", "a"]


def by_group():
    """In subset a rule 0 is constant and has all the weight, in b rule 1, over both rule 0."""
    chosen_KN, rejected_KN = [[1, 1, 0], [0, 1, 1]], [[1, 1, 1], [1, 0, 1]]
    statistics = measure(chosen_KN, rejected_KN, rules=make_rules(2), num_bins=2, subsets=["a", "a", "b"])
    return weigh(statistics, scheme=LowestEntropy(1), by_group=True)


def test_each_row_is_composed_by_the_weights_of_its_subset_and_others_by_those_of_all():
    chosen_KN = np.array([[0.5, 0.5, 0.5, 0.5, 0.25], [1.0, 1.0, 1.0, 1.0, 1.0]])
    rejected_KN = np.zeros((2, 5))
    weights = by_group()
    assert [rule.weight for rule in weights.rules] == [1.0, 0.0]
    found = compose_by_group(
        chosen_KN, rejected_KN, weights=weights, subsets=SUBSETS, has_rejected_N=[True] * 4 + [False]
    )
    assert found.num_without_group == 2
    assert found.rewards.chosen_N.tolist() == [0.5, 1.0, 0.5, 0.5, 0.25]
    assert found.rewards.margin_N[:4].tolist() == [0.5, 1.0, 0.5, 0.5]
    assert math.isnan(found.rewards.margin_N[4])
    assert math.isnan(found.rewards.rejected_N[4])


def test_a_table_without_subsets_is_composed_by_the_weights_of_all():
    chosen_KN, rejected_KN = np.random.default_rng(0).random((2, 2, 4))
    found = compose_by_group(
        chosen_KN, rejected_KN, weights=by_group(), subsets=None, has_rejected_N=np.ones(4, dtype=bool)
    )
    assert found.num_without_group == 4
    assert (found.rewards.margin_N == chosen_KN[0] - rejected_KN[0]).all()


@given(st.lists(st.sampled_from(SUBSETS), min_size=1, max_size=12))
def test_composing_together_is_composing_each_subset_alone_to_the_last_bit(subsets):
    chosen_KN, rejected_KN = np.random.default_rng(len(subsets)).random((2, 2, len(subsets))).astype(np.float32)
    weights = by_group()
    whole = compose_by_group(
        chosen_KN, rejected_KN, weights=weights, subsets=subsets, has_rejected_N=[True] * len(subsets)
    )
    for row, name in enumerate(subsets):
        own = weights.of_group(name) if name in weights.group_weights else weights
        alone = compose(chosen_KN[:, [row]], rejected_KN[:, [row]], weights=own)
        assert whole.rewards.margin_N[row] == pytest.approx(alone.margin_N[0], abs=0)
        assert whole.rewards.chosen_N[row] == pytest.approx(alone.chosen_N[0], abs=0)


def test_subsets_with_under_ten_responses_a_cell_are_named_smallest_first():
    groups = {"large": {"num_responses": 200}, "two": {"num_responses": 2}, "edge": {"num_responses": 199}}
    (said,) = warn_of_small_groups(groups, num_cells=20)
    assert "under 200 responses" in said
    assert "two (2), edge (199). Use" in said
    assert warn_of_small_groups({"large": {"num_responses": 200}}, num_cells=20) == []
