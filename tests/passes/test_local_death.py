"""A pair that ends or hangs the process of a local pass: the same command hands it to Ray, which leaves it out."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.passes import jobs
from tests.passes.lethal import KILL, SLEEP

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
RULES = "- {name: kind, text: Is kind., higher_is: better, scale: {levels: [1, 2, 3, 4, 5]}}\n"


def command(how: str, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ENCORE_RAY_CLUSTER_ENGINE": "auto", "ENCORE_RAY_TRACKING_ENABLED": "false"}
    code = COMMAND.format(lethal={LETHAL: how})
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=240, env=environment
    )


@pytest.mark.ray
@pytest.mark.parametrize(
    ("how", "code", "reason"), [(KILL, -signal.SIGKILL, "kills_worker"), (SLEEP, 4, "hangs")], ids=["killed", "hung"]
)
def test_a_pair_that_ends_this_process_is_left_out_by_the_same_command_on_ray(
    how: str, code: int, reason: str, tmp_path: Path
) -> None:
    corpus = jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=NUM_PAIRS)
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    rated = [{**row, "chosen__kind": n % 5 + 1, "rejected__kind": 3} for n, row in enumerate(rows)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rated))
    (tmp_path / "rules.yaml").write_text(RULES)
    job = jobs.config(
        tmp_path,
        model=None,
        rules=str(tmp_path / "rules.yaml"),
        prepare={"unit_pairs": 10, "max_bad_fraction": 0.05},
        cluster={"engine": "auto", "unit_timeout_s": 8, "no_progress_timeout_s": 240},
    )
    (tmp_path / "job.yaml").write_text(job.to_yaml())
    run = tmp_path / "run"

    died = command(how, "run", str(tmp_path / "job.yaml"))
    assert died.returncode == code, died.stderr
    if how == SLEEP:
        said, _, stacks = died.stderr.partition("Thread 0x")
        assert "(cluster.unit_timeout_s). In work is unit " in said and f"{run / 'pairs'}" in said
        assert "The same command hands what was in work to Ray" in said
        assert "in die" in stacks
    assert len(list((run / "scores" / "attempts").iterdir())) >= 1  # the unit that was in work
    assert not (run / "scores" / "_SUCCESS").exists()
    kept = jobs.commit_times(run, "scores")

    ended = command(how, "run", str(tmp_path / "job.yaml"))
    assert ended.returncode == 0, ended.stderr
    assert jobs.commit_times(run, "scores").items() >= kept.items()
    scored = set(jobs.table(run / "scores").column("pair_id").to_pylist())
    assert {row["id"] for row in rows} - scored == {LETHAL}
    (row,) = quarantined(run / "quarantine" / "score")
    assert (row["pair_id"], row["reason"]) == (LETHAL, reason)
    assert not (run / "scores" / "attempts").exists()


def quarantined(folder: Path) -> list[dict[str, str]]:
    return [row for file in folder.iterdir() for row in pq.read_table(file).to_pylist()]
