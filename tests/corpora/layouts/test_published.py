"""Rows as their data sets publish them come to the pairs that they mean, from every kind of file."""

import json
from pathlib import Path
from typing import Any

import pytest

from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.scan import ranges
from tests.corpora.layouts.published import (
    HELPSTEER2,
    OASST_ROWS,
    OASST_TREES,
    PUBLISHED,
    RM_BENCH,
    ULTRAFEEDBACK_RAW,
    Case,
)
from tests.corpora.prepared import assistant, prepare, write_as, write_jsonl


def turns(reply: Any) -> Any:
    return [assistant(reply)] if isinstance(reply, str) else reply


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.name)
def test_rows_as_published_come_to_their_pairs(tmp_path: Path, case: Case, kind: str):
    done = prepare(write_as(tmp_path, kind, case.rows))
    assert done.plan.files[0].layout == case.layout
    assert not done.quarantine
    found = [(pair["prompt"], pair["chosen"], pair["rejected"]) for pair in done.pairs]
    assert found == [(prompt, turns(chosen), turns(rejected)) for prompt, chosen, rejected in case.pairs]
    assert {name: done.pairs[0][name] for name in case.further} == case.further
    assert done.notes == case.notes


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.name)
def test_their_format_may_be_named(tmp_path: Path, case: Case):
    path = write_jsonl(tmp_path / "a.jsonl", case.rows)
    assert prepare(InputSpec(str(path), format=case.layout)).table.equals(prepare(path).table)


@pytest.mark.parametrize("range_bytes", [1, 100, 150, 1 << 20])
def test_rows_of_one_prompt_are_joined_wherever_the_file_is_cut(tmp_path: Path, range_bytes: int):
    path = write_jsonl(tmp_path / "a.jsonl", HELPSTEER2)
    assert len(ranges(list_files([InputSpec(str(path))])[0], range_bytes=range_bytes)) >= 1
    done = prepare(path, range_bytes=range_bytes)
    assert (done.rows_in, done.rows_kept, len(done.pairs), done.singles) == (5, 5, 4, 3)
    assert done.table.equals(prepare(path).table)


def test_a_bad_row_among_joined_ones_is_quarantined_alone(tmp_path: Path):
    rows = [HELPSTEER2[0], {**HELPSTEER2[0], "response": ""}, HELPSTEER2[1]]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert (done.rows_in, done.rows_kept, len(done.pairs)) == (3, 2, 1)
    assert [(entry["line"], entry["reason"]) for entry in done.quarantine] == [(2, "empty_field")]


def test_a_completion_without_any_rating_is_left_out_and_counted(tmp_path: Path):
    first, second, third = ULTRAFEEDBACK_RAW["completions"]
    unrated = {**second, "annotations": {}, "overall_score": None}
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [{**ULTRAFEEDBACK_RAW, "completions": [first, unrated, third]}]))
    assert (len(done.pairs), done.notes) == (1, {"missing_ratings": 1, "unrated_responses": 1})
    row = {**ULTRAFEEDBACK_RAW, "completions": [unrated]}
    assert prepare(write_jsonl(tmp_path / "b.jsonl", [row])).reasons == {"bad_rating": 1}


def test_files_of_rm_bench_whose_ids_repeat_have_pairs_of_their_own(tmp_path: Path):
    other = {**RM_BENCH, "prompt": "May I sing?", "domain": "chat"}
    done = prepare(write_jsonl(tmp_path / "a.json", [RM_BENCH]), write_jsonl(tmp_path / "b.json", [other]))
    assert len({pair["pair_id"] for pair in done.pairs}) == 18
    assert len({pair["group_id"] for pair in done.pairs}) == 2


def test_three_correct_and_three_wrong_responses_of_rewardbench_2_stay_what_they_were(tmp_path: Path):
    row = {**RM_BENCH, "subset": "Ties", "total_completions": 6, "num_correct": 3}
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert (done.plan.files[0].layout, len(done.pairs)) == ("rewardbench2", 3)


def test_rm_bench_needs_three_responses_a_side(tmp_path: Path):
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [RM_BENCH, {**RM_BENCH, "chosen": ["one"]}, RM_BENCH]))
    assert done.reasons == {"wrong_type": 1}
    assert json.loads(done.quarantine[0]["raw"])["chosen"] == ["one"]


@pytest.mark.parametrize("range_bytes", [1, 300, 1 << 20])
def test_a_tree_is_read_as_one_wherever_its_file_is_cut(tmp_path: Path, range_bytes: int):
    done = prepare(write_jsonl(tmp_path / "a.jsonl", OASST_ROWS), range_bytes=range_bytes)
    assert (done.rows_in, done.rows_kept, len(done.pairs)) == (13, 13, 3)


@pytest.mark.parametrize("rows", [OASST_TREES, OASST_ROWS], ids=["trees", "messages"])
def test_pairs_of_one_tree_are_one_prompt_to_intervals_and_to_what_is_held_out(
    tmp_path: Path, rows: list[dict[str, Any]]
):
    pairs = prepare(write_jsonl(tmp_path / "a.jsonl", rows)).pairs
    assert {pair["prompt_id"] for pair in pairs} == {"1", "2"}
    assert len({json.dumps(pair["prompt"]) for pair in pairs if pair["prompt_id"] == "1"}) == 2


def without(name: str) -> list[dict[str, Any]]:
    return [row for row in OASST_ROWS if row["message_id"] != name]


@pytest.mark.parametrize(
    ("rows", "pairs", "reasons"),
    [
        (without("1.b.a"), 1, {"missing_field": 9}),
        ([*OASST_ROWS[1:10], OASST_ROWS[0], *OASST_ROWS[10:]], 1, {"missing_field": 10}),
        ([*OASST_ROWS[:3], *OASST_ROWS[10:], *OASST_ROWS[3:10]], 2, {"missing_field": 7}),
        ([{**row, "rank": float("nan")} for row in OASST_ROWS[:10]] + OASST_ROWS[10:], 1, {"no_response": 10}),
        ([*OASST_ROWS, {**OASST_ROWS[12], "message_id": "2.c", "text": " "}], 3, {"empty_field": 1}),
        ([*OASST_ROWS, {**OASST_ROWS[12], "message_id": "2.c", "role": "bot"}], 3, {"bad_roles": 1}),
        ([*OASST_ROWS, {**OASST_ROWS[12], "message_id": "2.c", "rank": "best"}], 3, {"bad_label": 1}),
        ([*OASST_ROWS, {**OASST_ROWS[12], "message_id": "2.c", "parent_id": ["2"]}], 3, {"wrong_type": 1}),
    ],
    ids=["no parent", "parent behind", "torn apart", "no ranks", "no text", "role", "rank", "parent"],
)
def test_rows_of_a_tree_are_compared_or_told(
    tmp_path: Path, rows: list[dict[str, Any]], pairs: int, reasons: dict[str, int]
):
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert (len(done.pairs), done.reasons) == (pairs, reasons)


def test_what_answers_a_deleted_message_is_left_out_with_it(tmp_path: Path):
    rows = [{**row, "deleted": row["message_id"] == "1.b"} for row in OASST_ROWS]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [pair["chosen"][0]["content"] for pair in done.pairs] == ["Mars.", "Baltic."]
    assert (done.notes["deleted_messages"], done.rows_kept) == (7, 13)


def test_a_table_of_texts_says_which_messages_were_deleted(tmp_path: Path):
    rows = [{name: "" if value is None else str(value) for name, value in row.items()} for row in OASST_ROWS]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert (len(done.pairs), done.notes["deleted_messages"]) == (3, 1)
