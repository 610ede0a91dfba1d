import gzip
import os
import stat
from pathlib import Path

import pytest

from encore_ray.corpora.files.sources import InputSpec, SourceFile, list_files
from encore_ray.corpora.rows import FileRange, text_items
from encore_ray.corpora.scan import ranges, scan
from encore_ray.errors import ConfigError, DataError
from tests.corpora.prepared import prepare, write_as, write_jsonl
from tests.object_store import Store

ROW = {"prompt": "Is tea hot?", "chosen": "Usually.", "rejected": "Never."}


def names(*paths: Path | str) -> list[str]:
    return [Path(file.uri).name for file in list_files(InputSpec(str(path)) for path in paths)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl", "deep/c.json", "deep/d.ndjson"):
        write_jsonl(tmp_path / name, [ROW])
    write_as(tmp_path, "parquet", [ROW])
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    (tmp_path / "README.md").write_text("not data")
    write_jsonl(tmp_path / ".cache" / "hidden.jsonl", [ROW])
    return tmp_path


def test_a_folder_is_all_known_files_below_it_by_name(folder: Path):
    assert names(folder) == ["a.jsonl", "b.jsonl", "corpus.parquet", "c.json", "d.ndjson", "e.jsonl.gz"]


def test_a_glob_is_the_files_that_match(folder: Path):
    assert names(folder / "*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert names(folder / "**" / "*.json") == ["c.json"]


def test_a_pipe_is_no_input_as_it_would_be_waited_for_without_end(folder: Path):
    os.mkfifo(folder / "pipe.jsonl")
    assert "pipe.jsonl" not in names(folder)
    with pytest.raises(ConfigError, match=r"pipe\.jsonl is neither a file nor a folder"):
        names(folder / "pipe.jsonl")


def test_inputs_keep_their_order_subset_and_format(folder: Path):
    files = list_files([InputSpec(str(folder / "b.jsonl"), "second", "trl"), InputSpec(str(folder / "a.jsonl"))])
    assert [(Path(file.uri).name, file.subset, file.format) for file in files] == [
        ("b.jsonl", "second", "trl"),
        ("a.jsonl", None, "auto"),
    ]


def test_a_relative_path_becomes_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert list_files([InputSpec("a.jsonl")])[0].uri == str(folder / "a.jsonl")


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path):
    write_jsonl(tmp_path / "a[1].jsonl", [ROW])
    write_jsonl(tmp_path / "a1.jsonl", [ROW])
    assert names(tmp_path / "a[1].jsonl") == ["a[1].jsonl"]


def test_kinds_are_known_by_extension_ignoring_case(tmp_path: Path):
    for name in ("A.JSONL", "b.Json.GZ", "c.parquet"):
        (tmp_path / name).write_bytes(b"")
    files = list_files([InputSpec(str(tmp_path))])
    assert [(file.kind, file.gzipped) for file in files] == [("jsonl", False), ("json", True), ("parquet", False)]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.jsonl", "no such file or folder"),
        ("*.parket", "no file matches"),
        ("notes.txt", "unknown kind of file"),
        ("table.parquet.gz", "unknown kind of file"),
        ("n*", "unknown kind of file"),
        ("empty", "no file below it"),
    ],
)
def test_an_input_that_is_no_corpus_is_named(tmp_path: Path, name: str, says: str):
    (tmp_path / "notes.txt").write_text("a,b")
    (tmp_path / "table.parquet.gz").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=says) as error:
        list_files([InputSpec(str(tmp_path / name))])
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "name", ["b.jsonl.zst", "b.JSON.bz2", "c.csv.xz", "t.parquet.gz", "all.zip", "all.tar.gz", "deep/all.7z"]
)
def test_data_of_a_folder_that_are_packed_otherwise_are_refused_by_name_and_not_left_out(tmp_path: Path, name: str):
    write_jsonl(tmp_path / "a.jsonl", [ROW])
    (tmp_path / "deep").mkdir()
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"is not read: {Path(name).name}\. Unpack"):
        list_files([InputSpec(str(tmp_path))])
    assert len(list_files([InputSpec(f"{tmp_path}/*.jsonl")])) == 1


def test_what_a_folder_has_beside_its_data_is_left_out(tmp_path: Path):
    write_jsonl(tmp_path / "a.jsonl", [ROW])
    for name in ("README.md", "notes.txt.gz", "dataset_infos.json", "dataset_info.json", ".cache.zip", "plot.png"):
        (tmp_path / name).write_text("{}")
    assert [Path(file.uri).name for file in list_files([InputSpec(str(tmp_path))])] == ["a.jsonl"]


def test_no_input_at_all_is_an_error():
    with pytest.raises(ConfigError, match="No input"):
        list_files([])


def test_the_same_file_twice_is_an_error_that_names_both_inputs(folder: Path):
    with pytest.raises(ConfigError, match=r"a\.jsonl is an input twice") as error:
        list_files([InputSpec(str(folder)), InputSpec(str(folder / "deep" / ".." / "a.jsonl"))])
    assert "deep/../a.jsonl" in str(error.value)


def test_the_stamp_changes_when_a_file_is_rewritten_with_the_same_size(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROW])
    before = list_files([InputSpec(str(path))])[0].stamp
    assert list_files([InputSpec(str(path))])[0].stamp == before
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # one nanosecond later
    assert list_files([InputSpec(str(path))])[0].stamp != before


def test_the_stamp_changes_when_whoever_rewrites_a_file_keeps_its_time(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROW])
    before, state = list_files([InputSpec(str(path))])[0].stamp, path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert list_files([InputSpec(str(path))])[0].stamp != before


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz", "json.gz"])
def test_a_truncated_file_fails_by_name(tmp_path: Path, kind: str):
    path = write_as(tmp_path, kind, [ROW] * 50)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"Cannot read .*corpus"):
        [scan(part) for part in ranges(list_files([InputSpec(str(path))])[0])]


def test_a_corrupt_parquet_page_fails_by_name(tmp_path: Path):
    path = write_as(tmp_path, "parquet", [ROW] * 50)
    data = bytearray(path.read_bytes())
    data[4:40] = bytes(36)  # the first page header
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"Cannot read .*corpus\.parquet"):
        prepare(path)


def test_what_is_gzipped_and_not_called_so_fails_by_name(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(DataError, match=r"a\.jsonl is compressed by gzip, and its name does not end in \.gz"):
        prepare(path)


def test_what_is_called_gz_and_is_not_fails_by_name(tmp_path: Path):
    path = tmp_path / "a.jsonl.gz"
    path.write_text("{}\n")
    with pytest.raises(DataError, match=r"a\.jsonl\.gz.*[Nn]ot a gzipped file"):
        prepare(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_fails_by_name(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROW])
    path.chmod(stat.S_IWUSR)
    with pytest.raises(DataError, match=r"Cannot read .*a\.jsonl"):
        prepare(path)


def test_a_file_that_vanished_after_listing_fails_by_name(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROW])
    file = list_files([InputSpec(str(path))])[0]
    path.unlink()
    with pytest.raises(DataError, match=r"Cannot read .*a\.jsonl"):
        list(text_items(FileRange(file, 0, file.size)))


def test_google_storage_without_its_package_says_what_to_install():
    with pytest.raises(ConfigError, match=r"pip install 'encore-ray\[gcs\]'"):
        list_files([InputSpec("gs://bucket/a.jsonl")])


def test_an_unknown_protocol_is_named():
    with pytest.raises(ConfigError, match="ftpx://host/a"):
        list_files([InputSpec("ftpx://host/a.jsonl")])


def test_s3_files_give_the_same_pairs_as_local_ones(s3: Store, tmp_path: Path):
    rows = [{**ROW, "prompt": f"Question {index}?"} for index in range(40)]
    for kind in ("jsonl", "jsonl.gz", "json", "parquet"):
        path = write_as(tmp_path, kind, rows)
        s3.client.upload_file(str(path), "runs", f"same/{path.name}")
    local, remote = prepare(tmp_path, range_bytes=500), prepare("s3://runs/same", range_bytes=500)
    assert remote.table.equals(local.table)
    assert remote.plan.files[0].file.uri == "s3://runs/same/corpus.json"
    assert len(names("s3://runs/same/*.jsonl*")) == 2


def test_the_stamp_of_an_s3_file_follows_its_content(s3: Store):
    stamps = []
    for body in (b"{}\n", b"[]\n"):
        s3.client.put_object(Bucket="runs", Key="stamped/a.jsonl", Body=body)
        stamps.append(list_files([InputSpec("s3://runs/stamped/a.jsonl")])[0].stamp)
    assert stamps[0] != stamps[1]


def test_a_missing_s3_path_is_a_missing_path(s3: Store):
    with pytest.raises(ConfigError, match="no such file or folder"):
        list_files([InputSpec("s3://runs/none.jsonl")])
    with pytest.raises(ConfigError, match="no file matches"):
        list_files([InputSpec("s3://runs/none*.jsonl")])


@pytest.mark.parametrize(
    ("uri", "stamp", "is_settled"),
    [
        ("/data/a.jsonl", "17-1700000000123456789-1700000000123456789", True),
        ("/data/a.jsonl", "17-1700000000123456789-1700000000000000000", False),  # whole seconds
        ("s3://b/a.jsonl", "17-9b2cf535f27731c974343645a3985328", True),
        ("s3://b/a.jsonl", "17-9b2cf535f27731c974343645a3985328-3", True),  # of an upload in parts
        ("hf://datasets/o/n/a.jsonl", "17-f572d396fae9206628714fb2ce00f72e94f2258f", True),
        ("gs://b/a.jsonl", "17-XUFAKrxLKna5cZ2REBfFkg==", True),
        ("sftp://h/a.jsonl", "17-2026-11-30 18:00:00+00:00", False),  # a copy may keep its time
        ("https://h/a.jsonl", "17-", False),
    ],
)
def test_a_stamp_stands_for_a_content_only_where_it_changes_with_it(uri: str, stamp: str, is_settled: bool) -> None:
    assert SourceFile(uri, "jsonl", False, 17, stamp).is_settled == is_settled
