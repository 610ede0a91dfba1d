"""The same rows come to the same pairs from every kind of file; a file that is damaged is named, whatever its kind."""

import contextlib
import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.kinds.arrow import ArrowTable
from encore_ray.corpora.kinds.tables import open_table
from encore_ray.corpora.scan import ranges, scan
from encore_ray.errors import ConfigError, DataError
from tests.corpora.layouts.published import PUBLISHED, Case
from tests.corpora.prepared import assistant, prepare, user, write_jsonl

ROWS: list[dict[str, Any]] = [
    {"prompt": f'Question {n}?\nSay "{n}", please.', "chosen": "é, yes", "rejected": " no", "n": n} for n in range(9)
]
TALK = [{"prompt": [user(f"Question {n}")], "chosen": [assistant("a")], "rejected": [assistant("b")]} for n in range(9)]


def turns(reply: Any) -> Any:
    return [assistant(reply)] if isinstance(reply, str) else reply


def write_csv(path: Path, rows: list[dict[str, Any]], *, spell: Any = json.dumps) -> Path:
    """As pandas and others write it: lists and objects as text, nothing for null."""
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: spell(v) if isinstance(v, list | dict) else v for name, v in row.items()})
    return path


def write_stream(path: Path, rows: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    return path


def write_feather(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow.feather.write_feather(pa.Table.from_pylist(rows), str(path), chunksize=4)
    return path


WRITERS = {
    "a.csv": write_csv,
    "a.tsv": write_csv,
    "a.csv.gz": write_csv,
    "a.arrow": write_stream,
    "a.feather": write_feather,
}


@pytest.mark.parametrize("rows", [ROWS, TALK], ids=["texts", "messages"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_pairs(tmp_path: Path, name: str, rows: list[dict[str, Any]]):
    expected = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    found = prepare(WRITERS[name](tmp_path / name, rows))
    assert found.table.column("content_id").equals(expected.table.column("content_id"))
    assert (found.rows_in, found.rows_kept) == (9, 9)


@pytest.mark.parametrize("spell", [json.dumps, repr], ids=["json", "repr"])
def test_lists_in_csv_are_lists(tmp_path: Path, spell: Any):
    done = prepare(write_csv(tmp_path / "a.csv", TALK, spell=spell))
    assert done.pairs[3]["prompt"] == [user("Question 3")]
    assert done.notes == {"lists_from_text": 27}


FLAT = [case for case in PUBLISHED if case.layout not in ("ultrafeedback-raw", "nectar", "nemo-rl", "rmb", "webgpt")]


@pytest.mark.parametrize(
    "case",
    [case for case in FLAT if case.name not in ("PPE, correctness", "LLaMA-Factory, OpenAI's form", "OASST, trees")],
    ids=lambda case: case.name,
)
def test_public_data_in_csv_are_recognised_by_the_same_columns(tmp_path: Path, case: Case):
    done = prepare(write_csv(tmp_path / "a.csv", case.rows))
    assert done.plan.files[0].layout == case.layout
    assert not done.quarantine
    found = [(pair["prompt"], pair["chosen"], pair["rejected"]) for pair in done.pairs]
    assert found == [(prompt, turns(chosen), turns(rejected)) for prompt, chosen, rejected in case.pairs]


@pytest.mark.parametrize(
    ("text", "reasons", "num_pairs"),
    [
        ("prompt,chosen,rejected\na,b,c\nd,e\nf,g,h\n", {"malformed_csv": 1}, 2),
        ("prompt,chosen,rejected\na,b,c\nd,e,f,g\n", {"malformed_csv": 1}, 1),
        ('prompt,chosen,rejected\na,b,c\n"d"e,f,g\nh,i,j\n', {"malformed_csv": 1}, 2),
        ('prompt,chosen,rejected\na,b,c\n"open,f,g\n', {"malformed_csv": 1}, 1),
        ("prompt,chosen,rejected\na,b,c\n,f,g\nh,,j\n", {"missing_field": 2}, 1),
        ("prompt,chosen,rejected\n\na,b,c\n\n", {}, 1),
        ("\ufeffprompt,chosen,rejected\r\na,b,c\r\n", {}, 1),
    ],
)
def test_a_bad_row_of_a_csv_file_goes_to_quarantine(tmp_path: Path, text: str, reasons: dict[str, int], num_pairs: int):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    done = prepare(tmp_path / "a.csv")
    assert (done.reasons, len(done.pairs)) == (reasons, num_pairs)


def test_a_csv_row_that_is_not_utf_8_is_a_bad_row_and_its_neighbours_are_not(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"prompt,chosen,rejected\na,b,c\nd,\xff\xfe,f\ng,h,i\n")
    done = prepare(tmp_path / "a.csv")
    assert (done.reasons, len(done.pairs)) == ({"invalid_utf8": 1}, 2)
    assert done.quarantine[0]["raw"] == "d,\\xff\\xfe,f"


def test_two_csv_columns_of_one_name_are_refused_and_one_without_a_name_is_kept(tmp_path: Path):
    (tmp_path / "a.csv").write_text("prompt,chosen,chosen\na,b,c\n")
    with pytest.raises(DataError, match=r"a\.csv has two columns of the same name: chosen"):
        prepare(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text(",prompt,chosen,rejected\n0,a,b,c\n")  # the index of pandas
    assert prepare(tmp_path / "b.csv").pairs[0]["column_1"] == "0"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.arrow", "a.feather", "a.parquet", "a.csv.gz"])
@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02\xff", b"ARROW1\x00\x00nothing", b"FEA1....", b"\xff\xff\xff\xff"])
def test_what_is_no_file_of_its_kind_is_an_error_that_names_it(tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        prepare(tmp_path / name)


@pytest.mark.parametrize("writer", [write_stream, write_feather])
def test_an_arrow_file_that_is_cut_off_or_changed_is_no_traceback(tmp_path: Path, writer: Any):
    data = writer(tmp_path / "whole", ROWS).read_bytes()
    for at in range(8, len(data), 37):
        for number, damaged in enumerate((data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])):
            path = tmp_path / f"{at}-{number}.arrow"
            path.write_bytes(damaged)
            with contextlib.suppress(DataError):  # `prepare` checks the account of its rows
                prepare(path)


def test_an_arrow_table_is_read_in_batches_of_a_size(tmp_path: Path):
    [file] = list_files([InputSpec(str(write_feather(tmp_path / "a.feather", ROWS)))])
    with open_table(file) as table:
        assert isinstance(table, ArrowTable)
        assert [batch.num_rows for batch in table.batches(0, 1, rows=3)] == [3, 1, 3, 1, 1]  # of 4, 4 and 1


def test_folders_that_datasets_saved(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_list(ROWS)
    made.save_to_disk(str(tmp_path / "one"), num_shards=2)
    expected = prepare(write_jsonl(tmp_path / "a.jsonl", ROWS)).table.column("content_id")
    assert prepare(tmp_path / "one").table.column("content_id").equals(expected)
    write_stream(tmp_path / "one" / "cache-1234.arrow", ROWS)
    assert len(prepare(tmp_path / "one").pairs) == 9
    datasets.DatasetDict({"test": made.select([0]), "train": made}).save_to_disk(str(tmp_path / "both"))
    assert len(prepare(tmp_path / "both").pairs) == 10
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(DataError, match=r"state\.json: it does not say which files hold the data"):
        prepare(tmp_path / "one")


def test_a_dataset_info_beside_data_is_no_data(tmp_path: Path):
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    (tmp_path / "dataset_info.json").write_text('{"train": {"file_name": "train.jsonl"}}')
    assert len(prepare(tmp_path).pairs) == 9


def test_lance_needs_its_package_and_is_read_with_it(tmp_path: Path):
    path = tmp_path / "a.lance"
    try:
        import lance
    except ImportError:
        (path / "data").mkdir(parents=True)
        with pytest.raises(ConfigError, match=r"a\.lance: reading Lance needs one more package: pip install pylance"):
            prepare(path)
        return
    lance.write_dataset(pa.Table.from_pylist(ROWS), str(path))
    expected = prepare(write_jsonl(tmp_path / "a.jsonl", ROWS)).table.column("content_id")
    assert prepare(path).table.column("content_id").equals(expected)


def test_a_column_is_not_decided_by_its_first_rows(tmp_path: Path):
    nothing = [{"prompt": "Hi", "chosen": None, "rejected": None}] * 70
    rows = [{"prompt": "Hi", "chosen": [assistant("a")], "rejected": [assistant("b")]}] * 80
    pq.write_table(
        pa.Table.from_pylist(rows + nothing).take(pa.array([*range(80, 150), *range(80)])), tmp_path / "a.parquet"
    )
    done = prepare(tmp_path / "a.parquet")
    assert (done.rows_in, done.rows_kept, done.reasons) == (150, 80, {"missing_field": 70})


def test_shapes_of_a_table_are_those_of_its_values(tmp_path: Path):
    rows = [row for case in PUBLISHED for row in case.rows]
    for number, row in enumerate(rows):
        text = write_jsonl(tmp_path / f"{number}.jsonl", [row] * 3)
        pq.write_table(pa.Table.from_pylist([row] * 3), tmp_path / f"{number}.parquet")
        of_text, of_table = (
            scan(ranges(list_files([InputSpec(str(path))])[0])[0]).columns
            for path in (text, tmp_path / f"{number}.parquet")
        )
        for name, column in of_text.items():
            assert of_table[name].shapes == column.shapes, name


def test_columns_that_are_null_in_one_file_have_the_type_of_another(tmp_path: Path):
    base = {"prompt": "Hi", "response": "a"}
    further = [
        {"tags": [1.5], "meta": {"a": "x", "b": None}, "label": "h"},
        {"tags": [], "meta": {"a": None, "b": 1}, "label": None},
        {"tags": None, "meta": None, "label": None},
    ]
    for number, more in enumerate(further):
        pq.write_table(pa.Table.from_pylist([{**base, **more}]), tmp_path / f"{number}.parquet")
    done = prepare(tmp_path)
    fields = {field.name: field.type for field in done.plan.table.schema}
    assert fields["tags"] == pa.list_(pa.float64())
    assert fields["meta"] == pa.struct([("a", pa.string()), ("b", pa.int64())])
    assert fields["label"] == pa.string()
    assert [{name: pair[name] for name in more} for pair, more in zip(done.pairs, further, strict=True)] == further


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"prompt;chosen;rejected\nHi;yes;no\n", r"separated by ';'\. Save it with commas"),
        (b"prompt\tchosen\trejected\nHi\tyes\tno\n", "with tabs as .tsv"),
        ("prompt,chosen,rejected\nHi,yes,no\n".encode("utf-16"), "most likely in UTF-16"),
    ],
    ids=["semicolons", "tabs", "UTF-16"],
)
def test_a_table_of_text_in_another_form_is_told_which(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=why):
        prepare(path)
