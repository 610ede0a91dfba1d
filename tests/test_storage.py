"""Files: whole or not there, first writer wins, the same on a disk and on an object store."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.errors import ConfigError, DataError
from encore_ray.files.durable import TEMP_PREFIX
from encore_ray.files.remote import file_system
from encore_ray.storage import Folder, absolute, fingerprint, require_paths, to_json
from tests.object_store import Store

TABLE = pa.table({"pair_id": ["a", "b"], "score": pa.array([0.5, None], pa.float32())})


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder on each kind of file system, with a space and letters beyond ASCII in its path."""
    if request.param == "local":
        return Folder(f"{tmp_path}/run of Zoë")
    request.getfixturevalue("s3")
    return Folder(f"s3://runs/{tmp_path.name}/run of Zoë")


def start_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# What both kinds of file system do


def test_the_first_writer_wins_and_later_ones_change_nothing(folder: Folder) -> None:
    assert folder.create_once("commits/u 1.json", b"first")
    assert not folder.create_once("commits/u 1.json", b"second")
    assert folder.read_bytes("commits/u 1.json") == b"first"
    assert folder.names("commits") == ["u 1.json"]


def test_of_many_processes_exactly_one_wins_each_file_and_its_file_is_whole(folder: Folder) -> None:
    code = """
import sys
from encore_ray.storage import Folder
folder, me = Folder(sys.argv[1]), sys.argv[2]
folder.exists("warm")
print("ready", flush=True)
sys.stdin.readline()
print(*[n for n in range(20) if folder.create_once(f"{n}.json", (me * 5000).encode())])
"""
    processes = [start_python(code, folder.uri, me) for me in "abc"]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all start at once
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    won = {me: process.communicate()[0].split() for me, process in zip("abc", processes, strict=True)}
    assert sorted(int(n) for numbers in won.values() for n in numbers) == list(range(20))
    for me, numbers in won.items():
        for number in numbers:
            assert folder.read_bytes(f"{number}.json") == me.encode() * 5000
    if folder.is_local:
        assert len(os.listdir(folder.uri)) == 20  # no temporary file is left


def test_a_file_is_replaced_as_a_whole(folder: Folder) -> None:
    folder.write_atomic("plan.json", b"old and long")
    folder.write_atomic("plan.json", b"new")
    assert folder.read_bytes("plan.json") == b"new"
    assert folder.names() == ["plan.json"]


def test_tables_come_back_with_their_digest(folder: Folder) -> None:
    written = folder.write_table("data/ü.parquet", TABLE)
    assert (written.file, written.rows) == ("data/ü.parquet", 2)
    assert folder.read_table("data/ü.parquet").equals(TABLE)
    assert folder.read_table("data/ü.parquet", columns=["score"]).column_names == ["score"]
    assert folder.write_table("data/again.parquet", TABLE).digest == written.digest


def test_folder_names_are_no_partitions_of_the_table(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "subset=a"))
    folder.write_table("t.parquet", TABLE)
    assert folder.read_table("t.parquet").column_names == ["pair_id", "score"]


def test_names_are_those_directly_inside_and_none_where_nothing_is(folder: Folder) -> None:
    for name in ("b.json", "a.json", "deep/c.json"):
        folder.write_atomic(name, b"{}")
    assert folder.names() == ["a.json", "b.json", "deep"]
    assert folder.child("deep").names() == folder.names("deep") == ["c.json"]
    assert folder.names("nowhere") == folder.names("a.json") == []


def test_a_deleted_tree_is_gone_and_may_be_deleted_again(folder: Folder) -> None:
    folder.write_atomic("data/x/y", b"1")
    folder.write_atomic("keep", b"1")
    folder.delete_tree("data")
    folder.delete_tree("data")
    folder.delete("data/x/y")
    assert folder.names() == ["keep"]
    assert not folder.exists("data/x/y")


def test_a_stream_that_breaks_off_leaves_the_old_file(folder: Folder) -> None:
    folder.write_stream("out.jsonl", iter([b"1\n", b"2\n"]))

    def broken() -> Iterator[bytes]:
        yield b"x" * 100
        raise DataError("no more")

    for name in ("out.jsonl", "new.jsonl"):
        with pytest.raises(DataError, match="no more"):
            folder.write_stream(name, broken())
    assert folder.read_bytes("out.jsonl") == b"1\n2\n"
    assert folder.names() == ["out.jsonl"]


def test_a_missing_or_broken_file_is_named(folder: Folder) -> None:
    folder.write_atomic("half.json", b'{"a": ')
    folder.write_atomic("latin.json", b'"caf\xe9"')
    folder.write_atomic("bad.parquet", b"PAR1 nothing")
    for name, said in (("no.json", "is not there"), ("half.json", "not valid JSON"), ("latin.json", "not valid JSON")):
        with pytest.raises(DataError, match=said) as caught:
            folder.read_json(name)
        assert folder.path(name) in str(caught.value)
    for name, said in (("no.parquet", "is not there"), ("bad.parquet", "Cannot read")):
        with pytest.raises(DataError, match=said) as caught:
            folder.read_table(name)
        assert folder.path(name) in str(caught.value)
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("no.json")


def test_a_pickled_folder_is_the_same_folder(folder: Folder) -> None:
    folder.write_atomic("a", b"1")
    again = pickle.loads(pickle.dumps(folder))
    assert again == folder
    assert again.read_bytes("a") == b"1"


# A local disk


def test_a_reader_sees_the_old_or_the_new_file_even_when_the_writer_is_killed(tmp_path: Path) -> None:
    code = """
import sys
from encore_ray.storage import Folder
folder, n = Folder(sys.argv[1]), 0
while True:
    folder.write_atomic("file", (b"old", b"new")[n % 2] * 100_000)
    n += 1
    if n == 2:
        print("ready", flush=True)
"""
    process = start_python(code, str(tmp_path))
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    whole = {b"old" * 100_000, b"new" * 100_000}
    folder = Folder(str(tmp_path))
    for _ in range(100):
        assert folder.read_bytes("file") in whole
    process.kill()
    process.communicate()
    assert folder.read_bytes("file") in whole
    assert folder.names() == ["file"]


def test_what_killed_writers_left_is_hidden_and_swept(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write_atomic("data/a", b"1")
    (tmp_path / "data" / f"{TEMP_PREFIX}123").write_bytes(b"half")
    assert folder.names("data") == ["a"]
    folder.sweep_temporaries("data")
    folder.sweep_temporaries("nowhere")
    assert os.listdir(tmp_path / "data") == ["a"]


def test_a_place_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (Folder(str(tmp_path / "file")), Folder(str(tmp_path / "file" / "run"))):
        for write in (folder.write_atomic, folder.create_once):
            with pytest.raises(ConfigError, match=r"Cannot reach or write .*/file"):
                write("plan.json", b"{}")


def test_nothing_is_deleted_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    Folder(str(tmp_path / "file")).delete("nonce")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_where_a_file_belongs_is_named_and_so_is_a_file_where_a_folder_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = Folder(str(tmp_path)).child("inner")
    (tmp_path / "inner" / "folder").mkdir(parents=True)
    for read in (folder.read_bytes, folder.open):
        with pytest.raises(DataError, match=r"inner/folder is a folder, where a file belongs"):
            read("folder")
        with pytest.raises(FileNotFoundError):
            read("missing")
        with pytest.raises(ConfigError, match=r"file/below: .*Not a directory"):
            read("../file/below")


def test_a_folder_in_the_place_of_a_json_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(DataError, match=r"/x\.json is a folder"):
        Folder(str(tmp_path)).read_json("x.json")


# An object store


def test_a_file_of_another_process_is_seen_at_once(s3: Store) -> None:
    folder = Folder("s3://runs/others")
    folder.write_atomic("commits/a.json", b"1")
    assert folder.names("commits") == ["a.json"]
    s3.client.put_object(Bucket="runs", Key="others/commits/b.json", Body=b"2")
    assert folder.exists("commits/b.json")
    assert folder.names("commits") == ["a.json", "b.json"]
    s3.client.put_object(Bucket="runs", Key="others/commits/a.json", Body=b"longer")
    with folder.open("commits/a.json") as handle:
        assert handle.read() == b"longer"
    assert not folder.create_once("commits/b.json", b"mine")


def test_the_marker_of_an_empty_folder_is_no_name_in_it(s3: Store) -> None:
    s3.client.put_object(Bucket="runs", Key="marked/", Body=b"")
    Folder("s3://runs/marked").write_atomic("a", b"1")
    assert Folder("s3://runs/marked").names() == ["a"]


def test_a_missing_bucket_is_named(s3: Store) -> None:
    folder = Folder("s3://no-such-bucket/run")
    assert folder.names() == []
    assert not folder.exists("plan.json")
    with pytest.raises(ConfigError, match=r"s3://no-such-bucket/run/plan\.json: .*bucket does not exist"):
        folder.write_atomic("plan.json", b"{}")


# Paths


def test_local_paths_become_absolute_and_urls_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/zoe")
    monkeypatch.chdir(tmp_path)
    assert absolute("~/run") == "/home/zoe/run"
    assert absolute("a/../b c") == f"{tmp_path}/b c"
    assert absolute("x.jsonl", base="/data") == "/data/x.jsonl"
    assert absolute("/x/", base="/data") == "/x"
    assert absolute("file:///x/y") == "/x/y"
    assert absolute("s3://bucket/run/") == "s3://bucket/run"


def test_an_unknown_protocol_is_the_users_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^nfs4://host/x: "):
        file_system("nfs4://host/x")


def test_all_missing_paths_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    require_paths([str(tmp_path / "there"), None, "owner/model-on-a-hub"])
    with pytest.raises(ConfigError, match=f"{tmp_path}/a, {tmp_path}/b"):
        require_paths([str(tmp_path / "a"), str(tmp_path / "there"), str(tmp_path / "b")])


# Records

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


def test_a_fingerprint_depends_on_values_and_their_order() -> None:
    values = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1, 2]}, {"a": [2, 1]}, {"a": None}, {}]
    assert len(set(map(fingerprint, values))) == len(values)


def test_nan_is_never_written_as_json() -> None:
    for write in (to_json, fingerprint):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"entropy": float("nan")})


def test_tables_are_plain_parquet(tmp_path: Path) -> None:
    Folder(str(tmp_path)).write_table("t.parquet", TABLE)
    assert pq.read_table(tmp_path / "t.parquet").equals(TABLE)
