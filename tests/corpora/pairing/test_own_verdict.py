"""Pairs whose own ratings do not say what their label says are counted, whatever form the ratings have."""

from pathlib import Path
from typing import Any

import pytest

from encore_ray.corpora.pairing.own_verdict import AGAINST, ALIKE
from tests.corpora.prepared import prepare, write_as

PAIR = {"prompt": "Name a moon of Saturn.", "chosen": "Titan.", "rejected": "The sun."}


def rated(chosen: Any, rejected: Any, form: str = "score_{}") -> dict[str, Any]:
    return {**PAIR, form.format("chosen"): chosen, form.format("rejected"): rejected}


ROWS = {
    "ultrafeedback_binarized": (lambda one, other: rated(one, other), (7.5, 9.0), (8, 8), (9, 3.5)),
    "argilla": (lambda one, other: rated(one, other, "{}-rating"), (2.0, 4.5), (4, 4), (5, 1)),
    "capybara": (lambda one, other: rated(one, other, "rating_{}"), (2, 4), (4, 4), (5, 1)),
    "orca, in text": (lambda one, other: rated(str(one), str(other), "{}_score"), (2, 4), (4, 4), (5, 1)),
    "columns of rules": (lambda one, other: rated(one, other, "{}__overall"), (2, 4), (4, 4), (5, 1)),
    "lists of rules": (
        lambda one, other: {
            **PAIR,
            "chosen_scores": [1, one],
            "rejected_scores": [5, other],
            "rule_names": ["length", "Overall_score"],
        },
        (2, 4),
        (4, 4),
        (5, 1),
    ),
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", ROWS)
def test_own_ratings_against_the_label_and_those_that_decide_nothing_are_counted(tmp_path: Path, form: str, kind: str):
    row, worse, alike, better = ROWS[form]
    done = prepare(write_as(tmp_path, kind, [row(*worse), row(*alike), row(*better), row(*better)]))
    assert (len(done.pairs), done.notes) == (4, {AGAINST: 1, ALIKE: 1})


@pytest.mark.parametrize(
    "row",
    [
        rated(None, 4.0),
        rated(float("nan"), 4.0),
        rated(2.0, 4.0, "{}__harm"),  # whether more is better, nobody says here
        {"prompt": "Hi.", "response": "Yes.", "score_chosen": 1, "score_rejected": 2},
        {**rated(2.0, 4.0), "rejected": ["The sun.", "Io."]},
    ],
    ids=["missing", "no number", "a rule of unknown direction", "one response", "several rejected ones"],
)
def test_ratings_that_say_nothing_of_the_label_are_not_counted(tmp_path: Path, row: dict[str, Any]):
    done = prepare(write_as(tmp_path, "jsonl", [row, {**row}]))
    assert done.units and not {AGAINST, ALIKE} & done.notes.keys()


@pytest.mark.parametrize(("margin", "count"), [(-0.5, 1), ("-2", 1), (0.0, 0), (1.5, 0), (None, 0), ("wide", 0)])
def test_a_margin_below_zero_is_against_the_label(tmp_path: Path, margin: Any, count: int):
    done = prepare(write_as(tmp_path, "jsonl", [{**PAIR, "margin": margin}]))
    assert done.notes.get(AGAINST, 0) == count


@pytest.mark.parametrize(
    ("prompt", "chosen", "said", "count"),
    [
        ("Name a moon.", "Assistant: Titan.", "Assistant: Titan.", 1),
        ("Name a moon.", "Titan.</s>", "Titan.</s>", 1),
        ("Name a moon.", "Titan. <|im_end|>\n", "Titan. <|im_end|>\n", 1),
        ("Name a moon.", "The Assistant: Titan </s>?", "The Assistant: Titan </s>?", 0),
        # A prompt with markers: those of the response are no content.
        ("\n\nHuman: Name a moon.\n\nAssistant:", "Assistant: Titan.", "Titan.", 0),
        ("\n\nHuman: Name a moon.\n\nAssistant: ", "\n\nAssistant: Titan.</s>", "Titan.", 0),
        ("### Human: Name a moon.\n### Assistant:", "### Assistant: Titan.", "Titan.", 0),
    ],
)
def test_markers_of_a_response_are_none_of_its_text_behind_others_and_counted_elsewhere(
    tmp_path: Path, prompt: str, chosen: str, said: str, count: int
):
    done = prepare(write_as(tmp_path, "jsonl", [{"prompt": prompt, "chosen": chosen, "rejected": "The sun."}] * 2))
    assert [pair["chosen"][0]["content"] for pair in done.pairs] == [said] * 2
    assert done.notes.get("marked_responses", 0) == 2 * count


@pytest.mark.parametrize(
    ("chosen", "rejected", "count"),
    [
        (f"{PAIR['prompt']} Titan.", f"{PAIR['prompt']}\nThe sun.", 2),
        (f" {PAIR['prompt']} Titan.", "The sun.", 0),
        ("Titan.", "The sun.", 0),
    ],
)
def test_responses_that_begin_with_their_prompt_are_counted(tmp_path: Path, chosen: str, rejected: str, count: int):
    done = prepare(write_as(tmp_path, "jsonl", [{**PAIR, "chosen": chosen, "rejected": rejected}]))
    assert done.notes.get("repeats_prompt", 0) == count
