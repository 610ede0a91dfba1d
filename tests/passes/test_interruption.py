"""A job that is killed or asked to stop resumes with the same command, to the same tables."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from encore_ray.config import JobConfig
from encore_ray.config_sources import load_config
from encore_ray.job import run_job
from encore_ray.passes.pools import Resources
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


def commits(run: Path) -> int:
    place = run / "scores" / "commits"
    return len(list(place.glob("*.json"))) if place.is_dir() else 0


def test_a_stopped_and_a_killed_job_resume_to_the_same_tables(folder: Path, undisturbed: dict[str, str]) -> None:
    job, run, num_units = write_job(folder, "disturbed"), folder / "disturbed", NUM_PAIRS // UNIT_PAIRS

    process = start(job)
    wait_for(lambda: commits(run) >= 2, process)
    process.send_signal(signal.SIGTERM)
    output = " ".join(process.communicate(timeout=60)[0].split())
    assert process.returncode == 143, output
    assert f"of {num_units} units committed" in output
    assert "The same command resumes it" in output
    assert "Traceback" not in output
    stopped = jobs.commit_times(run, "scores")
    assert 2 <= len(stopped) < num_units

    process = start(job)
    wait_for(lambda: commits(run) >= len(stopped) + 2, process)
    process.kill()
    process.communicate(timeout=60)
    assert not (run / "scores" / "_SUCCESS").exists()
    settle(run)
    killed = jobs.commit_times(run, "scores")
    assert len(killed) < num_units

    run_job(load_config(job))
    finished = jobs.commit_times(run, "scores")
    assert finished.items() >= killed.items() >= stopped.items()  # finished units are not redone
    assert jobs.contents(run) == undisturbed


def settle(run: Path) -> None:
    """Wait until the workers of a killed driver have ended: no new commit for a second."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        now = commits(run)
        if now != count:
            count, since = now, time.monotonic()
        time.sleep(0.05)
