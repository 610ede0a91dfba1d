"""RewardBench 2: best of several responses with ties shared, and the score of subset Ties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.evaluate.rewardbench2 import (
    SUBSETS,
    Extremes,
    Responses,
    RewardBench2,
    Standing,
    ties_score,
)
from tests.composition.builders import plain


def measure(groups, *, tolerance=1e-12):
    """Groups of (subset, id, correct rewards, incorrect rewards), paired as `prepare` pairs them."""
    rows = [
        (subset, name, f"c{i % len(correct)}", f"r{i % len(wrong)}", correct[i % len(correct)], wrong[i % len(wrong)])
        for subset, name, correct, wrong in groups
        for i in range(max(len(correct), len(wrong)))
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 6
    return RewardBench2.measure(Responses(*columns[1:]), subsets=columns[0], tolerance=tolerance)


def test_the_correct_response_must_beat_all_others_and_a_tie_of_k_earns_one_kth():
    found = measure(
        [
            ("Math", "a", [3.0], [1.0, 2.0, 0.0]),  # 1
            ("Math", "b", [2.0], [2.0 + 1e-13, 1.0, 0.0]),  # 1/2: equal within the tolerance
            ("Math", "c", [2.0], [2.0, 2.0, 0.0]),  # 1/3
            ("Math", "d", [2.0], [1.0, 1.0, 3.0]),  # 0
            ("Precise IF", "e", [1.0], [1.0, 1.0, 1.0]),  # 1/4
            ("another", "f", [1.0], [0.0]),
        ]
    )
    scores = found.scores()
    assert scores["math"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4, abs=1e-15)
    assert scores["precise_if"] == 0.25
    assert {name for name, score in scores.items() if score is None} == {
        "factuality",
        "safety",
        "focus",
        "ties",
        "overall",
    }


def test_overall_is_the_mean_of_all_six_subsets():
    groups = [(subset, "g", [1.0], [0.0]) for subset in SUBSETS if subset not in ("Focus", "Ties")]
    groups += [("Focus", "g", [0.0], [1.0]), ("Ties", "ref:1", [1.0], [0.0]), ("Ties", "tied:1", [3.0, 2.0], [0.0])]
    scores = measure(groups).scores()
    # ties: all accurate; spread 1, gap 2, gap of the reference 1: preferred, not preferred hard, tanh(1/1 - 1) = 0.
    assert scores["ties"] == pytest.approx(0.3 + 0.3 + 0.2, abs=1e-15)
    assert scores["overall"] == pytest.approx((4 * 1 + 0 + 0.8) / 6, abs=1e-15)


def extremes(*rewards: float) -> Extremes:
    """Of responses that break no hard rule: best and worst correct, best incorrect."""
    return Extremes(*(Standing(True, reward) for reward in rewards))


def test_the_score_of_ties_counts_accuracy_over_all_questions_and_margins_over_those_asked_twice():
    groups = {
        "tied:1": extremes(5.0, 4.0, 1.0),  # spread 1, gap 3
        "ref:1": extremes(3.0, 3.0, 1.0),  # gap 2: preferred, preferred hard, tanh(2/1 - 1)
        "tied:2": extremes(5.0, 2.0, 1.0),  # spread 3, gap 1: accurate, not preferred
        "ref:2": extremes(0.0, 0.0, 1.0),  # gap -1: wrong, tanh(-1/3 - 1)
        "tied:3": extremes(4.0, 4.0, 4.0),  # spread 0, gap 0: not accurate, not preferred, 0/0
        "ref:3": extremes(4.0, 4.0, 2.0),  # gap 2
        "tied:4": extremes(2.0, 1.0, 0.0),  # accurate; without a reference it has no part in the margins
        "ref:5": extremes(2.0, 2.0, 0.0),
    }
    margin = (math.tanh(1) + math.tanh(-4 / 3) + 0) / 3
    expected = 0.3 * 3 / 4 + 0.3 * 3 / 4 + 0.2 * 1 / 3 + 0.2 * 1 / 3 + 0.01 * margin
    assert ties_score(groups, tolerance=1e-12) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("gap", "score"), [(2.0, 1.01), (-2.0, -0.01)])
def test_correct_responses_without_a_spread_give_the_margin_term_its_sign(gap, score):
    group = extremes(0.0, 0.0, -gap)
    assert ties_score({"tied:7": group, "ref:7": group}, tolerance=1e-12) == pytest.approx(score, abs=1e-15)


def test_ties_have_no_score_where_no_question_is_asked_twice():
    group = extremes(1.0, 1.0, 0.0)
    assert ties_score({"tied:1": group, "ref:2": group}, tolerance=0.0) is None
    assert ties_score({"5f1b": group, "77aa": group}, tolerance=0.0) is None


def test_a_group_whose_rows_lie_in_several_units_has_no_score_except_among_ties():
    parts = [measure([("Math", "a", [1.0], [0.0])]), measure([("Math", "a", [1.0], [2.0])])]
    assert (parts[0] + parts[1]).scores() is None
    reference = measure([("Ties", "ref:1", [1.0], [0.0])])
    whole = measure([("Ties", "tied:1", [3.0, 1.0, 2.0], [0.0, 0.5])])
    cut = measure([("Ties", "tied:1", [3.0, 2.0], [0.0])]) + measure([("Ties", "tied:1", [1.0], [0.5])])
    assert (reference + cut).scores() == (reference + whole).scores() != reference.scores()


GROUPS = st.lists(
    st.tuples(
        st.sampled_from([*SUBSETS, "other"]),
        st.integers(0, 5).map(lambda n: f"{('ref', 'tied')[n % 2]}:{n // 2}"),
        st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=3),
        st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=4),
    ),
    max_size=12,
    unique_by=lambda group: group[:2],
)


@given(GROUPS, st.integers(0, 12), st.randoms())
def test_any_split_and_order_of_the_groups_gives_the_same_scores_to_the_last_bit(groups, cut, random):
    order = random.sample(groups, len(groups))
    merged = measure(order[:cut]) + measure(order[cut:])
    assert plain(dict(sorted(merged.best_of_n.items()))) == plain(dict(sorted(measure(groups).best_of_n.items())))
    assert merged.scores() == measure(groups).scores()


@given(GROUPS, st.sampled_from([0.5, 2.0, 4.0]), st.integers(-4, 4))
def test_scores_do_not_depend_on_scale_and_offset_of_the_rewards(groups, scale, offset):
    moved = [
        (subset, name, [scale * r + offset for r in correct], [scale * r + offset for r in wrong])
        for subset, name, correct, wrong in groups
    ]
    assert measure(moved).scores() == measure(groups).scores()


def test_a_row_without_a_rejected_response_compares_nothing():
    whole = measure([("Math", "a", [3.0], [1.0, 2.0, 0.0])])
    responses = Responses(
        ["a", "a", "a", "a"], ["c0"] * 4, ["r0", "r1", "r2", "r3"], [3.0] * 4, [1.0, 2.0, 0.0, math.nan]
    )
    assert RewardBench2.measure(responses, subsets=["Math"] * 4, tolerance=1e-12).scores() == whole.scores()
