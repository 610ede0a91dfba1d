import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.converting import quarantined
from encore_ray.corpora.converting.convert import ConvertSettings, SplitConverter
from encore_ray.corpora.converting.quarantined import RAW_CHARS
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.plan import plan
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.scan import ranges, scan
from encore_ray.errors import DataError
from encore_ray.schema import Reason
from tests.corpora.prepared import prepare, write_as, write_jsonl

TEXT = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=4)
ROWS = st.fixed_dictionaries(
    {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS}, optional={"n": st.integers(-3, 3), "tags": st.lists(TEXTS)}
)
LINES = st.one_of(ROWS.map(json.dumps), st.sampled_from(["", "  ", "{", "[]", '{"prompt": "é"}', "\ufeff", "\r"]))


def numbered(count: int) -> list[dict[str, Any]]:
    return [{**TEXT, "prompt": f"Question {n}", "n": n} for n in range(count)]


@given(
    lines=st.lists(LINES, max_size=10),
    range_bytes=st.integers(1, 200),
    unit_pairs=st.integers(1, 4),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_pairs_and_quarantine_are_the_same_for_any_ranges_and_units(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], range_bytes: int, unit_pairs: int, newline: str
):
    path = tmp_path_factory.mktemp("ranges") / "a.jsonl"
    path.write_bytes(newline.join([json.dumps({**TEXT, "n": 1}), *lines]).encode())
    whole = prepare(InputSpec(str(path), format="trl"))
    settings = ConvertSettings(unit_pairs=unit_pairs)
    parts = prepare(InputSpec(str(path), format="trl"), range_bytes=range_bytes, settings=settings)
    assert parts.table.equals(whole.table)
    assert parts.quarantine == whole.quarantine
    assert parts.plan.files[0].digest == whole.plan.files[0].digest
    assert all(unit.num_rows <= unit_pairs for unit in parts.units)
    assert parts.rows_in == sum(1 for line in lines if not line.encode().isspace() and line) + 1


@pytest.mark.parametrize("kind", ["ndjson", "jsonl.gz", "json", "json.gz", "parquet"])
def test_every_kind_of_file_gives_the_same_pairs(tmp_path: Path, kind: str):
    rows = [*numbered(20), {**TEXT, "prompt": "", "n": 20}, {**TEXT, "n": None}]
    expected, found = prepare(write_as(tmp_path, "jsonl", rows)), prepare(write_as(tmp_path, kind, rows))
    of_row = ["pair_id"] if kind == "parquet" else []  # a hash of the file's content, which is not the text
    assert found.table.drop(of_row).equals(expected.table.drop(of_row))
    assert [(entry["line"], entry["reason"]) for entry in found.quarantine] == [(21, "empty_field")]
    assert json.loads(found.quarantine[0]["raw"]) == rows[20]


def test_units_are_full_except_the_last_of_a_split(tmp_path: Path):
    done = prepare(write_jsonl(tmp_path / "a.jsonl", numbered(10)), settings=ConvertSettings(unit_pairs=4))
    assert [unit.num_rows for unit in done.units] == [4, 4, 2]


def test_a_unit_of_long_rows_is_cut_by_their_bytes(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", numbered(5))  # lines of 67 bytes: two fit into 150, one into 50
    assert [unit.num_rows for unit in prepare(path, settings=ConvertSettings(unit_bytes=150)).units] == [2, 2, 1]
    assert [unit.num_rows for unit in prepare(path, settings=ConvertSettings(unit_bytes=50)).units] == [1] * 5


def test_a_group_is_never_split_and_one_larger_than_a_unit_is_alone(tmp_path: Path):
    rows = [{"prompt": f"q{n}", "chosen": ["a"], "rejected": ["b"] * n} for n in (2, 1, 5, 2, 2, 1)]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows), settings=ConvertSettings(unit_pairs=3))
    assert [unit.num_rows for unit in done.units] == [3, 5, 2, 3]
    groups = [set(unit.column("group_id").to_pylist()) for unit in done.units]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6


def test_identical_and_repeated_pairs_are_kept_and_counted(tmp_path: Path):
    same = {**TEXT, "rejected": "a"}
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [same, TEXT, same]))
    assert (len(done.pairs), done.identical) == (3, 2)
    assert done.pairs[0]["content_id"] == done.pairs[2]["content_id"]
    assert done.pairs[0]["pair_id"] != done.pairs[2]["pair_id"]


def test_limit_rows_stops_early(tmp_path: Path):
    done = prepare(write_jsonl(tmp_path / "a.jsonl", numbered(10)), settings=ConvertSettings(limit_rows=3))
    assert (done.rows_in, len(done.pairs)) == (3, 3)
    none = prepare(write_jsonl(tmp_path / "a.jsonl", numbered(10)), settings=ConvertSettings(limit_rows=0))
    assert (none.rows_in, none.units) == (0, [])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_that_are_left_out_go_to_quarantine_and_the_others_are_as_ever(tmp_path: Path, kind: str):
    path = write_as(tmp_path, kind, [*numbered(4), {**TEXT, "prompt": ""}])
    whole = prepare(path)
    problem = BadRow(Reason.KILLS_WORKER, "killed twice")
    converter = SplitConverter(whole.plan.splits[0], table=whole.plan.table, left_out={1: problem, 4: problem})
    (unit,) = converter.units()
    assert unit.equals(whole.table.take([0, 2, 3]))
    rows = converter.outcome.quarantine.to_pylist()
    assert [(row["line"], row["reason"]) for row in rows] == [(2, "kills_worker"), (5, "kills_worker")]
    assert json.loads(rows[0]["raw"]) == numbered(4)[1]
    assert (converter.outcome.rows_in, converter.outcome.rows_kept) == (5, 3)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("column", "value"), [("chosen", "é" * 60), ("n", "x" * 101), ("tags", ["y" * 50, "z" * 50])])
def test_a_field_over_the_limit_goes_to_quarantine(tmp_path: Path, kind: str, column: str, value: Any):
    # 60 × 2 bytes of "é" = 120; 101; ["y…", "z…"] = 2 × 52 + 4 = 108 as JSON: all over 100
    fits = {**TEXT, "n": "x" * 100, "tags": ["y"], "chosen": "é" * 50}
    path = write_as(tmp_path, kind, [fits, {**fits, column: value}])
    done = prepare(path, settings=ConvertSettings(max_field_bytes=100))
    assert done.reasons == {"field_too_large": 1}
    assert done.quarantine[0]["detail"].startswith(f"{column}: expected at most 100 bytes, found 1")


def test_a_long_row_of_small_fields_is_kept(tmp_path: Path):
    row = {**TEXT, **{f"c{n}": "x" * 50 for n in range(10)}}
    assert (
        len(prepare(write_jsonl(tmp_path / "a.jsonl", [row]), settings=ConvertSettings(max_field_bytes=60)).pairs) == 1
    )


def test_a_huge_raw_row_is_cut_and_the_detail_says_so(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(TEXT) + "\n" + "x" * (RAW_CHARS + 5) + "\n")
    [entry] = prepare(path).quarantine
    assert entry["raw"] == "x" * RAW_CHARS
    assert entry["detail"].endswith(f"(raw row: the first {RAW_CHARS} of {RAW_CHARS + 5} characters)")


def test_bytes_that_are_no_text_stay_readable_in_quarantine(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(TEXT).encode() + b'\n{"prompt": "\xff\xfe"}\n{"prompt": "\\ud800", "chosen": "a"}')
    done = prepare(path)
    assert done.reasons == {"invalid_utf8": 2}
    raws = [entry["raw"] for entry in done.quarantine]
    assert raws == ['{"prompt": "\\xff\\xfe"}', '{"prompt": "\\ud800", "chosen": "a"}']


def test_unusual_characters_are_kept_to_the_last_one(tmp_path: Path):
    row = {"prompt": " \0\u2028é😀\r\n ", "chosen": "\ufeffa\t", "rejected": "b\u200b"}
    [pair] = prepare(write_jsonl(tmp_path / "a.jsonl", [row])).pairs
    assert {side: pair[side][0]["content"] for side in row} == row


@pytest.mark.parametrize(
    ("rewritten", "how"),
    [
        ([*numbered(3), TEXT], "it had 3 rows in this part then, 4 now"),
        (numbered(2), "it had 3 rows in this part then, 2 now"),
        ([{**TEXT, "n": "text"}] * 3, "a value no longer has the type"),
        ([{**TEXT, "n": 7}] * 3, "its size and time or version were"),
    ],
)
def test_a_file_that_changed_after_the_scan_fails_by_name(tmp_path: Path, rewritten: list[Any], how: str):
    path = write_as(tmp_path, "jsonl.gz", numbered(3))
    made = plan([scan(part) for part in ranges(list_files([InputSpec(str(path))])[0])])
    write_as(tmp_path, "jsonl.gz", rewritten)
    converter = SplitConverter(made.splits[0], table=made.table)
    with pytest.raises(DataError, match=rf"corpus\.jsonl\.gz has changed since it was listed and scanned: {how}"):
        list(converter.units())


def test_bad_rows_without_end_keep_their_beginnings_alone(tmp_path: Path):
    # 80 rows of 1 MiB: the first 64 fill what a split keeps whole.
    path = tmp_path / "a.jsonl.gz"
    with gzip.GzipFile(path, "wb", compresslevel=1) as handle:
        for _ in range(80):
            handle.write(b"x" * (1 << 20) + b"\n")
        handle.write(json.dumps(numbered(1)[0]).encode())
    done = prepare(path)
    assert [len(row["raw"]) for row in done.quarantine] == [1 << 20] * 64 + [1 << 10] * 16
    assert "the first 1024 of 1048576 characters" in done.quarantine[-1]["detail"]


@pytest.mark.parametrize(
    ("reply", "count"), [("nan", 1), (" None", 1), ("NULL", 1), ("<NA>", 1), ("None.", 0), ("No", 0)]
)
def test_words_by_which_tables_write_what_is_empty_are_counted_as_responses(
    tmp_path: Path, reply: str, count: int
) -> None:
    rows = [
        {"prompt": "Hi.", "chosen": "Yes.", "rejected": reply},
        {"prompt": "So?", "chosen": "Yes.", "rejected": "No."},
    ]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert len(done.pairs) == 2
    assert done.notes.get("nothing_said", 0) == count


def test_quarantine_is_the_same_however_many_of_its_rows_are_packed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps({**TEXT, "n": 1}), *(f"{{ {number}" for number in range(10))]))
    whole = prepare(InputSpec(str(path), format="trl"))
    assert whole.reasons == {"malformed_json": 10}
    for number in (1, 3, 10):
        monkeypatch.setattr(quarantined, "PACKED_ROWS", number)
        assert prepare(InputSpec(str(path), format="trl")).quarantine == whole.quarantine
