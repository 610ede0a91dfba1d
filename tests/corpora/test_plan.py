import datetime
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.plan import plan
from encore_ray.corpora.scan import RANGE_BYTES, ranges, scan, whole_because
from encore_ray.errors import ConfigError, DataError
from tests.corpora.prepared import assistant, prepare, user, write_as, write_jsonl

TEXT = {"prompt": "Hi", "chosen": "a", "rejected": "b"}


def passed(tmp_path: Path, *files: list[dict[str, Any]], **options: Any):
    """The prepared corpus of one JSONL file for each list of extra columns."""
    paths = [
        write_jsonl(tmp_path / f"{n}.jsonl", [{**TEXT, **extra} for extra in rows]) for n, rows in enumerate(files)
    ]
    return prepare(*paths, **options)


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("a.jsonl.gz", RANGE_BYTES + 1, "gzip"),
        ("a.json", RANGE_BYTES + 1, "json"),
        ("a.csv", RANGE_BYTES + 1, "csv"),
        ("a.csv.gz", RANGE_BYTES + 1, "gzip"),
        ("a.jsonl.gz", RANGE_BYTES, None),
        ("a.jsonl", 10 * RANGE_BYTES, None),
        ("a.parquet", 10 * RANGE_BYTES, None),
    ],
)
def test_a_large_file_that_cannot_be_cut_says_why(tmp_path: Path, name: str, size: int, why: str | None):
    with (tmp_path / name).open("wb") as handle:
        handle.truncate(size)  # without taking any disk
    (file,) = list_files([InputSpec(str(tmp_path / name))])
    said = whole_because(file)
    assert said is None if why is None else why in (said or "")


def test_all_files_share_one_schema_that_holds_the_values_of_each(tmp_path: Path):
    done = passed(tmp_path, [{"n": 1, "only_first": "x"}], [{"n": 2.5, "only_second": True}])
    fields = {field.name: field.type for field in done.plan.table.schema}
    assert (fields["n"], fields["only_first"], fields["only_second"]) == (pa.float64(), pa.string(), pa.bool_())
    assert done.table.column("n").to_pylist() == [1.0, 2.5]
    assert done.table.column("only_second").to_pylist() == [None, True]


@pytest.mark.parametrize(
    "values", [[1, "1", None], [[1, 2], None], [{"a": [1.5, None]}, {"b": "é"}], [2**63], [2**53 + 1, 0.5], [True, 1]]
)
def test_values_that_no_type_holds_become_json_text_that_says_so(tmp_path: Path, values: list[Any]):
    done = passed(tmp_path, [{"x": value} for value in values])
    field = done.plan.table.schema.field("x")
    assert (field.type, field.metadata) == (pa.string(), {b"encoding": b"json"})
    texts = done.table.column("x").to_pylist()
    assert [None if text is None else json.loads(text) for text in texts] == values


def test_a_column_of_nulls_is_kept(tmp_path: Path):
    done = passed(tmp_path, [{"x": None}])
    assert done.plan.table.schema.field("x").type == pa.string()
    assert done.table.column("x").to_pylist() == [None]


def test_columns_under_our_names_are_kept_as_source_columns(tmp_path: Path):
    done = passed(tmp_path, [{"prompt_id": "p", "group_id": 3, "margin": 0.5, "truncated": True, "source_margin": 7}])
    [pair] = done.pairs
    assert (pair["prompt_id"], pair["source_group_id"], pair["source_truncated"]) == ("p", 3, True)
    assert (pair["source_margin"], pair["source_source_margin"]) == (7, 0.5)
    assert pair["group_id"] is None


def test_parquet_types_are_kept_where_all_files_agree(tmp_path: Path):
    table = pa.table(
        {
            **{name: pa.array([text] * 3) for name, text in TEXT.items()},
            "day": pa.array([datetime.datetime(2025, 1, day) for day in (1, 2, 3)], pa.timestamp("ns")),
            "n": pa.array([1, None, 3], pa.int8()),
            "tags": pa.array([["x"], [], None], pa.list_(pa.string())),
            "label": pa.array(["a", "b", "a"]).dictionary_encode(),
            "bytes": pa.array([b"\xff", b"", None]),
        }
    )
    pq.write_table(table, tmp_path / "0.parquet")
    pq.write_table(table, tmp_path / "1.parquet", row_group_size=1)
    done = prepare(tmp_path)
    fields = {field.name: field.type for field in done.plan.table.schema}
    assert [fields[name] for name in ("day", "n", "tags", "label", "bytes")] == [
        pa.timestamp("ns"),
        pa.int8(),
        pa.list_(pa.string()),
        pa.string(),
        pa.binary(),
    ]
    for name in ("day", "n", "tags", "label", "bytes"):
        assert done.table.column(name).to_pylist() == table.column(name).to_pylist() * 2


def test_parquet_and_json_types_that_differ_become_json_text(tmp_path: Path):
    write_jsonl(tmp_path / "a.jsonl", [{**TEXT, "n": 1, "s": "x", "tags": ["x"]}])
    row = {**TEXT, "n": datetime.date(2025, 1, 2), "s": "y", "tags": ["y"]}
    pq.write_table(pa.Table.from_pylist([row, {**row, "n": None}]), tmp_path / "b.parquet")
    done = prepare(tmp_path)
    assert done.plan.table.schema.field("s").type == pa.string()
    assert done.plan.table.schema.field("s").metadata is None
    assert done.table.column("n").to_pylist() == ["1", '"2025-01-02"', None]
    assert done.table.column("tags").to_pylist() == ['["x"]', '["y"]', '["y"]']


def test_columns_restrict_what_is_passed_through(tmp_path: Path):
    done = passed(tmp_path, [{"x": 1, "y": 2, "z": 3}], columns=["z", "x"])
    assert done.table.column_names[-2:] == ["x", "z"]
    assert "y" not in done.table.column_names
    assert "x" not in passed(tmp_path, [{"x": 1}], columns=[]).table.column_names


def test_an_unknown_column_is_named_with_those_there_are(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no input has zz\. Columns found: prompt, chosen, rejected, x"):
        passed(tmp_path, [{"x": 1}], columns=["x", "zz"])


def test_given_ids_are_taken_unless_rows_are_asked_for(tmp_path: Path):
    rows = [{"id": 7, "pair_id": "p7"}, {"id": 8, "pair_id": "p8"}]
    done = passed(tmp_path, rows)
    assert [(pair["pair_id"], pair["id"]) for pair in done.pairs] == [("p7", 7), ("p8", 8)]
    done = passed(tmp_path, rows, ids="row")
    assert [pair["source_pair_id"] for pair in done.pairs] == ["p7", "p8"]
    assert all(len(pair["pair_id"]) == 32 for pair in done.pairs)
    assert [pair["pair_id"] for pair in passed(tmp_path, [{"id": 7}]).pairs] == ["7"]


def test_a_column_called_id_that_holds_no_ids_is_passed_through(tmp_path: Path):
    [pair] = passed(tmp_path, [{"id": 0.5}]).pairs
    assert (pair["id"], len(pair["pair_id"])) == (0.5, 32)


def test_ids_of_rows_differ_between_equal_rows_and_equal_files(tmp_path: Path):
    done = passed(tmp_path, [{}, {}], [{}, {}])
    assert len({pair["pair_id"] for pair in done.pairs}) == 4
    assert len({pair["content_id"] for pair in done.pairs}) == 1
    assert passed(tmp_path, [{}, {}], [{}, {}]).table.equals(done.table)


def test_ids_of_rows_do_not_depend_on_the_place_or_other_files(tmp_path: Path):
    there = write_jsonl(tmp_path / "there" / "b.jsonl", [TEXT, {**TEXT, "prompt": "Ho"}])
    other = write_jsonl(tmp_path / "a.jsonl", [{**TEXT, "prompt": "Hm"}])
    alone = [pair["pair_id"] for pair in prepare(there).pairs]
    assert [pair["pair_id"] for pair in prepare(other, there).pairs][1:] == alone


def test_a_subset_of_the_input_goes_before_the_column(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{**TEXT, "subset": "column"}, {**TEXT, "subset": None}])
    assert [pair["subset"] for pair in prepare(path).pairs] == ["column", None]
    done = prepare(InputSpec(str(path), subset="input"))
    assert [(pair["subset"], pair["source_subset"]) for pair in done.pairs] == [("input", "column"), ("input", None)]


def test_an_empty_file_is_planned_and_a_corpus_without_rows_is_refused(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    write_jsonl(tmp_path / "full.jsonl", [TEXT])
    done = prepare(tmp_path)
    assert [(file.num_rows, file.layout) for file in done.plan.files] == [(0, None), (1, "trl")]
    with pytest.raises(DataError, match=r"No row in any input: .*empty\.jsonl"):
        prepare(tmp_path / "empty.jsonl")


def test_a_parquet_file_without_rows_is_empty(tmp_path: Path):
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    write_jsonl(tmp_path / "full.jsonl", [TEXT])
    assert [file.num_rows for file in prepare(tmp_path).plan.files] == [0, 1]


def test_row_groups_are_read_in_runs_of_about_64ki_rows(tmp_path: Path):
    table = pa.table({name: pa.array([text] * 100_000) for name, text in TEXT.items()})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30_000)
    parts = ranges(list_files([InputSpec(str(tmp_path / "a.parquet"))])[0])
    assert [(part.start, part.end) for part in parts] == [(0, 2), (2, 4)]  # 60,000 and 40,000 rows


def test_scans_of_ranges_may_arrive_in_any_order(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{**TEXT, "n": n} for n in range(9)])
    scans = [scan(part) for part in ranges(list_files([InputSpec(str(path))])[0], range_bytes=100)]
    assert len(scans) > 3
    assert plan(reversed(scans)) == plan(scans)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path):
    texts = [pa.array(["a"])] * 4
    pq.write_table(
        pa.Table.from_arrays(texts, names=["prompt", "chosen", "rejected", "chosen"]), tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match=r"a\.parquet has two columns of the same name"):
        prepare(tmp_path / "a.parquet")


def test_plans_can_be_sent_to_workers(tmp_path: Path):
    done = passed(tmp_path, [{"x": [1]}])
    assert pickle.loads(pickle.dumps(done.plan)) == done.plan
    part = done.plan.splits[0].part
    assert pickle.loads(pickle.dumps(scan(part))) == scan(part)


def test_objects_used_as_mappings_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="more than 4096 different columns"):
        passed(tmp_path, [{f"id{n}": n} for n in range(4100)])


def test_a_compressed_copy_has_the_digest_and_the_ids_of_the_text(tmp_path: Path):
    rows = [{**TEXT, "prompt": f"Question {n}"} for n in range(5)]
    plain = prepare(write_as(tmp_path, "jsonl", rows))
    packed = prepare(write_as(tmp_path, "jsonl.gz", rows))
    assert plain.plan.files[0].digest == packed.plan.files[0].digest
    assert plain.table.equals(packed.table)


@pytest.mark.parametrize("extra", [{"id": "x"}, {"pair_id": "x"}, {"chosen__a": 1.0, "rejected__a": 0.0}])
def test_a_column_of_a_few_rows_does_not_decide_how_the_others_are_read(tmp_path: Path, extra: dict[str, Any]):
    done = passed(tmp_path, [{}, {}, extra])
    assert (len(done.pairs), done.quarantine) == (3, [])
    assert all(len(pair["pair_id"]) == 32 for pair in done.pairs)


def test_a_prompt_in_one_row_does_not_make_another_layout_of_the_file(tmp_path: Path):
    sides = [[user("Hi"), assistant("a")], [user("Hi"), assistant("b")]]
    row = {"chosen": sides[0], "rejected": sides[1]}
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [row, row, {**row, "prompt": "Hi"}]))
    assert (done.plan.files[0].layout, len(done.pairs)) == ("trl-implicit", 3)


def test_half_a_character_in_a_parquet_text_does_not_hide_what_its_column_is(tmp_path: Path):
    start = b"\n\nHuman: Hi\n\nAssistant: "
    buffers = pa.array([start + b"a", start + b"\xc3", start + b"c"], pa.binary()).buffers()
    chosen = pa.StringArray.from_buffers(3, buffers[1], buffers[2])
    rejected = pa.array([(start + b"z").decode()] * 3)
    pq.write_table(pa.table({"chosen": chosen, "rejected": rejected}), tmp_path / "a.parquet")
    done = prepare(tmp_path / "a.parquet")
    assert (done.plan.files[0].layout, len(done.pairs), done.reasons) == ("hh-rlhf", 2, {"invalid_utf8": 1})


@pytest.mark.parametrize("type_", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_texts_of_parquet_are_strings_however_they_are_stored(tmp_path: Path, type_: pa.DataType):
    columns = {name: pa.array([value] * 3, type_) for name, value in {**TEXT, "note": "n"}.items()}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    done = prepare(tmp_path / "a.parquet")
    assert done.table.column("note").to_pylist() == ["n"] * 3
    assert done.table.schema.field("note").type == pa.string()


def test_a_parquet_file_without_columns_is_refused(tmp_path: Path):
    pq.write_table(pa.table({"a": [1, 2]}).select([]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="No row in any input"):
        prepare(tmp_path / "a.parquet")


def test_rows_are_not_read_by_a_layout_that_leaves_out_what_a_few_of_them_have(tmp_path: Path):
    rows = [{"prompt": "a", "chosen": "x"}] * 2 + [{"prompt": "c", "chosen": "x", "rejected": "y"}]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert done.plan.files[0].layout == "trl"
    assert [pair["rejected"][0]["content"] for pair in done.pairs] == ["y"]
    assert done.reasons == {"missing_field": 2}
