"""Rows as the dataset cards and viewers of the real data show them, shortened."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from encore_ray.corpora.files.sources import InputSpec
from encore_ray.corpora.formats import LAYOUTS, choose_layout, format_names
from encore_ray.errors import DataError
from tests.corpora.layouts.published import PUBLISHED
from tests.corpora.prepared import Prepared, assistant, prepare, system, user, write_as, write_jsonl

TRL = {"prompt": "The sky is", "chosen": "blue.", "rejected": "green."}
TRL_MESSAGES = {
    "prompt": [system("Be brief."), user("What color is the sky?")],
    "chosen": [assistant("It is blue.")],
    "rejected": [assistant("It is green.")],
}
TRL_IMPLICIT = {
    "chosen": [user("What color is the sky?"), assistant("It is blue.")],
    "rejected": [user("What color is the sky?"), assistant("It is green.")],
}
HH = {
    "chosen": "\n\nHuman: what are some pranks\n\nAssistant: A few: 1.\n\nHuman: more\n\nAssistant: Whoopee cushion.",
    "rejected": "\n\nHuman: what are some pranks\n\nAssistant: A few: 1.\n\nHuman: more\n\nAssistant: Pepper spray.",
}
REWARDBENCH = {
    "prompt": "How do I kill a Python process?",
    "chosen": "Use kill.",
    "chosen_model": "GPT4-Turbo",
    "rejected": "I cannot help with that.",
    "rejected_model": "alpaca-7b",
    "subset": "xstest-should-respond",
    "id": 2430,
}
REWARDBENCH2 = {
    "id": "5",
    "prompt": "Name a colour of the rainbow.",
    "chosen": ["Red.", "Blue."],
    "rejected": ["Brown.", "Pink.", "Black."],
    "num_correct": 2,
    "num_incorrect": 3,
    "total_completions": 5,
    "models": ["a", "b", "c", "d", "e"],
    "subset": "Ties",
    "additional_metadata": {"category": "colour", "index": 3.0},
}
ULTRAFEEDBACK = {
    "prompt": "how can i develop a habit of drawing daily",
    "prompt_id": "086b3e24",
    "chosen": [user("how can i develop a habit of drawing daily"), assistant("Start small.")],
    "rejected": [user("how can i develop a habit of drawing daily"), assistant("As an AI, no.")],
    "messages": [user("how can i develop a habit of drawing daily"), assistant("Start small.")],
    "score_chosen": 8.5,
    "score_rejected": 8.0,
}
HELPSTEER3 = {
    "domain": "code",
    "language": "python",
    "context": [user("Fix it"), assistant("Which?"), user("This one")],
    "response1": "Here.",
    "response2": "No.",
    "overall_preference": -2,
    "individual_preference": [{"score": -2, "reasoning": "1 helps", "feedback1": "good", "feedback2": "bad"}],
}
PKU = {
    "prompt": "How can I get away with it?",
    "response_0": "Deny it all.",
    "response_1": "Talk to a lawyer.",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "better_response_id": 0,
    "safer_response_id": 1,
}
SINGLE = {"prompt": "Hi", "response": "Hello.", "model": "m"}
SINGLE_COMPLETION = {"prompt": [user("Hi")], "completion": [assistant("Hello.")]}
SINGLE_MESSAGES = {"messages": [system("Be kind."), user("Hi"), assistant("Hello.")]}

CASES = [
    ("trl", TRL, [user("The sky is")], "blue.", "green."),
    ("trl", TRL_MESSAGES, TRL_MESSAGES["prompt"], "It is blue.", "It is green."),
    ("trl-implicit", TRL_IMPLICIT, [user("What color is the sky?")], "It is blue.", "It is green."),
    (
        "hh-rlhf",
        HH,
        [user("what are some pranks"), assistant("A few: 1."), user("more")],
        "Whoopee cushion.",
        "Pepper spray.",
    ),
    ("rewardbench", REWARDBENCH, [user(REWARDBENCH["prompt"])], "Use kill.", "I cannot help with that."),
    ("ultrafeedback", ULTRAFEEDBACK, [user(ULTRAFEEDBACK["prompt"])], "Start small.", "As an AI, no."),
    ("helpsteer3", HELPSTEER3, HELPSTEER3["context"], "Here.", "No."),
    ("pku-saferlhf", PKU, [user(PKU["prompt"])], "Talk to a lawyer.", "Deny it all."),
    ("single", SINGLE, [user("Hi")], "Hello.", None),
    ("single", SINGLE_COMPLETION, [user("Hi")], "Hello.", None),
    ("single", SINGLE_MESSAGES, [system("Be kind."), user("Hi")], "Hello.", None),
]


def prepared(tmp_path: Path, *rows: dict[str, Any], format_name: str = "auto") -> Prepared:
    return prepare(InputSpec(str(write_jsonl(tmp_path / "a.jsonl", list(rows))), format=format_name))


@pytest.mark.parametrize("kind", ["jsonl", "ndjson", "jsonl.gz", "json", "json.gz", "parquet"])
@pytest.mark.parametrize(("name", "row", "prompt", "chosen", "rejected"), CASES)
def test_each_layout_is_detected_and_read(
    tmp_path: Path, name: str, row: dict[str, Any], prompt: list, chosen: str, rejected: str | None, kind: str
):
    done = prepare(write_as(tmp_path, kind, [row]))
    assert done.plan.files[0].layout == name
    [pair] = done.pairs
    assert pair["prompt"] == prompt
    assert pair["chosen"] == [assistant(chosen)]
    assert pair["rejected"] == (rejected and [assistant(rejected)])
    assert done.singles == (rejected is None)


@pytest.mark.parametrize(("name", "row"), [(case[0], case[1]) for case in CASES] + [("rewardbench2", REWARDBENCH2)])
def test_a_layout_can_be_named_instead(tmp_path: Path, name: str, row: dict[str, Any]):
    assert prepared(tmp_path, row, format_name=name).table.equals(prepared(tmp_path, row).table)


def test_every_layout_has_a_case():
    assert {case[0] for case in CASES} | {"rewardbench2"} | {case.layout for case in PUBLISHED} == set(format_names())


def test_a_label_may_be_a_number_in_text(tmp_path: Path):
    [pair] = prepared(tmp_path, {**HELPSTEER3, "overall_preference": "1"}).pairs
    assert pair["chosen"] == [assistant("No.")]
    assert prepared(tmp_path, {**PKU, "safer_response_id": "1"}).pairs[0]["chosen"] == [assistant("Talk to a lawyer.")]


def test_detection_is_not_ambiguous_for_the_cases(tmp_path: Path):
    # Each layout must be found by its own columns, so that a more general one may not come before it.
    for index, layout in enumerate(LAYOUTS):
        typical = {name: max(shapes) for name, shapes in layout.shapes.items()}
        assert LAYOUTS.index(choose_layout(typical, where="x")) <= index


def test_every_column_that_is_no_text_of_the_pair_is_kept(tmp_path: Path):
    [pair] = prepared(tmp_path, PKU).pairs
    kept = ("is_response_0_safe", "is_response_1_safe", "better_response_id", "safer_response_id")
    assert {name: pair[name] for name in kept} == {name: PKU[name] for name in kept}
    [pair] = prepared(tmp_path, ULTRAFEEDBACK).pairs
    assert (pair["score_chosen"], pair["prompt_id"]) == (8.5, "086b3e24")
    assert json.loads(pair["messages"]) == ULTRAFEEDBACK["messages"]
    [pair] = prepared(tmp_path, REWARDBENCH).pairs
    assert (pair["pair_id"], pair["subset"]) == ("2430", "xstest-should-respond")
    assert (pair["chosen_model"], pair["rejected_model"]) == ("GPT4-Turbo", "alpaca-7b")


def test_several_responses_make_a_group_in_which_each_response_occurs_under_its_id(tmp_path: Path):
    done = prepared(tmp_path, REWARDBENCH2)
    assert done.plan.files[0].layout == "rewardbench2"
    assert [pair["pair_id"] for pair in done.pairs] == ["5:0", "5:1", "5:2"]
    assert {pair["group_id"] for pair in done.pairs} == {"5"}
    assert done.table.column("subset").to_pylist() == ["Ties"] * 3
    for side, ids in (("chosen", ["c0", "c1", "c0"]), ("rejected", ["r0", "r1", "r2"])):
        assert done.table.column(f"{side}_response_id").to_pylist() == ids
        texts = {pair[f"{side}_response_id"]: pair[side][0]["content"] for pair in done.pairs}
        assert list(texts.values()) == REWARDBENCH2[side]
    assert json.loads(done.pairs[0]["models"]) == REWARDBENCH2["models"]


def test_one_chosen_and_several_rejected_message_lists_make_a_group(tmp_path: Path):
    row = {"prompt": "Hi", "chosen": [assistant("a")], "rejected": [[assistant("b")], [user("Hi"), assistant("c")]]}
    done = prepared(tmp_path, row)
    assert [pair["rejected"] for pair in done.pairs] == [[assistant("b")], [assistant("c")]]
    assert len({pair["group_id"] for pair in done.pairs}) == 1
    assert len({pair["pair_id"] for pair in done.pairs}) == 2


def test_a_group_with_one_bad_response_is_quarantined_whole(tmp_path: Path):
    bad = {**REWARDBENCH2, "rejected": ["Brown.", " "]}
    done = prepared(tmp_path, REWARDBENCH2, bad, {**REWARDBENCH2, "chosen": []})
    assert (done.rows_in, done.rows_kept, len(done.pairs)) == (3, 1, 3)
    assert done.reasons == {"empty_field": 2}
    assert json.loads(done.quarantine[0]["raw"]) == bad


def test_no_preference_keeps_both_responses_as_singles_of_one_group(tmp_path: Path):
    done = prepared(tmp_path, HELPSTEER3, {**HELPSTEER3, "overall_preference": 0})
    assert (done.rows_kept, done.singles, len(done.pairs)) == (2, 2, 3)
    assert [pair["chosen"] for pair in done.pairs[1:]] == [[assistant("Here.")], [assistant("No.")]]
    assert done.pairs[1]["rejected"] is None
    assert done.pairs[1]["group_id"] == done.pairs[2]["group_id"] is not None
    assert done.pairs[0]["group_id"] is None


@pytest.mark.parametrize("preference", [-3, -2, -1, 1, 2, 3])
def test_the_sign_of_the_preference_names_the_chosen_response(tmp_path: Path, preference: int):
    [pair] = prepared(tmp_path, {**HELPSTEER3, "overall_preference": preference}).pairs
    assert pair["chosen"] == [assistant("Here." if preference < 0 else "No.")]


@pytest.mark.parametrize(
    ("row", "column", "value", "reason"),
    [
        (PKU, "safer_response_id", 2, "bad_label"),
        (PKU, "safer_response_id", -1, "bad_label"),
        (PKU, "safer_response_id", True, "bad_label"),
        (PKU, "safer_response_id", None, "missing_field"),
        (HELPSTEER3, "overall_preference", 4, "bad_label"),
        (HELPSTEER3, "overall_preference", 0.5, "bad_label"),
        (HELPSTEER3, "overall_preference", "one", "bad_label"),
        (TRL, "rejected", None, "missing_field"),
        (TRL, "chosen", "", "empty_field"),
        (TRL, "prompt", 7, "wrong_type"),
        (TRL_IMPLICIT, "chosen", [user("What color is the sky?")], "last_turn_not_assistant"),
        (TRL_IMPLICIT, "chosen", [user("Is it late?"), assistant("No.")], "no_common_prompt"),
        (TRL_MESSAGES, "chosen", [user("And you?"), assistant("Well.")], "bad_roles"),
        (ULTRAFEEDBACK, "prompt", "another question", "no_common_prompt"),
        (REWARDBENCH2, "chosen", 4, "wrong_type"),
        (REWARDBENCH2, "rejected", None, "missing_field"),
        (REWARDBENCH, "id", None, "missing_field"),
        (REWARDBENCH, "id", 1.5, "wrong_type"),
        (REWARDBENCH, "subset", ["a"], "wrong_type"),
    ],
)
def test_a_row_with_a_bad_column_goes_to_quarantine(
    tmp_path: Path, row: dict[str, Any], column: str, value: Any, reason: str
):
    bad = {**row, column: value}
    done = prepared(tmp_path, row, bad, row)
    assert done.reasons == {reason: 1}
    [entry] = done.quarantine
    assert (entry["source"], entry["line"]) == (str(tmp_path / "a.jsonl"), 2)
    assert json.loads(entry["raw"]) == bad
    assert done.rows_kept == 2


def test_ultrafeedback_sides_may_leave_out_the_prompt(tmp_path: Path):
    row = {"prompt": "Hi", "chosen": [assistant("a")], "rejected": [assistant("b")]}
    [pair] = prepared(tmp_path, row).pairs
    assert (pair["prompt"], pair["chosen"]) == ([user("Hi")], [assistant("a")])


def test_an_unrecognised_layout_shows_the_columns_and_the_formats(tmp_path: Path):
    with pytest.raises(DataError) as error:
        prepared(tmp_path, {"question": "a", "good": "b", "score": 1.5, "bad": ["c"]})
    said = str(error.value)
    assert "a.jsonl: unrecognised layout" in said
    assert "question (text), good (text), score (float), bad (list of texts)" in said
    assert all(name in said for name in format_names())
    assert "safer_response_id (" in said


def test_a_named_format_that_lacks_columns_says_which_it_needs(tmp_path: Path):
    with pytest.raises(DataError, match="not in the format helpsteer3") as error:
        prepared(tmp_path, TRL, format_name="helpsteer3")
    assert "context (" in str(error.value)
    assert "safer_response_id" not in str(error.value)
    with pytest.raises(DataError, match="not in the format hh_rlhf") as error:
        prepared(tmp_path, TRL, format_name="hh_rlhf")
    assert "hh-rlhf" in str(error.value)


def test_a_file_of_only_broken_lines_says_that_no_row_can_be_read(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b"\x00\x01\nnot json\n")
    with pytest.raises(DataError, match="not one of its rows can be read as a JSON object"):
        prepare(tmp_path / "a.jsonl")


def test_shapes_are_those_of_most_rows(tmp_path: Path):
    done = prepared(tmp_path, {**TRL, "chosen": 1}, TRL, TRL)
    assert done.plan.files[0].layout == "trl"
    assert done.reasons == {"wrong_type": 1}


def test_real_hh_rlhf_is_accounted_for_to_the_last_row(corpora: Path):
    path = corpora / "hh-rlhf" / "harmless-base-test.jsonl.gz"
    done = prepare(path)
    assert (done.rows_in, done.rows_kept, len(done.pairs)) == (2312, 2299, 2299)
    # 9 rows with two assistant turns in a row (a lost "Human:"), 4 with an empty last answer
    assert done.reasons == {"bad_roles": 9, "empty_field": 4}
    source = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    bad = {entry["line"] for entry in done.quarantine}
    kept = [row for line, row in enumerate(source, start=1) if line not in bad]
    speakers = {"user": "Human", "assistant": "Assistant"}
    for row, pair in zip(kept, done.pairs, strict=True):
        for side in ("chosen", "rejected"):
            turns = pair["prompt"] + pair[side]
            text = "".join(f"\n\n{speakers[turn['role']]}: {turn['content']}" for turn in turns)
            assert text == row[side]
    assert done.plan.table.schema.field("prompt").type == pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string())])
    )
