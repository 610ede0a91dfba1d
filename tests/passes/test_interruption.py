"""A job that is killed or asked to stop resumes with the same command, to the same tables."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from encore_ray.config import JobConfig, load_config
from encore_ray.job import run_job
from encore_ray.passes.cluster import Resources
from tests.passes import jobs

NUM_PAIRS = 192
UNIT_PAIRS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("interruption")
    jobs.write_corpus(place / "corpus.jsonl", num_pairs=NUM_PAIRS)
    jobs.save_model(place / "model")
    return place


@pytest.fixture(scope="module")
def undisturbed(folder: Path, have: Resources) -> dict[str, str]:
    """Contents of a run that nothing interrupted."""
    run_job(load_config(write_job(folder, "undisturbed")))
    return jobs.contents(folder / "undisturbed")


def write_job(folder: Path, run: str) -> Path:
    config: JobConfig = jobs.config(folder, run=str(folder / run), prepare={"unit_pairs": UNIT_PAIRS})
    path = folder / f"{run}.yaml"
    path.write_text(config.to_yaml())
    return path


def start(job: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "encore_ray.cli", "run", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], *, timeout_s: float = 150) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.005)


def commits(folder: Path, run: str) -> int:
    place = folder / run / "scores" / "commits"
    return len(list(place.glob("*.json"))) if place.is_dir() else 0


def test_kill_9_of_the_driver_while_scoring_changes_nothing(folder: Path, undisturbed: dict[str, str]) -> None:
    job = write_job(folder, "killed")
    process = start(job)
    wait_for(lambda: commits(folder, "killed") >= 2, process)
    process.kill()
    process.wait(timeout=60)
    assert not (folder / "killed" / "scores" / "_SUCCESS").exists()
    settle(folder / "killed" / "scores" / "commits")
    done = jobs.commit_times(folder / "killed", "scores")
    assert 2 <= len(done) < NUM_PAIRS // UNIT_PAIRS
    assert start(job).wait(timeout=200) == 0
    after = jobs.commit_times(folder / "killed", "scores")
    assert after.items() >= done.items()  # finished units are not redone
    assert jobs.contents(folder / "killed") == undisturbed


def test_signals_stop_the_job_and_say_how_to_go_on(folder: Path, undisturbed: dict[str, str]) -> None:
    job = write_job(folder, "stopped")
    for sent, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        before = commits(folder, "stopped")
        process = start(job)
        wait_for(lambda before=before: commits(folder, "stopped") >= before + 2, process)
        process.send_signal(sent)
        output = " ".join(process.communicate(timeout=60)[0].split())
        assert process.returncode == code, output
        assert f"of {NUM_PAIRS // UNIT_PAIRS} units committed" in output
        assert "The same command resumes it" in output
        assert "Traceback" not in output
    assert start(job).wait(timeout=200) == 0
    assert jobs.contents(folder / "stopped") == undisturbed


def settle(place: Path) -> None:
    """Wait until the workers of a killed driver have ended: no new commit for a second."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        now = len(list(place.glob("*.json")))
        if now != count:
            count, since = now, time.monotonic()
        time.sleep(0.05)
