"""One driver at a time works on a local run folder; it is told by name, and a killed one does not block the next."""

import contextlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from encore_ray.cli import main
from encore_ray.errors import ConfigError
from encore_ray.folder.driver.local import LOCK_FILE
from encore_ray.folder.driver.lock import driver_of, only_driver
from encore_ray.folder.driver.process import Driver, moment
from encore_ray.storage import Folder
from tests.folder.driver.holding import holding
from tests.patience import PATIENCE_S

HOLDER = """
import sys
from encore_ray.folder.driver.lock import only_driver
from encore_ray.storage import Folder

with only_driver(Folder(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(run: Path) -> "contextlib.AbstractContextManager[subprocess.Popen[str]]":
    """A process that holds a folder until its standard input ends."""
    return holding(HOLDER, str(run))


def take(run: Path, *, timeout_s: float = 0.0) -> None:
    with only_driver(Folder(str(run)), timeout_s=timeout_s):
        pass


def test_a_second_driver_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with holder(run) as first:
        said = f"Another process works on {run}: process {first.pid} on {os.uname().nodename}, since .* UTC"
        with pytest.raises(ConfigError, match=said):
            take(run)
        first.kill()
        first.wait()
        take(run)
    assert (run / LOCK_FILE).read_text() == ""


def test_one_that_is_to_wait_goes_on_once_the_first_has_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with holder(tmp_path) as first, ThreadPoolExecutor(1) as pool:
        second = pool.submit(take, tmp_path, timeout_s=60)
        while not any("Waiting up to 60 s for process" in message for message in caplog.messages):
            time.sleep(0.05)
        assert first.stdin is not None
        first.stdin.close()
        second.result(timeout=PATIENCE_S)


def test_status_tells_who_is_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("{}")

    def status() -> str:
        with pytest.raises(SystemExit) as ended:
            main(["status", str(tmp_path)])
        assert not ended.value.code
        return " ".join(capsys.readouterr().out.split())

    assert "No command works on it now." in status()
    with holder(tmp_path) as first:
        assert f"At work: process {first.pid} on {os.uname().nodename}, since 2" in status()
        first.kill()
        first.wait()
        assert "No command works on it now." in status()


def test_a_look_from_outside_keeps_no_driver_out(tmp_path: Path) -> None:
    """It takes the lock for a moment, to see whether it is held."""
    take(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        looks = [pool.submit(driver_of, Folder(str(tmp_path))) for _ in range(200)]
        for _ in range(20):
            take(tmp_path)
        assert all(look.exception() is None for look in looks)


def test_a_lock_that_does_not_tell_its_holder_is_held_all_the_same(tmp_path: Path) -> None:
    with holder(tmp_path):
        (tmp_path / LOCK_FILE).write_text("{")
        assert driver_of(Folder(str(tmp_path))) == "a process that cannot be told"
        with pytest.raises(ConfigError, match="a process that cannot be told"):
            take(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = f"{tmp_path}/file/run"
    with pytest.raises(ConfigError, match=f"Cannot write to the run folder {blocked}"), only_driver(Folder(blocked)):
        pass


def test_a_process_is_gone_only_where_that_can_be_told() -> None:
    mine = Driver.this_process()
    assert Driver.of_json(mine.to_json()) == mine and not mine.is_gone
    ended = subprocess.Popen(["true"])
    ended.wait()
    for other, is_gone in (
        ({"started": mine.started - 1}, True),  # a later process of the same number
        ({"pid": ended.pid}, True),
        ({"pid": ended.pid, "machine": "another boot"}, False),
        ({"pid": ended.pid, "machine": ""}, False),
    ):
        assert Driver.of_json({**mine.to_json(), **other}).is_gone == is_gone, other


def test_a_time_that_is_none_is_said_to_be_unknown() -> None:
    assert moment(0.0) == "1970-01-01 00:00:00 UTC"
    for seconds in (1e300, float("inf"), float("nan")):
        assert moment(seconds) == "an unknown time"
