import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from encore_ray.errors import DataError
from tests.corpora.prepared import Prepared, prepare, write_as, write_jsonl

TEXT = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
COLUMNS = {**TEXT, "chosen__kind": 4, "rejected__kind": 1.5, "chosen__safe": 0.1, "rejected__safe": 0}
LISTS = {**TEXT, "rule_names": ["kind", "safe"], "chosen_scores": [4, 0.1], "rejected_scores": [1.5, 0]}
RATINGS = ("chosen__kind", "rejected__kind", "chosen__safe", "rejected__safe")


def prepared(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> Prepared:
    return prepare(write_jsonl(tmp_path / "a.jsonl", list(rows)), **options)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("row", [COLUMNS, LISTS])
def test_ratings_become_float32_columns_under_their_rule(tmp_path: Path, kind: str, row: dict[str, Any]):
    done = prepare(write_as(tmp_path, kind, [row]))
    assert done.plan.rated_rules == ("kind", "safe")
    assert [done.table.schema.field(name).type for name in RATINGS] == [pa.float32()] * 4
    expected = pa.array([4, 1.5, 0.1, 0], pa.float32()).to_pylist()
    assert [done.pairs[0][name] for name in RATINGS] == expected
    assert not {"rule_names", "chosen_scores", "rejected_scores"} & set(done.table.column_names)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ratings_that_are_numbers_in_text_are_ratings(tmp_path: Path, kind: str):
    in_text = {name: str(value) if name in RATINGS else value for name, value in COLUMNS.items()}
    done = prepare(write_as(tmp_path, kind, [in_text]))
    assert done.plan.rated_rules == ("kind", "safe")
    assert [done.pairs[0][name] for name in RATINGS] == pa.array([4, 1.5, 0.1, 0], pa.float32()).to_pylist()


def test_a_corpus_without_ratings_has_no_rated_rules(tmp_path: Path):
    assert prepared(tmp_path, TEXT).plan.rated_rules == ()


def test_the_order_of_names_in_a_row_does_not_matter(tmp_path: Path):
    turned = {name: value[::-1] if isinstance(value, list) else value for name, value in LISTS.items()}
    first, second = prepared(tmp_path, LISTS, turned).pairs
    assert [first[name] for name in RATINGS] == [second[name] for name in RATINGS]


def test_rule_names_can_be_given(tmp_path: Path):
    row = {name: value for name, value in LISTS.items() if name != "rule_names"}
    assert prepared(tmp_path, row).plan.rated_rules == ()
    done = prepared(tmp_path, row, rule_names=["kind", "safe"])
    assert done.plan.rated_rules == ("kind", "safe")
    assert done.pairs[0]["chosen__kind"] == 4


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        (COLUMNS, "chosen__kind", None),
        (COLUMNS, "rejected__safe", "one"),
        (COLUMNS, "rejected__safe", "N/A"),
        (COLUMNS, "rejected__safe", True),
        (COLUMNS, "rejected__safe", float("nan")),
        (COLUMNS, "chosen__kind", float("inf")),
        (COLUMNS, "chosen__kind", 1e39),  # finite, but not as float32
        (COLUMNS, "chosen__kind", 10**400),
        (LISTS, "chosen_scores", [1]),
        (LISTS, "chosen_scores", [1, None]),
        (LISTS, "rejected_scores", None),
        (LISTS, "rule_names", ["kind", "other"]),
        (LISTS, "rule_names", ["kind", "kind"]),
        (LISTS, "rule_names", [["kind"], "safe"]),
    ],
)
def test_a_rating_that_is_no_finite_number_goes_to_quarantine(
    tmp_path: Path, row: dict[str, Any], column: str, value: Any
):
    done = prepared(tmp_path, row, {**row, column: value}, row)
    assert done.reasons == {"bad_rating": 1}
    assert done.quarantine[0]["line"] == 2
    assert done.plan.rated_rules == ("kind", "safe")


def test_a_row_without_the_rating_columns_goes_to_quarantine(tmp_path: Path):
    assert prepared(tmp_path, COLUMNS, TEXT).reasons == {"bad_rating": 1}


def test_single_responses_have_ratings_of_one_side(tmp_path: Path):
    [pair] = prepared(tmp_path, {"prompt": "Hi", "response": "a", "chosen__kind": 3}).pairs
    assert (pair["chosen__kind"], pair["rejected__kind"]) == (3, None)


def test_half_a_rating_is_an_ordinary_column_that_no_score_overwrites(tmp_path: Path):
    done = prepared(tmp_path, {**TEXT, "chosen__kind": 3})
    assert done.plan.rated_rules == ()
    assert done.pairs[0]["source_chosen__kind"] == 3


def test_files_with_different_ratings_are_refused_by_name(tmp_path: Path):
    rated = write_jsonl(tmp_path / "rated.jsonl", [COLUMNS])
    plain = write_jsonl(tmp_path / "plain.jsonl", [TEXT])
    with pytest.raises(DataError, match=r"rated\.jsonl has ratings for kind, safe.*plain\.jsonl has none"):
        prepare(rated, plain)
    lists = write_jsonl(tmp_path / "lists.jsonl", [LISTS])
    assert json.dumps(prepare(rated, lists).plan.rated_rules) == '["kind", "safe"]'


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"chosen__calm": True, "rejected__calm": False}, "calm (true and false are no numbers: write 1 and 0)"),
        ({"chosen__calm": "very", "rejected__calm": "no"}, "calm (they are no numbers)"),
        ({"chosen__calm": 1}, "calm (there is no rejected__calm)"),
        ({"rejected__calm": 1}, "calm (there is no chosen__calm)"),
        ({}, "calm (more than half of the rows have none)"),
    ],
)
def test_columns_that_are_called_as_ratings_and_are_none_are_told(tmp_path: Path, columns: dict[str, Any], why: str):
    rows = [{**COLUMNS, **columns}] * 3 if columns else [COLUMNS] * 3
    if not columns:
        rows[0] = {**COLUMNS, "chosen__calm": 1, "rejected__calm": 2}
    done = prepared(tmp_path, *rows)
    assert done.plan.rated_rules == ("kind", "safe")
    assert done.plan.unread_ratings == [f"{tmp_path / 'a.jsonl'}: no ratings are read of {why}"]
    assert prepared(tmp_path, COLUMNS).plan.unread_ratings == []
