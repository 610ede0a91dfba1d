"""A pair that ends or hangs the process of a local pass: the same command hands it to Ray, which leaves it out."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from encore_ray.errors import HungUp
from tests.passes import jobs
from tests.passes.lethal import KILL, SLEEP
from tests.patience import PATIENCE_S

NUM_PAIRS = 40
LETHAL = "planted-0-000019"

# In a process of its own, which dies with the pair; workers of Ray take the same work from this module's pickle.
COMMAND = """
import sys
from functools import partial
from encore_ray.cli import main
from encore_ray.passes.scorers import by_ratings
from tests.passes.lethal import LethalScores

by_ratings.unit_by_ratings = lambda rules: LethalScores(rules, {lethal})
main(sys.argv[1:])
"""
SLOW_COMMAND = """
import sys, time
from encore_ray.cli import main
from encore_ray.passes.scorers import by_ratings

ratings = by_ratings.unit_by_ratings

def slow(rules):
    work = ratings(rules)
    return lambda unit, attempt: (time.sleep(1), work(unit, attempt))[1]

by_ratings.unit_by_ratings = slow
main(sys.argv[1:])
"""
RULES = "- {name: kind, text: Is kind., higher_is: better, scale: {levels: [1, 2, 3, 4, 5]}}\n"


def command(how: str, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ENCORE_RAY_CLUSTER_ENGINE": "auto"}
    code = COMMAND.format(lethal={LETHAL: how})
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=PATIENCE_S, env=environment
    )


def rated_job(folder: Path, *, unit_timeout_s: int) -> Path:
    """The configuration of a job over pairs that bring their ratings."""
    corpus = jobs.write_corpus(folder / "corpus.jsonl", num_pairs=NUM_PAIRS)
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    rated = [{**row, "chosen__kind": n % 5 + 1, "rejected__kind": 3} for n, row in enumerate(rows)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rated))
    (folder / "rules.yaml").write_text(RULES)
    job = jobs.config(
        folder,
        model=None,
        rules=str(folder / "rules.yaml"),
        prepare={"unit_pairs": 10, "max_bad_fraction": 0.05},
        cluster={"engine": "auto", "unit_timeout_s": unit_timeout_s, "no_progress_timeout_s": 240},
    )
    (folder / "job.yaml").write_text(job.to_yaml())
    return folder / "job.yaml"


@pytest.mark.ray
@pytest.mark.parametrize(
    ("how", "code", "reason"), [(KILL, -signal.SIGKILL, "kills_worker"), (SLEEP, 4, "hangs")], ids=["killed", "hung"]
)
def test_a_pair_that_ends_this_process_is_left_out_by_the_same_command_on_ray(
    how: str, code: int, reason: str, tmp_path: Path
) -> None:
    job = rated_job(tmp_path, unit_timeout_s=8)
    rows = [json.loads(line) for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    run = tmp_path / "run"

    died = command(how, "run", str(job))
    assert died.returncode == code, died.stderr
    if how == SLEEP:
        said, _, stacks = died.stderr.partition("Thread 0x")
        assert "(cluster.unit_timeout_s). In work is unit " in said and f"{run / 'pairs'}" in said
        assert "The same command hands what was in work to Ray" in said
        assert "in die" in stacks
    assert len(list((run / "scores" / "attempts").iterdir())) >= 1  # the unit that was in work
    assert not (run / "scores" / "_SUCCESS").exists()
    kept = jobs.commit_times(run, "scores")

    ended = command(how, "run", str(job))
    assert ended.returncode == 0, ended.stderr
    assert jobs.commit_times(run, "scores").items() >= kept.items()
    scored = set(jobs.table(run / "scores").column("pair_id").to_pylist())
    assert {row["id"] for row in rows} - scored == {LETHAL}
    (row,) = quarantined(run / "quarantine" / "score")
    assert (row["pair_id"], row["reason"]) == (LETHAL, reason)
    assert not (run / "scores" / "attempts").exists()


def test_a_terminal_that_is_closed_ends_the_command_as_an_interrupt_does(tmp_path: Path) -> None:
    job = rated_job(tmp_path, unit_timeout_s=200)
    run = tmp_path / "run"
    number, terminal = pty.fork()
    if number == 0:
        os.environ["ENCORE_RAY_CLUSTER_ENGINE"] = "auto"
        os.execv(sys.executable, [sys.executable, "-c", SLOW_COMMAND, "run", str(job)])
    end = time.monotonic() + PATIENCE_S
    while not list((run / "scores").glob("commits/*")):
        assert time.monotonic() < end, os.read(terminal, 10_000)
        time.sleep(0.02)
    os.close(terminal)
    _, status = os.waitpid(number, 0)
    assert os.waitstatus_to_exitcode(status) == HungUp.exit_code
    assert not (run / "scores" / "_SUCCESS").exists()


def quarantined(folder: Path) -> list[dict[str, str]]:
    return [row for file in folder.iterdir() for row in pq.read_table(file).to_pylist()]
