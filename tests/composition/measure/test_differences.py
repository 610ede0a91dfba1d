import numpy as np
import pytest

from encore_ray.composition.measure.differences import RuleAgreement, signed_differences
from encore_ray.composition.weigh.rewards import compose
from encore_ray.composition.weigh.schemes import Encore
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import make_rule, measure

TENTHS = Scale(0.0, 1.0, tuple(level / 10 for level in range(11)))
MIXED = RuleSet([make_rule("tenths", scale=TENTHS), make_rule("harm", higher_is="worse", scale=Scale(0.0, 10.0))])


def test_differences_are_signed_snapped_and_mapped_where_asked():
    chosen_KN, rejected_KN = np.array([[0.3], [2.0]], np.float32), np.array([[0.1], [7.0]], np.float32)
    raw = signed_differences(chosen_KN, rejected_KN, rules=MIXED, score_range="raw")
    assert raw.tolist() == [[0.3 - 0.1], [5.0]]  # levels in float64, not float32's .3
    unit = signed_differences(chosen_KN, rejected_KN, rules=MIXED, score_range="unit")
    assert unit.tolist() == [[0.3 - 0.1], [0.5]]


@pytest.mark.parametrize("score_range", ["unit", "raw"])
def test_weighted_differences_are_the_margins_of_compose(score_range):
    rng = np.random.default_rng(0)
    chosen_KN, rejected_KN = (rng.integers(0, 11, (2, 2, 50)) / [[[10], [1]]]).astype(np.float32)
    weights = weigh(measure(chosen_KN, rejected_KN, rules=MIXED), scheme=Encore(0.5), score_range=score_range)
    d_KN = signed_differences(chosen_KN, rejected_KN, rules=MIXED, score_range=score_range)
    margin_N = compose(chosen_KN, rejected_KN, weights=weights).margin_N
    assert [rule.weight for rule in weights.rules] @ d_KN == pytest.approx(margin_N, abs=1e-14)


@pytest.mark.parametrize("score_range", ["unit", "raw"])
def test_agreement_counts_the_wins_ties_and_losses_of_each_rule(score_range):
    rng = np.random.default_rng(1)
    chosen_KN, rejected_KN = (rng.integers(0, 11, (2, 2, 50)) / [[[10], [1]]]).astype(np.float32)
    d_KN = signed_differences(chosen_KN, rejected_KN, rules=MIXED, score_range=score_range)
    how = {"rules": MIXED, "score_range": score_range}
    found = RuleAgreement.of(d_KN[:, :20], **how) + RuleAgreement.of(d_KN[:, 20:], **how)
    counts_K = measure(chosen_KN, rejected_KN, rules=MIXED).counts_K
    assert found.tally_K == tuple(counts.tally for counts in counts_K)
    assert found.accuracy_K == tuple(counts.tally.accuracy for counts in counts_K)
    assert RuleAgreement.of(d_KN[:, :0], **how).accuracy_K is None
