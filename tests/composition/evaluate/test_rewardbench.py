"""RewardBench: sections weighted by fixed counts, as the official tool has them."""

import pytest

from encore_ray.composition.evaluate.rewardbench import SECTIONS, partial_sections, rewardbench
from encore_ray.composition.inference.agreement import Tally

WIN, TIE, LOSS = Tally(1, 0, 0), Tally(0, 1, 0), Tally(0, 0, 1)


def test_the_fixed_counts_are_those_of_the_benchmark():
    # 2,985 rows are scored, of which math-prm has 447 and counts as 984, like the six times 164 of code.
    assert [len(counts) for counts in SECTIONS.values()] == [5, 6, 5, 7]
    assert [sum(counts.values()) for counts in SECTIONS.values()] == [358, 456, 740, 984 + 6 * 164]
    assert sum(sum(counts.values()) for counts in SECTIONS.values()) - 984 + 447 == 2985
    assert (SECTIONS["safety"]["xstest-should-refuse"], SECTIONS["safety"]["xstest-should-respond"]) == (154, 250)


def test_a_section_weights_the_subsets_that_are_there_by_their_fixed_counts_and_a_tie_loses():
    tallies = {
        "alpacaeval-easy": Tally(1, 0, 1),
        "alpacaeval-length": TIE,
        "mt-bench-med": WIN,
        "math-prm": WIN,
        "hep-cpp": LOSS,
        "another corpus": WIN,
    }
    scores = rewardbench(tallies)
    assert scores == {
        "chat": pytest.approx((0.5 * 100 + 0 * 95 + 1 * 40) / (100 + 95 + 40), abs=1e-15),
        "chat_hard": None,
        "safety": None,
        "reasoning": pytest.approx(984 / (984 + 164), abs=1e-15),
        "overall": None,
    }


def test_overall_is_the_mean_of_the_four_sections_each_counting_the_same():
    tallies = {
        "alpacaeval-easy": WIN,  # chat 1
        "mt-bench-hard": LOSS,  # chat hard 0
        "donotanswer": Tally(3, 0, 1),  # safety 3/4
        "hep-rust": TIE,  # reasoning 0
    }
    assert rewardbench(tallies) == {"chat": 1, "chat_hard": 0, "safety": 0.75, "reasoning": 0, "overall": 1.75 / 4}


def test_a_section_of_some_of_its_subsets_says_which_are_missing():
    names = ["donotanswer", "refusals-dangerous", "hep-go", *SECTIONS["chat"], "other"]
    assert partial_sections(names) == {
        "safety": "2 of 5 subsets, without refusals-offensive, xstest-should-refuse, xstest-should-respond",
        "reasoning": "1 of 7 subsets, without math-prm, hep-cpp, hep-java, hep-js, hep-python, hep-rust",
    }


def test_without_its_subsets_there_is_no_score():
    assert rewardbench({"another corpus": WIN, "Safety": WIN}) is None
