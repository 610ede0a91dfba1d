"""The first writer wins on file systems without hard links too, and without locks a folder is still worked on."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encore_ray.errors import ConfigError
from encore_ray.files import durable
from encore_ray.folder.driver.lock import only_driver
from encore_ray.storage import Folder

NO_LINKS = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS]
NO_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]


def _refusing(code: int) -> Callable[..., Any]:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", NO_LINKS, ids=errno.errorcode.get)
def test_without_hard_links_the_first_writer_wins_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "link", _refusing(code))
    folder = Folder(str(tmp_path / "new"))
    assert folder.create_once("a", b"first")
    assert not folder.create_once("a", b"second")
    assert folder.create_once("a", b"first")  # who asks again
    assert folder.read_bytes("a") == b"first"
    assert os.listdir(tmp_path / "new") == ["a"]
    folder.delete("a")  # as marks of units in work are
    assert folder.create_once("a", b"third")


RACE = """
import errno, os, sys
def refuse(*args, **more):
    raise OSError(errno.EPERM, "Operation not permitted")
os.link = refuse
from encore_ray.storage import Folder
folder, name = Folder(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
print(sum(folder.create_once(f"{n:03d}", f"{name} {n}".encode() * 500) for n in range(40)))
"""


def test_of_many_processes_without_hard_links_exactly_one_wins_each_file(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in range(4)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [int(writer.communicate()[0]) for writer in writers]
    assert sum(won) == 40
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(found) == [f"{n:03d}" for n in range(40)]
    for name, content in found.items():
        winner = content[:1].decode()
        assert content == f"{winner} {int(name)}".encode() * 500


def _killed_after_its_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder in which a writer of a had decided and was killed before the file had its name."""
    monkeypatch.setattr(os, "link", _refusing(errno.EPERM))
    folder = Folder(str(tmp_path))
    with monkeypatch.context() as killed:
        killed.setattr(durable, "_finish", _refusing(errno.EINTR))
        with pytest.raises(ConfigError):
            folder.create_once("a", b"first")
    assert folder.names() == []
    return folder


def test_who_meets_the_decision_of_a_killed_writer_finishes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "PATIENCE_S", 0.05)
    folder = _killed_after_its_decision(tmp_path, monkeypatch)
    assert not folder.create_once("a", b"second")
    assert folder.read_bytes("a") == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_what_was_decided_is_in_its_place_after_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _killed_after_its_decision(tmp_path, monkeypatch)
    (tmp_path / f"{durable.TEMP_PREFIX}half.d").mkdir()
    folder.sweep_temporaries()
    assert folder.read_bytes("a") == b"first"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("code", NO_LOCKS, ids=errno.errorcode.get)
def test_a_run_folder_without_locks_is_worked_on_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", _refusing(code))
    with caplog.at_level(logging.WARNING, "encore_ray"), only_driver(Folder(str(tmp_path / "run"))):
        pass
    assert f"Nothing locks the run folder {tmp_path}/run" in caplog.text
    assert "-o flock" in caplog.text


def test_any_other_trouble_with_the_lock_is_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _refusing(errno.EIO))
    with pytest.raises(ConfigError, match="Cannot lock the run folder"), only_driver(Folder(str(tmp_path / "run"))):
        pass


def test_a_file_system_on_which_the_last_writer_wins_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "create_file", lambda final, data: durable.replace_file(final, [data]))
    with pytest.raises(ConfigError, match="its file system lets a later writer"), only_driver(Folder(str(tmp_path))):
        pass


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
def test_a_folder_that_cannot_be_synced_takes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    sync = os.fsync

    def of_files(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "fsync", of_files)
    Folder(str(tmp_path)).write_atomic("a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
