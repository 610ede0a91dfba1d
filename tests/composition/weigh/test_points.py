import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.composition.weigh.evidence import Learned
from encore_ray.composition.weigh.points import times_points
from encore_ray.composition.weigh.schemes import BestSingle, Encore, InverseVariance, LowestEntropy, Random, Uniform
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.rules import RuleSet
from tests.composition.builders import make_rules, measure

RNG = np.random.default_rng(0)
CHOSEN_KN, REJECTED_KN = RNG.beta([[1], [2], [4]], 2, size=(2, 3, 200)).astype(np.float32)
SCHEMES = [Encore(), Encore(0.5), Uniform(), LowestEntropy(2), Random(3), InverseVariance()]
points = st.floats(1e-3, 1e3)


def weights_K(scheme, points_K, **options):
    rules = RuleSet(dataclasses.replace(rule, points=each) for rule, each in zip(make_rules(3), points_K, strict=True))
    return weigh(measure(CHOSEN_KN, REJECTED_KN, rules=rules), scheme=scheme, **options)


def weight_of(weights):
    return [rule.weight for rule in weights.rules]


def test_points_multiply_the_weights_which_are_then_divided_by_their_sum():
    # 1/3 x (2, 1, 3) over their sum
    assert weight_of(weights_K(Uniform(), [2, None, 3])) == pytest.approx([2 / 6, 1 / 6, 3 / 6], abs=1e-15)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(points)
@settings(max_examples=10)
def test_the_same_points_for_all_rules_change_no_bit(scheme, each):
    assert weight_of(weights_K(scheme, [each] * 3)) == weight_of(weights_K(scheme, [None] * 3))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(st.tuples(points, points, points), st.floats(1e-6, 1e6))
@settings(max_examples=10)
def test_points_count_by_their_ratios(scheme, points_K, factor):
    one, other = (weight_of(weights_K(scheme, [c * each for each in points_K])) for c in (1.0, factor))
    assert one == pytest.approx(other, rel=1e-12)
    assert sum(one) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("points_K", [[1e-300, 1e300, 1.0], [5e-324, 1.0, 1.7e308]])
def test_points_of_any_size_leave_weights(points_K):
    found = times_points(np.array([0.5, 0.5, 0.0]), points_K)
    assert found.tolist() == [0.0, 1.0, 0.0]


def test_what_is_learned_from_labels_takes_no_points_and_says_so():
    learned = Learned(160, accuracy_K=(0.4, 0.6, 0.5))
    found = weights_K(BestSingle(), [9, None, None], learned=learned)
    assert weight_of(found) == [0.0, 1.0, 0.0]
    assert any("takes no points: those of rule0 count for nothing" in warning for warning in found.warnings)


def test_each_subset_weighs_by_points_too():
    rules = RuleSet(dataclasses.replace(rule, points=k + 1.0) for k, rule in enumerate(make_rules(3)))
    subsets = ["a", "b"] * 100
    found = weigh(measure(CHOSEN_KN, REJECTED_KN, rules=rules, subsets=subsets), by_group=True)
    plain = weigh(measure(CHOSEN_KN, REJECTED_KN, rules=make_rules(3), subsets=subsets), by_group=True)
    for name in "ab":
        times = np.array(plain.group_weights[name]) * [1, 2, 3]
        assert found.group_weights[name] == pytest.approx(times / times.sum(), rel=1e-14)
