"""A corpus in no known layout is read by a mapping of its columns; what the mapping does not say is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from encore_ray.config import InputOptions
from encore_ray.corpora.files.columns import ColumnMap, at_path, top_of
from encore_ray.corpora.files.sources import InputSpec
from encore_ray.corpora.inputs import input_specs
from encore_ray.errors import ConfigError, DataError
from tests.corpora.prepared import Prepared, assistant, prepare, system, user, write_as, write_jsonl

ROW = {"question": "Why?", "answer_a": "So.", "answer_b": "No.", "label": "A", "n": 3}
PAIR = {"prompt": "question", "chosen": "answer_a", "rejected": "answer_b"}
JUDGED = {**PAIR, "winner": "label"}


def prepared(path: Path, columns: dict[str, str], chosen_if: Any = None, **options: Any) -> Prepared:
    return prepare(InputSpec(str(path), columns=ColumnMap.of(columns, chosen_if)), **options)


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_named_columns_make_a_pair_and_the_others_are_carried(tmp_path: Path, kind: str):
    [pair] = prepared(write_as(tmp_path, kind, [ROW]), PAIR).pairs
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (
        [user("Why?")],
        [assistant("So.")],
        [assistant("No.")],
    )
    assert (pair["label"], pair["n"]) == ("A", 3)


@pytest.mark.parametrize(
    ("value", "chosen_if", "chosen"),
    [
        ("A", None, "So."),
        ("model_b", None, "No."),
        ("tie", None, None),
        ("B>A", None, "No."),
        (1, 1, "So."),
        (0, 1, "No."),
        (1.0, "1", "So."),
        ("1", [1, 3], "So."),
        (3, [1, 3], "So."),
        ("tie", 1, None),
        (True, True, "So."),
        (False, True, "No."),
        (2, {1: "chosen", 2: "rejected", 0: "tie"}, "No."),
        (0, {1: "chosen", 2: "rejected", 0: "tie"}, None),
        ("Left ", {"left": "rejected"}, "No."),
    ],
)
def test_a_winner_says_which_side_is_chosen(tmp_path: Path, value: Any, chosen_if: Any, chosen: str | None):
    done = prepared(write_jsonl(tmp_path / "a.jsonl", [{**ROW, "label": value}]), JUDGED, chosen_if)
    if chosen is None:
        assert [pair["chosen"] for pair in done.pairs] == [[assistant("So.")], [assistant("No.")]]
        assert [pair["rejected"] for pair in done.pairs] == [None, None]
        assert done.notes == {"ties": 1}
    else:
        assert [pair["chosen"] for pair in done.pairs] == [[assistant(chosen)]]


@pytest.mark.parametrize(
    ("value", "chosen_if", "reason"),
    [
        (1, None, "bad_label"),
        ("who knows", None, "bad_label"),
        (7, {1: "chosen", 2: "rejected"}, "bad_label"),
        (None, None, "missing_field"),
        (None, 1, "missing_field"),
        ("", 1, "missing_field"),
    ],
)
def test_a_winner_that_says_nothing_goes_to_quarantine(tmp_path: Path, value: Any, chosen_if: Any, reason: str):
    path = write_jsonl(tmp_path / "a.jsonl", [{**ROW, "label": value}, {**ROW, "label": 1}])
    done = prepared(path, JUDGED, chosen_if)
    assert done.quarantine[0]["reason"] == reason
    if reason == "bad_label":
        assert "inputs[].chosen_if" in done.quarantine[0]["detail"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_places_within_columns(tmp_path: Path, kind: str):
    row = {
        "meta": {"question": {"full_text": "Why?"}, "domain": "law", "number": 7, "system": "Be brief."},
        "answers": [{"text": "So."}, {"text": "No."}],
        "before": [["Hi", "Hello"]],
    }
    columns = {
        "prompt": "meta.question.full_text",
        "chosen": "answers[0].text",
        "rejected": "$.answers[1].text",
        "subset": "meta.domain",
        "id": "meta.number",
        "system": "meta.system",
        "history": "before",
    }
    [pair] = prepared(write_as(tmp_path, kind, [row]), columns).pairs
    assert pair["prompt"] == [system("Be brief."), user("Hi"), assistant("Hello"), user("Why?")]
    assert (pair["rejected"], pair["subset"], pair["pair_id"]) == ([assistant("No.")], "law", "7")


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", 1), ("b.c", 2), ("$.b.c", 2), ("d[1].e", 3), ("d.e", None), ("d[9].e", None), ("x.y", 4), ("a.b", None)],
)
def test_a_path_leads_to_a_value_or_to_nothing(path: str, value: Any):
    row = {"a": 1, "b": {"c": 2}, "d": [{}, {"e": 3}], "x.y": 4}
    assert at_path(row, path) == value
    assert path == "x.y" or top_of(path) in row


def test_single_responses_whole_conversations_and_several_responses(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "Hi", "a": "Hello."}, {"q": "Hi", "a": None}])
    done = prepared(path, {"prompt": "q", "response": "a"})
    assert (done.singles, done.reasons) == (1, {"no_response": 1})
    talk = [user("Hi"), assistant("Hello.")]
    [pair] = prepared(write_jsonl(tmp_path / "b.jsonl", [{"talk": talk}]), {"messages": "talk"}).pairs
    assert pair["prompt"] == talk[:1]
    row = {"good": talk, "bad": "\n\nHuman: Hi\n\nAssistant: No."}
    [pair] = prepared(write_jsonl(tmp_path / "c.jsonl", [row]), {"chosen": "good", "rejected": "bad"}).pairs
    assert (pair["chosen"], pair["rejected"]) == ([assistant("Hello.")], [assistant("No.")])
    row = {"q": "Hi", "good": ["a", "b"], "bad": ["c"]}
    done = prepared(write_jsonl(tmp_path / "d.jsonl", [row]), {"prompt": "q", "chosen": "good", "rejected": "bad"})
    assert [pair["chosen"][0]["content"] for pair in done.pairs] == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "chosen_if", "said"),
    [
        ({"promt": "q", "response": "a"}, None, "promt: unknown; expected some of prompt, chosen"),
        ({"prompt": "q"}, None, "expected chosen and rejected"),
        ({"prompt": "q", "chosen": "a"}, None, "expected chosen and rejected"),
        ({"chosen": "a", "rejected": "b", "response": "c"}, None, "expected chosen and rejected"),
        ({"response": "a"}, None, "a response needs a prompt"),
        ({"prompt": "q", "response": "a", "winner": "w"}, None, "a winner needs chosen and rejected"),
        ({"chosen": "a", "rejected": "b"}, 1, "name that column, too"),
        ({"chosen": "a", "rejected": "b", "winner": "w"}, {1: "left"}, "expected the sides chosen, rejected, tie"),
        (None, 1, "name the columns, too"),
    ],
)
def test_a_mapping_that_says_too_little_is_refused(columns: Any, chosen_if: Any, said: str):
    with pytest.raises(ConfigError, match=said) as error:
        input_specs([InputOptions(path="x"), InputOptions(path="y", columns=columns, chosen_if=chosen_if)])
    assert "inputs[1]" in str(error.value)


def test_a_mapping_and_a_format_exclude_each_other():
    with pytest.raises(ConfigError, match="instead of a format"):
        input_specs([InputOptions(path="x", format="trl", columns=PAIR)])


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "a", "answer_a": "b", "answer_b": "c"}])
    with pytest.raises(DataError, match=r"no column question \(for prompt\).*Columns found: q, answer_a, answer_b"):
        prepared(path, PAIR)


def test_columns_to_carry_are_chosen_beside_a_mapping(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROW])
    done = prepare(InputSpec(str(path), columns=ColumnMap.of(PAIR)), columns=["n"])
    assert done.table.column_names[-1] == "n"
    assert "label" not in done.table.column_names


def test_an_input_beside_a_mapped_instruction_is_not_left_out_unseen(tmp_path: Path):
    columns = {"prompt": "instruction", "chosen": "output[0]", "rejected": "output[1]"}
    rows = [{"instruction": "Add.", "input": text, "output": ["3", "4"]} for text in ("1 + 2", "", None)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    done = prepared(path, columns)
    assert (done.reasons, len(done.pairs)) == ({"unread_column": 1}, 2)
    assert len(prepared(path, columns, ignored=["input"]).pairs) == 3
