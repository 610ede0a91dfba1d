"""A file's digest is that of its content, read once, however a change tries to look like none."""

import hashlib
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from encore_ray.errors import ModelError
from encore_ray.models.files import digests
from encore_ray.models.files.digests import Stamp, file_digest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_SETTLED_S", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose content was read."""
    found: list[Path] = []
    read = digests._read

    def counting(file: Path) -> tuple[str, Stamp]:
        found.append(file)
        return read(file)

    monkeypatch.setattr(digests, "_read", counting)
    return found


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_content_is_read_once_by_whatever_name(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    (tmp_path / "link").symlink_to(file)
    assert [file_digest(name)[0] for name in (file, file, tmp_path / "link")] == [sha(b"one")] * 3
    assert reads == [file]


def replaced(file: Path, content: bytes) -> None:
    new = file.with_name("new")
    new.write_bytes(content)
    new.rename(file)


@pytest.mark.parametrize("change", [Path.write_bytes, replaced], ids=["in place", "by renaming"])
def test_a_change_of_the_same_size_and_time_is_seen(tmp_path: Path, change) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    before = file.stat()
    _, stamp = file_digest(file)
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds: hence the limit of seconds
    change(file, b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    digest, now = file_digest(file)
    assert digest == sha(b"two")
    assert (now.size, now.modified_ns) == (stamp.size, stamp.modified_ns) and now != stamp


def test_what_has_just_changed_is_read_each_time(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_SETTLED_S", 60.0)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert file_digest(file) == file_digest(file)
    assert reads == [file, file]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"stamp": [1], "sha256": "x"}', b"[]", b"\xff"])
def test_a_damaged_entry_is_none(tmp_path: Path, cache: Path, damage: bytes) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    file_digest(file)
    (entry,) = [path for path in (cache / "encore-ray" / "digests").iterdir() if not path.suffix]
    entry.write_bytes(damage)
    assert file_digest(file)[0] == sha(b"one")


def test_processes_that_start_together_read_once(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one" * 100_000)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(file_digest(file)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sha(b"one" * 100_000)] * 8
    assert reads == [file]


def test_without_a_cache_it_reads_each_time(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no").write_text("a file, where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no"))
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert file_digest(file)[0] == file_digest(file)[0] == sha(b"one")
    assert len(reads) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="weights, a file of the model: No such file"):
        file_digest(tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    with pytest.raises(ModelError, match=f"{tmp_path}/weights, a file of the model: Is a directory"):
        file_digest(tmp_path / "weights")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    real = hashlib.file_digest

    def slow(handle, name):
        found = real(handle, name)
        file.write_bytes(file.read_bytes() + b".")
        return found

    monkeypatch.setattr(hashlib, "file_digest", slow)
    with pytest.raises(ModelError, match="changes while it is read"):
        file_digest(file)
    assert stat.S_ISREG(file.stat().st_mode)
