"""Columns beside a layout's own that belong to the conversation are read, or make the row bad under a name."""

from pathlib import Path
from typing import Any

import pytest

from encore_ray.corpora.files.columns import ColumnMap
from encore_ray.corpora.files.sources import InputSpec
from encore_ray.errors import DataError
from tests.corpora.prepared import Prepared, assistant, prepare, system, user, write_as, write_jsonl

TEXT = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
TALK = {"chosen": [user("Hi"), assistant("a")], "rejected": [user("Hi"), assistant("b")]}


def prepared(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> Prepared:
    return prepare(write_jsonl(tmp_path / "a.jsonl", list(rows)), **options)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("column", ["system", "system_prompt", "system_message"])
@pytest.mark.parametrize("row", [TEXT, TALK, {"prompt": "Hi", "response": "a"}])
def test_a_system_column_is_a_system_turn(tmp_path: Path, row: dict[str, Any], column: str, kind: str):
    done = prepare(write_as(tmp_path, kind, [{**row, column: "Be kind."}, {**row, column: ""}, {**row, column: None}]))
    prompts = [pair["prompt"] for pair in done.pairs]
    assert prompts == [[system("Be kind."), user("Hi")], [user("Hi")], [user("Hi")]]
    assert done.notes == {"system_from_column": 1}
    assert column not in done.table.column_names


def test_a_system_column_that_repeats_the_turn_adds_nothing_and_another_one_is_refused(tmp_path: Path):
    row = {"prompt": [system("Be kind."), user("Hi")], "chosen": "a", "rejected": "b"}
    done = prepared(tmp_path, {**row, "system": "Be kind."}, {**row, "system": "Be rude."})
    assert done.pairs[0]["prompt"] == row["prompt"]
    assert done.reasons == {"bad_roles": 1}


@pytest.mark.parametrize(
    ("history", "before"),
    [
        ([["q", "a"], ["r", "b"]], [user("q"), assistant("a"), user("r"), assistant("b")]),
        ('[["q", "a"]]', [user("q"), assistant("a")]),
        ("[['q', 'a']]", [user("q"), assistant("a")]),
        ([user("q"), assistant("a")], [user("q"), assistant("a")]),
        ([], []),
        (None, []),
        ("", []),
        ("earlier words", None),
        ([["q"]], None),
    ],
)
def test_a_history_column_holds_earlier_turns_or_is_refused(tmp_path: Path, history: Any, before: Any):
    done = prepared(tmp_path, {**TEXT, "history": history}, TEXT)
    if before is None:
        assert done.reasons == {"unread_column": 1}
    else:
        assert done.pairs[0]["prompt"] == [*before, user("Hi")]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("images", ["x.png"], "picture"),
        ("image", {"bytes": "AA", "path": None}, "picture"),
        ("videos", ["x.mp4"], "picture"),
        ("audio", "x.wav", "picture"),
        ("tools", [{"name": "add"}], "unread_column"),
        ("tools", '[{"name": "add"}]', "unread_column"),
        ("context", "A passage.", "unread_column"),
        ("documents", ["A passage."], "unread_column"),
        ("prefix", "Step 1.", "unread_column"),
        ("input", "The text to shorten.", "unread_column"),
        ("instruction", "Shorten this.", "unread_column"),
    ],
)
def test_what_a_pair_cannot_hold_makes_a_row_bad_unless_it_is_ignored(
    tmp_path: Path, column: str, value: Any, reason: str
):
    done = prepared(tmp_path, {**TEXT, column: value}, TEXT, {**TEXT, column: None}, {**TEXT, column: []})
    assert (done.reasons, len(done.pairs)) == ({reason: 1}, 3)
    assert column in done.quarantine[0]["detail"]
    assert len(prepared(tmp_path, {**TEXT, column: value}, TEXT, ignored=[column]).pairs) == 2


@pytest.mark.parametrize("column", ["instruction", "input"])
def test_a_column_that_repeats_the_prompt_says_nothing(tmp_path: Path, column: str):
    row = {"prompt": 'Say "hi".\nTwice.', "chosen": "a", "rejected": "b"}
    done = prepared(
        tmp_path, {**row, column: row["prompt"]}, {**row, column: "Twice."}, {**row, "prompt": [user("Hi")]}
    )
    assert (done.reasons, len(done.pairs)) == ({}, 3)


def test_first_steps_belong_to_a_response_that_has_them(tmp_path: Path):
    row = {**TEXT, "prefix": "Step 1: 2 + 2", "full_chosen": "Step 1: 2 + 2 = 4", "full_rejected": "Step 1: 2 + 2 = 5"}
    path = write_jsonl(tmp_path / "a.jsonl", [row])
    assert prepare(path).reasons == {"unread_column": 1}
    columns = ColumnMap.of({"prompt": "prompt", "chosen": "full_chosen", "rejected": "full_rejected"})
    assert prepare(InputSpec(str(path), columns=columns)).pairs[0]["chosen"] == [assistant("Step 1: 2 + 2 = 4")]


@pytest.mark.parametrize(
    "columns", [("system", "system_prompt"), ("history", "chat_history")], ids=["system", "history"]
)
def test_of_two_columns_for_one_thing_a_row_may_have_one(tmp_path: Path, columns: tuple[str, str]):
    first, second = ("Be kind.", "Be brief.") if columns[0] == "system" else ([["q", "a"]], [["r", "b"]])
    rows = [{**TEXT, columns[0]: first, columns[1]: ""}, {**TEXT, columns[0]: first, columns[1]: second}]
    done = prepared(tmp_path, *rows)
    assert (done.reasons, len(done.pairs)) == ({"unread_column": 1}, 1)


@pytest.mark.parametrize(
    "column", ["chosen", "rejected", "rejected_response", "rejected_messages", "rejected_completion"]
)
def test_one_side_of_a_pair_is_no_single_response(tmp_path: Path, column: str):
    with pytest.raises(DataError, match="unrecognised layout"):
        prepared(tmp_path, {"prompt": "Hi", "response": "a", column: 5})
    assert prepared(tmp_path, {"prompt": "Hi", "response": "a", column: None}).singles == 1


def test_a_history_beside_whole_conversations_is_refused(tmp_path: Path):
    assert prepared(tmp_path, {**TALK, "history": [["q", "a"]]}).reasons == {"unread_column": 1}


def test_a_prompt_without_a_response_has_a_reason_of_its_own(tmp_path: Path):
    row = {"prompt": "Hi", "response": "Hello."}
    done = prepared(tmp_path, row, {**row, "response": None}, {**row, "response": " "}, {"prompt": "Hi"}, row)
    assert (done.reasons, done.singles) == ({"no_response": 3}, 2)


def test_a_file_left_out_is_named_and_the_others_go_on(tmp_path: Path):
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"what": 1}])
    null = write_as(tmp_path, "parquet", [{"prompt": None, "response": None}])
    good = write_jsonl(tmp_path / "good.jsonl", [TEXT])
    done = prepare(bad, null, good, leaves_out=True)
    problems = [file.problem for file in done.plan.files]
    assert problems[0] is not None and "bad.jsonl: unrecognised layout" in problems[0]
    assert problems[1] is not None and "all of its columns (prompt, response) are null" in problems[1]
    assert (problems[2], len(done.pairs)) == (None, 1)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("talk", "count"),
    [
        ([user("And before that?"), assistant("x")], 1),
        ([{"from": "human", "value": "And before that?"}], 1),
        ([user(" Hi "), assistant("a")], 0),  # the conversation itself, as UltraFeedback has it
        ([assistant("Hello."), user("Hi")], 0),
    ],
)
def test_words_of_a_person_in_a_column_that_nobody_reads_are_counted(
    tmp_path: Path, talk: list[dict[str, Any]], count: int, kind: str
):
    done = prepare(write_as(tmp_path, kind, [{**TEXT, "trajectory": talk}, {**TEXT, "trajectory": None}]))
    assert (len(done.pairs), done.notes.get("unread_turns", 0)) == (2, count)
