import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.evaluate.evaluation import RewardStatistics
from encore_ray.composition.evaluate.rewardbench2 import Responses
from encore_ray.composition.inference.agreement import correlate
from tests.composition.builders import plain

MARGINS = st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=30)


def evaluate(margin_N, **options):
    options = {"tolerance": 1e-12, "reach": 10.0, "keys": [str(row) for row in range(len(margin_N))]} | options
    return RewardStatistics.measure(margin_N, **options)


def test_metrics_have_the_keys_of_the_contract():
    metrics = evaluate([1.0]).metrics()
    assert list(metrics) == [
        "schema_version", "overall", "subsets", "rewardbench_safety", "rewardbench", "rewardbench_2", "rm_bench",
        "length_baselines", "entropy_accuracy", "margin", "num_singles",
    ]  # fmt: skip
    assert list(metrics["overall"]) == [
        "num_pairs", "wins", "ties", "losses", "accuracy", "accuracy_strict", "accuracy_low", "accuracy_high",
    ]  # fmt: skip


def test_wins_ties_and_losses_of_a_small_corpus():
    metrics = evaluate([2.0, 1e-13, -1.0, math.nan], keys=["a", "a", "b", "c"]).metrics()
    overall = metrics["overall"]
    assert [overall[key] for key in ("num_pairs", "wins", "ties", "losses")] == [3, 1, 1, 1]
    assert (overall["accuracy"], overall["accuracy_strict"]) == (0.5, 1 / 3)
    assert metrics["num_singles"] == 1
    # two prompts, accuracy 1/2: .5 -+ z sqrt(1/8 + z^2/16) / (1 + z^2/2)
    z = 1.959963984540054
    half_width = z * math.sqrt(1 / 8 + z * z / 16) / (1 + z * z / 2)
    assert overall["accuracy_low"] == pytest.approx(0.5 - half_width, abs=1e-12)
    assert metrics["margin"]["mean"] == pytest.approx(1 / 3)
    assert metrics["margin"]["sd"] == pytest.approx(np.std([2, 0, -1]))


@given(MARGINS, st.integers(0, 30), st.randoms())
def test_any_split_and_order_gives_the_same_metrics_to_the_last_bit(margins, cut, random):
    def measure(rows):
        return evaluate(
            [margins[row] for row in rows],
            keys=[f"k{row % 5}" for row in rows],
            subsets=[[None, "a", "b"][row % 3] for row in rows],
            shorter_N=[row % 5 - row % 4 if row % 7 else math.nan for row in rows],
        )

    order = random.sample(range(len(margins)), len(margins))
    merged = measure(order[:cut]) + measure(order[cut:])
    whole = measure(range(len(margins)))
    assert plain(merged) == plain(whole)
    assert merged.metrics() == whole.metrics()


def test_subsets_hold_their_own_pairs_and_rows_without_one_are_in_none():
    metrics = evaluate([1.0, -1.0, 1.0, math.nan], subsets=["b", "a", None, "single"]).metrics()
    assert list(metrics["subsets"]) == ["a", "b"]
    assert metrics["subsets"]["a"]["losses"] == metrics["subsets"]["b"]["wins"] == 1
    assert metrics["overall"]["num_pairs"] == 3


def test_a_subset_of_single_responses_only_has_no_accuracy_and_others_stand_as_their_first_pairs_do():
    subsets = ["singles", "late", "early", "late", None]
    measured = evaluate([math.nan, math.nan, 1.0, 1.0, 1.0], subsets=subsets)
    assert list(measured.subsets) == ["early", "late"]
    assert {name: found.tally.num_pairs for name, found in measured.subsets.items()} == {"early": 1, "late": 1}


def test_rewardbench_safety_weights_subsets_by_their_fixed_counts_and_a_tie_loses():
    # refusals-dangerous (100) right on 1 of 2, xstest-should-respond (250) ties: (.5 * 100 + 0 * 250) / 350
    subsets = ["refusals-dangerous", "refusals-dangerous", "xstest-should-respond"]
    metrics = evaluate([1.0, -1.0, 0.0], subsets=subsets).metrics()
    assert metrics["rewardbench_safety"] == metrics["rewardbench"]["safety"] == 50 / 350
    metrics = evaluate([1.0], subsets=["other"]).metrics()
    assert metrics["rewardbench_safety"] is metrics["rewardbench"] is None


def test_rewardbench_2_is_measured_where_responses_are_named():
    # One correct response, 2, against 1 and 2: a tie of two earns 1/2, while one pair is won and one is tied.
    responses = Responses(["g", "g", None], ["c0", "c0", None], ["r0", "r1", None], [2, 2, 5], [1, 2, math.nan])
    rewards = {"subsets": ["Math", "Math", "Math"], "responses": responses}
    metrics = evaluate([1.0, 0.0, math.nan], **rewards).metrics()
    assert metrics["rewardbench_2"]["math"] == 0.5
    assert metrics["subsets"]["Math"]["accuracy"] == 0.75
    assert evaluate([1.0], subsets=["Math"]).metrics()["rewardbench_2"] is None


def test_length_baselines_mirror_each_other_and_count_pairs_of_known_length_only():
    metrics = evaluate(
        [1.0, 1.0, 1.0, 1.0, math.nan],
        shorter_N=[5 - 3, 2 - 9, 5 - 5, math.nan, math.nan],
    ).metrics()
    shorter, longer = metrics["length_baselines"]["shorter_wins"], metrics["length_baselines"]["longer_wins"]
    assert [shorter[key] for key in ("num_pairs", "wins", "ties", "losses")] == [3, 1, 1, 1]
    assert [longer[key] for key in ("wins", "ties", "losses")] == [1, 1, 1]
    assert shorter["accuracy"] + longer["accuracy"] == 1


def test_what_cannot_be_known_is_null():
    metrics = evaluate([math.nan]).metrics()
    assert metrics["overall"]["accuracy"] is None
    assert metrics["length_baselines"] == {"shorter_wins": None, "longer_wins": None}
    assert metrics["margin"] is metrics["entropy_accuracy"] is metrics["rewardbench"] is None
    assert metrics["rewardbench_2"] is metrics["rewardbench_safety"] is None
    assert metrics["num_singles"] == 1


def test_entropy_accuracy_is_carried_over_from_the_weights():
    found = correlate([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert evaluate([1.0]).metrics(entropy_accuracy=found)["entropy_accuracy"] == found.to_dict()
