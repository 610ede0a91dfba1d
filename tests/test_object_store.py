"""Run folders on an object store: patient with faults, exact about who was first, plain about what is wrong."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from encore_ray.cli import main
from encore_ray.config.sources import read_rules
from encore_ray.errors import ConfigError, DataError, ModelError
from encore_ray.files.remote import file_system
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.driver.entries import LEASE_DIR
from encore_ray.folder.driver.lock import only_driver
from encore_ray.folder.pass_table import PassTable
from encore_ray.models.loading.identity import identify_model
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.storage import Folder
from tests.models import tiny
from tests.object_store import STALL_S, FaultProxy, Plan, Store, always, fault_proxy, first_creations, random_faults

Failing = Callable[[Plan], FaultProxy]

TABLE = pa.table({"pair_id": ["a", "b"], "score": pa.array([0.5, None], pa.float32())})


@pytest.fixture
def failing(s3: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    """Puts a proxy with a plan of faults between this process and the store."""
    with contextlib.ExitStack() as running:

        def start(plan: Plan) -> FaultProxy:
            proxy = running.enter_context(fault_proxy(s3, plan))
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            return proxy

        yield start


# Faults


def test_throttling_errors_and_lost_connections_cost_time_and_nothing_else(failing: Failing) -> None:
    proxy = failing(random_faults(seed=7, share=0.25))
    folder = Folder("s3://runs/patient")

    def work(number: int) -> bool:
        folder.write_atomic(f"data/{number}.bin", bytes([number]) * 1000)
        won = folder.create_once(f"commits/{number}.json", f"first {number}".encode())
        lost = folder.create_once(f"commits/{number}.json", f"second {number}".encode())
        written = folder.write_table(f"tables/{number}.parquet", TABLE)
        assert folder.read_table(written.file).equals(TABLE)
        assert folder.read_bytes(f"commits/{number}.json") == f"first {number}".encode()
        folder.delete(f"data/{number}.bin")
        return won and not lost

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(24)))
    assert folder.names("data") == []
    assert folder.names("commits") == sorted(f"{number}.json" for number in range(24))
    assert set(proxy.faults) == {"slow_down", "internal", "drop", "lose_answer", "cut"}


def test_a_record_whose_success_was_not_answered_is_ours(failing: Failing) -> None:
    proxy = failing(first_creations("lose_answer"))
    assert Folder("s3://runs/lost").create_once("u.json", b"mine")
    assert proxy.faults == {"lose_answer": 1}
    assert not Folder("s3://runs/lost").create_once("u.json", b"of another attempt")
    assert Folder("s3://runs/lost").read_bytes("u.json") == b"mine"


def test_a_store_that_does_not_answer_in_time_is_asked_again(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "read_timeout", STALL_S / 3)
    proxy = failing(first_creations("stall"))
    assert Folder("s3://runs/slow").create_once("u.json", b"mine")
    assert proxy.faults == {"stall": 1}


def test_a_creation_that_meets_another_half_way_is_sent_again(failing: Failing) -> None:
    proxy = failing(first_creations("conflict", times=2))
    assert Folder("s3://runs/conflict").create_once("u.json", b"mine")
    assert proxy.faults == {"conflict": 2}


def test_patience_ends_and_says_so(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    proxy = failing(always("internal"))
    with pytest.raises(ConfigError, match=r"s3://runs/x/plan\.json: .*kept refusing.*the same command goes on"):
        Folder("s3://runs/x").write_atomic("plan.json", b"{}")
    assert proxy.faults["internal"] == 2


def test_a_store_that_lets_the_last_writer_win_is_refused_before_any_work(failing: Failing) -> None:
    failing(always("ignore_condition"))
    with pytest.raises(ConfigError, match="ignores If-None-Match"), only_driver(Folder("s3://runs/careless")):
        pass


def test_a_store_with_conditional_writes_is_probed_without_a_trace(s3: Store) -> None:
    with only_driver(Folder("s3://runs/held")):
        assert {key.rpartition("/")[0] for key in s3.objects("runs")} == {f"held/{LEASE_DIR}"}


# First writers


def test_of_two_attempts_at_a_unit_the_second_adopts_the_first(s3: Store) -> None:
    run = Folder("s3://runs/zombie")
    table = PassTable(run.child("scores"), run, "score").open({"model": "m"})
    first, zombie = Attempt(table, "u", "digest"), Attempt(table, "u", "digest")
    for attempt in (first, zombie):
        attempt.write(TABLE)
    committed = first.commit({"rows": 2})
    assert zombie.commit({"rows": 2}) == committed
    assert committed.data == tuple(first.data)
    assert [f"data/{name}" for name in table.folder.names("data")] == [first.data[0].file]


# Mistakes


def run_command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What a command wrote to stderr: one message, in at most two lines."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) <= 2, text
    return text


def test_a_bucket_that_is_not_there_is_named(s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("prepare", "--input", "s3://nowhere/x.jsonl", "--run", str(tmp_path)) == 2
    assert "s3://nowhere/x.jsonl: no such file or folder" in told(capsys)
    s3.client.put_object(Bucket="runs", Key="x.jsonl", Body=b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    assert run_command("prepare", "--input", "s3://runs/x.jsonl", "--run", "s3://nowhere/run") == 2
    text = told(capsys)
    assert "s3://nowhere/run/" in text
    assert "bucket does not exist. Check the bucket's name, AWS_ENDPOINT_URL and AWS_REGION." in text


def test_missing_credentials_are_told_from_a_missing_file(
    s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert run_command("prepare", "--input", "s3://runs/x.jsonl", "--run", str(tmp_path)) == DataError.exit_code
    assert "Unable to locate credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and" in told(capsys)
    assert run_command("status", "s3://runs/run") == 2
    assert "Unable to locate credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and" in told(capsys)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert run_command("status", "s3://runs/run") == 2
    assert "profile (nobody) could not be found. Set AWS_PROFILE" in told(capsys)


def test_denied_access_says_what_to_set(failing: Failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing(always("denied"))
    for words in (("status", "s3://runs/run"), ("export", "--run", "s3://runs/run", "--output", "s3://runs/out")):
        assert run_command(*words) == 2
        assert "Cannot reach or write s3://runs/run" in (text := told(capsys))
        assert "to an identity that may read, write, list and delete there" in text
    with pytest.raises(ModelError, match=r"Cannot copy the model s3://runs/m .*Set AWS_PROFILE"):
        local_model(ModelSource("s3://runs/m"))


def test_a_server_that_nobody_runs_is_named(
    s3: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for endpoint in ("http://127.0.0.1:9", "http://me:planted-password@127.0.0.1:9"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        assert run_command("status", "s3://runs/run") == 2
        assert "Check AWS_ENDPOINT_URL and the network" in (text := told(capsys))
        assert "planted-password" not in text


def test_a_file_is_one_request(failing: Failing) -> None:
    proxy = failing(lambda request: None)
    folder = Folder("s3://runs/one")
    folder.write_atomic("file", b"content")
    before = proxy.num_requests
    assert folder.read_bytes("file") == b"content"
    assert proxy.num_requests - before == 1


def test_rules_are_read_from_a_store(s3: Store) -> None:
    s3.client.put_object(Bucket="runs", Key="rules.yaml", Body=tiny.RULES.to_yaml().encode())
    assert read_rules("s3://runs/rules.yaml") == tiny.RULES
    with pytest.raises(ConfigError, match=r"s3://runs/none\.yaml: no such file"):
        read_rules("s3://runs/none.yaml")
    s3.client.put_object(Bucket="runs", Key="wrong.yaml", Body=b"- {name: \xff}")
    with pytest.raises(DataError, match=r"s3://runs/wrong\.yaml is not UTF-8"):
        read_rules("s3://runs/wrong.yaml")


def test_the_region_is_that_of_either_variable(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, region in (("AWS_REGION", "eu-north-1"), ("AWS_DEFAULT_REGION", "ap-south-1")):
        monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
        monkeypatch.setenv(name, region)
        fs: Any = file_system("s3://runs")[0]
        fs.connect()
        assert fs.s3.meta.region_name == region


# Models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_own_form(tmp_path_factory.mktemp("model"), "llama", pooling="last")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "encore-ray" / "models"


def upload(store: Store, folder: Path, prefix: str) -> None:
    for file in folder.iterdir():
        store.client.upload_file(str(file), "runs", f"{prefix}/{file.name}")


def test_a_model_is_copied_once_and_is_the_same_model(s3: Store, model: Path, cache: Path, failing: Failing) -> None:
    upload(s3, model, "m")
    s3.client.put_object(Bucket="runs", Key="m/pytorch_model.bin", Body=b"a pickle")
    s3.client.put_object(Bucket="runs", Key="m/optimizer.pt", Body=b"another")
    proxy = failing(random_faults(seed=3, share=0.1))
    with ThreadPoolExecutor(3) as pool:
        (copy,) = set(pool.map(local_model, [ModelSource("s3://runs/m")] * 3))
    place = copy.path
    assert identify_model(copy).digest == identify_model(ModelSource(model)).digest
    assert not list(Path(place).glob("*.bin")) and not list(Path(place).glob("*.pt"))
    assert [path for path in cache.iterdir() if path.is_dir()] == [Path(place)]
    before = proxy.num_requests
    assert local_model(ModelSource("s3://runs/m")) == copy
    assert proxy.num_requests - before - sum(proxy.faults.values()) <= 2  # a listing, no file
    s3.client.put_object(Bucket="runs", Key="m/config.json", Body=b"{}")
    assert local_model(ModelSource("s3://runs/m")) != copy


def test_a_copy_that_breaks_off_is_no_model(s3: Store, model: Path, cache: Path) -> None:
    upload(s3, model, "m")
    code = """
import os, signal, sys
from s3fs import S3FileSystem
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.model.place import local_model
whole = S3FileSystem.get_file
def get_file(self, path, target, **options):
    whole(self, path, target, **options)
    os.kill(os.getpid(), signal.SIGKILL)
S3FileSystem.get_file = get_file
local_model(ModelSource("s3://runs/m"))
"""
    killed = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False)
    assert killed.returncode == -9
    assert [path.suffix for path in cache.iterdir() if path.is_dir()] == [".part"]
    assert identify_model(local_model(ModelSource("s3://runs/m"))).digest == identify_model(ModelSource(model)).digest
    assert not list(cache.glob("*.part"))


def test_a_model_cannot_be_written_elsewhere(s3: Store, tmp_path: Path, cache: Path) -> None:
    s3.client.put_object(Bucket="runs", Key="m/config.json", Body=b"{}")
    s3.client.put_object(Bucket="runs", Key="m/../../../evil.json", Body=b"{}")
    with pytest.raises(ModelError, match=r"holds \.\./\.\./\.\./evil\.json, which would be written outside"):
        local_model(ModelSource("s3://runs/m"))
    assert not cache.exists()


def test_a_place_without_a_model_is_named(s3: Store, cache: Path) -> None:
    s3.client.put_object(Bucket="runs", Key="m/README.md", Body=b"soon")
    for path in ("s3://runs/m", "s3://runs/none"):
        with pytest.raises(ModelError, match=f"{path} holds no file of a model"):
            local_model(ModelSource(path))


def test_folders_and_hub_ids_are_used_as_they_are(tmp_path: Path) -> None:
    for path in (str(tmp_path), "owner/name"):
        assert local_model(ModelSource(path)) == ModelSource(path)
