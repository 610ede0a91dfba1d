"""Disks that are full or read-only, and inputs that vanish or shrink: an error of one line, and then the same again."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import encore_ray.check.early
import encore_ray.passes.corpus_scan
from tests.faults.runs import Reference, Setup, judge
from tests.fuzz.commands import run_command

pytestmark = pytest.mark.usefixtures("ray_engine")


@pytest.fixture
def disk(setup: Setup, tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KB, too small for a run."""
    if os.geteuid() or not shutil.which("mount") or mount("-t", "tmpfs", "-o", "size=100k", "none", str(tmp_path)):
        pytest.skip("needs the right to mount (root)")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def mount(*args: str) -> int:
    return subprocess.run(["mount", *args], capture_output=True).returncode


def run(setup: Setup, folder: Path) -> tuple[int, str]:
    code, said = run_command(["run", str(setup.job("run")), "--run", str(folder)])
    assert "Traceback" not in said
    return code, " ".join(said.split())


def test_a_full_disk_ends_the_job_and_more_room_goes_on(setup: Setup, reference: Reference, disk: Path) -> None:
    code, said = run(setup, disk / "run")
    assert code == 2 and "No space left on device" in said and str(disk) in said
    assert mount("-o", "remount,size=50m", str(disk)) == 0
    assert run(setup, disk / "run")[0] == 0
    verdict = judge(disk / "run", reference)
    assert verdict.survived, verdict


def test_a_read_only_disk_is_named(setup: Setup, reference: Reference, disk: Path) -> None:
    assert mount("-o", "remount,ro,size=50m", str(disk)) == 0
    code, said = run(setup, disk / "run")
    assert code == 2 and "Read-only file system" in said and str(disk) in said
    assert mount("-o", "remount,rw", str(disk)) == 0
    assert run(setup, disk / "run")[0] == 0
    assert judge(disk / "run", reference).survived


@pytest.mark.parametrize(
    ("module", "function", "how", "code", "said"),
    [
        (encore_ray.check.early, "list_files", "vanish", 4, "does not see"),
        (encore_ray.passes.corpus_scan, "plan", "vanish", 4, "does not see"),
        (encore_ray.passes.corpus_scan, "plan", "truncate", 3, "has changed since it was listed and scanned"),
    ],
)
def test_an_input_that_changes_while_it_is_read_ends_the_job(
    setup: Setup,
    reference: Reference,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    function: str,
    how: str,
    code: int,
    said: str,
) -> None:
    original: Callable[..., object] = getattr(module, function)
    victim = setup.inputs[0]

    def spoil(*args: object, **options: object) -> object:
        result = original(*args, **options)
        os.rename(victim, f"{victim}.away")
        if how == "truncate":
            victim.write_bytes(Path(f"{victim}.away").read_bytes()[:500])
        return result

    with monkeypatch.context() as patched, restored(victim):
        patched.setattr(module, function, spoil)
        ended, text = run(setup, tmp_path / "run")
    assert ended == code and said in text and str(victim) in text
    assert run(setup, tmp_path / "run")[0] == 0
    assert judge(tmp_path / "run", reference).survived


@contextlib.contextmanager
def restored(path: Path) -> Iterator[None]:
    yield
    os.rename(f"{path}.away", path)
