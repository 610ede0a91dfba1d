import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.measure.vetoes import BrokenRules, VetoCounts, breaks
from encore_ray.rules import Rule, RuleSet, Scale, Veto

UNIT = Scale(0.0, 1.0)
TENTHS = Scale(0.0, 1.0, tuple(level / 10 for level in range(11)))
HARD = RuleSet(
    [
        Rule("safe", "", "better", UNIT, veto=Veto("below", 0.3)),
        Rule("kind", "", "better", UNIT),
        Rule("harm", "", "worse", TENTHS, veto=Veto("above", 0.7)),
    ]
)


@pytest.mark.parametrize(
    ("veto", "scale", "score", "expected"),
    [
        (Veto("below", 0.3), UNIT, 0.29, True),
        (Veto("below", 0.3), UNIT, 0.3, False),  # the limit itself keeps the rule
        (Veto("below", 0.7), UNIT, np.float32(0.7), False),  # .69999999: .7 as it is stored
        (Veto("above", 0.3), UNIT, np.float32(0.3), False),  # .30000001
        (Veto("above", 0.3), UNIT, np.nextafter(np.float32(0.3), np.float32(1)), True),
        (Veto("below", 0.7), TENTHS, np.float32(0.7), False),
        (Veto("below", 0.7), TENTHS, np.float32(0.6), True),
        (Veto("below", 0.65), TENTHS, np.float32(0.7), False),
        (Veto("above", 0.7), TENTHS, 0.71, True),  # no level: it counts as it is composed
        (Veto("below", 0.3), UNIT, np.nan, False),
    ],
)
def test_a_score_beyond_the_limit_breaks_a_rule_and_one_equal_to_it_in_float32_keeps_it(veto, scale, score, expected):
    assert breaks(np.array([score]), veto=veto, scale=scale).tolist() == [expected]


def of(chosen_KN, rejected_KN, *, is_pair_N=None) -> BrokenRules:
    is_pair_N = np.ones(np.shape(chosen_KN)[1], dtype=bool) if is_pair_N is None else np.array(is_pair_N)
    found = BrokenRules.of(HARD.rules, chosen_KN=chosen_KN, rejected_KN=rejected_KN, has_rejected_N=is_pair_N)
    assert found is not None
    return found


def test_a_pair_is_decided_where_just_one_response_breaks_any_hard_rule():
    # neither, chosen, rejected, both by different rules, a single response that breaks one
    chosen_KN = np.array([[0.5, 0.1, 0.5, 0.1, 0.1], [0.0] * 5, [0.1, 0.9, 0.1, 0.1, 0.1]])
    rejected_KN = np.array([[0.5, 0.5, 0.5, 0.5, np.nan], [0.0] * 4 + [np.nan], [0.1, 0.1, 0.9, 0.9, np.nan]])
    found = of(chosen_KN, rejected_KN, is_pair_N=[True] * 4 + [False])
    assert found.decided_N.tolist() == [0, -1, 1, 0, 0]
    assert found.listed == (
        [[], ["safe", "harm"], [], ["safe"], ["safe"]],
        [[], [], ["harm"], ["harm"], None],
    )
    assert VetoCounts.of(found).to_dict() == {
        "num_pairs": 2,
        "right": 1,
        "both_break": 1,
        "rules": {"safe": {"chosen": 3, "rejected": 0}, "harm": {"chosen": 1, "rejected": 2}},
    }


def test_without_a_hard_rule_nothing_is_broken():
    assert BrokenRules.of([HARD[1]], chosen_KN=[[0.0]], rejected_KN=[[0.0]], has_rejected_N=np.array([True])) is None


sides = st.lists(st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]), min_size=6, max_size=6), min_size=3, max_size=3)


@given(sides, sides)
def test_swapping_the_sides_swaps_what_vetoes_decide(chosen, rejected):
    one, other = of(np.array(chosen), np.array(rejected)), of(np.array(rejected), np.array(chosen))
    assert (one.decided_N == -other.decided_N).all()
    a, b = VetoCounts.of(one), VetoCounts.of(other)
    assert (a.decided, a.right, a.both) == (b.decided, b.decided - b.right, b.both)


@given(sides, sides, st.integers(0, 6))
def test_counts_of_parts_add_up(chosen, rejected, cut):
    whole = of(np.array(chosen), np.array(rejected))
    parts = [VetoCounts.of(whole.take(rows)) for rows in (np.arange(6) < cut, np.arange(6) >= cut)]
    assert (parts[0] + parts[1]).to_dict() == VetoCounts.of(whole).to_dict()
