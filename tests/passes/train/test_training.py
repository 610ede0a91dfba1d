"""Training over a run: what is saved scores, and the end of a worker or of the driver leaves no trace in it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from encore_ray.cli import main
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.errors import ConfigError, DataError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.passes.scorers.model.place import make_output
from encore_ray.passes.train.log import LogReader
from encore_ray.passes.train.plan import require_place
from encore_ray.passes.train.training import move_model
from encore_ray.rules import RuleSet
from encore_ray.schema import chosen_column, rejected_column
from tests.models import tiny
from tests.passes import jobs
from tests.patience import PATIENCE_S

NUM_PAIRS = 96
# Sixteen steps of six pairs, with a state on disk after every second.
SMALL = ("--batch-rows", "6", "--evaluate-every", "2", "--patience", "99", "--learning-rate", "0.003", "--epochs", "2")


def encore_ray(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(args))
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def prepared(ray_engine: RayEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of planted pairs that carry their ratings under two rules, and a base model."""
    folder = tmp_path_factory.mktemp("train")
    planted = planted_text(NUM_PAIRS, seed=4)
    rules = RuleSet(planted.world.rules.rules[:2])
    lines = []
    for row, chosen_K, rejected_K in zip(planted.rows, planted.world.chosen_NK, planted.world.rejected_NK, strict=True):
        labels = {chosen_column(name): float(chosen_K[k]) for k, name in enumerate(rules.names)}
        labels |= {rejected_column(name): float(rejected_K[k]) for k, name in enumerate(rules.names)}
        lines.append(json.dumps({**row, **labels}) + "\n")
    (folder / "corpus.jsonl").write_text("".join(lines))
    (folder / "rules.yaml").write_text(rules.to_yaml())
    tiny.save_own_form(folder / "base", "llama", pooling="last")
    run = ("--run", str(folder / "run"))
    assert encore_ray("prepare", *run, "--input", str(folder / "corpus.jsonl"), "--unit-pairs", "24") == 0
    return folder


def words(folder: Path, *more: str, output: str, objective: str = "regression") -> list[str]:
    rated = ("--rules", str(folder / "rules.yaml")) if objective == "regression" else ()
    return [
        *(
            "train",
            "--engine",
            "ray",
            "--run",
            str(folder / "run"),
            "--model",
            str(folder / "base"),
            "--objective",
            objective,
            *rated,
        ),
        *("--output", str(folder / output), *SMALL, *more),
    ]


def weights(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "heads.safetensors", "rules.yaml")}


@pytest.fixture(scope="module")
def trained(prepared: Path) -> Path:
    """The same folder with trained/, by regression on the ratings, and a file of the user's in it."""
    assert encore_ray(*words(prepared, output="trained")) == 0
    (prepared / "trained" / "notes.json").write_text("mine")
    return prepared


def test_a_trained_model_scores_in_the_units_of_its_ratings(trained: Path) -> None:
    content = json.loads((trained / "trained" / "train.json").read_text())
    rows = content["rows"]
    assert rows["rows"] == rows["trained"] + rows["heldout"] == NUM_PAIRS
    assert content["steps"] == content["num_steps"] == 2 * -(-rows["trained"] // 6)
    assert content["evaluations"][-1]["step"] == content["steps"]
    best = content["best"]
    assert (
        best["loss"] == min(figures["loss"] for figures in content["evaluations"]) < content["evaluations"][0]["loss"]
    )
    there = {str(path.relative_to(trained / "trained")) for path in (trained / "trained").rglob("*")}
    assert there == {*content["files"], "train.json", "notes.json"}

    pairs = jobs.table(trained / "run" / "pairs")
    model = load_model(trained / "trained", device="cpu")
    assert [(rule.scale.lo, rule.scale.hi, rule.out_of_range) for rule in model.rules] == [(0.0, 10.0, "clip")] * 2
    texts = [pairs.column(name).to_pylist() for name in ("prompt", "chosen", "rejected")]
    scores_N2K = PairScorer(model).score(
        model.conversations.tokenize_pairs(texts[0], chosen=texts[1], rejected=texts[2])
    )
    ratings = [pairs.column(chosen_column(name)).to_numpy() for name in model.rules.names]
    error_K = np.abs(scores_N2K[:, 0] - np.stack(ratings, axis=1)).mean(axis=0)
    assert (error_K < 3).all()  # a head in units of [0, 1] would be off by 5


def test_the_same_command_finds_the_model_and_other_options_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(trained / "trained")
    left = trained / "trained" / "training" / "step-00000016"  # by a driver that was killed at its end
    left.mkdir(parents=True)
    assert encore_ray(*words(trained, output="trained")) == 0
    assert not left.parent.exists()
    said = " ".join(capsys.readouterr().out.split())
    assert "fresh heads: those of the base model are of other rules" in said and "holds the model already" in said
    assert encore_ray(*words(trained, "--seed", "7", output="trained")) == ConfigError.exit_code
    said = " ".join(capsys.readouterr().err.split())
    assert "holds results with fingerprint" in said and "seed was 0, is 7" in said and "--overwrite" in said
    assert weights(trained / "trained") == before


def test_a_worker_and_then_the_driver_that_are_killed_leave_no_trace_in_the_weights(trained: Path) -> None:
    command = words(trained, output="killed")
    # A Ray of its own, which dies with it.
    environment = {**os.environ, "RAY_ADDRESS": ""}
    with subprocess.Popen([sys.executable, "-m", "encore_ray.cli", *command], env=environment) as driver:
        try:
            when_logged(trained / "killed", 5)
            kill_worker(of=driver.pid)
            when_logged(trained / "killed", num_logged(trained / "killed") + 3)  # by the one in its place
        finally:
            driver.kill()
    assert driver.returncode == -signal.SIGKILL
    assert list((trained / "killed" / "training").glob("step-*"))
    assert encore_ray(*words(trained, "--batch-rows", "4", output="killed")) == ConfigError.exit_code
    assert encore_ray(*command) == 0
    assert weights(trained / "killed") == weights(trained / "trained")


def test_preferences_make_a_reward_model_on_two_workers(trained: Path) -> None:
    more = ("--workers", "2", "--cpus-per-worker", "0.9", "--pooling", "mean")
    assert encore_ray(*words(trained, *more, output="reward", objective="bradley-terry")) == 0
    content = json.loads((trained / "reward" / "train.json").read_text())
    assert content["steps"] == content["num_steps"]
    assert content["made_from"]["workers"] == 2
    assert content["best"]["loss"] < 0.75  # heads that know nothing have ln 2
    (rule,) = load_model(trained / "reward", device="cpu").rules
    assert (rule.name, rule.link, rule.out_of_range) == ("reward", "identity", "clip")


def test_what_a_worker_cannot_go_on_from_ends_the_command_at_once(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = encore_ray(*words(trained, "--learning-rate", "1e30", "--warmup", "0", output="wild"))
    assert code == DataError.exit_code
    assert "lower learning_rate" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_was_moved_in_part_is_moved_to_its_end(tmp_path: Path) -> None:
    saved, target = tmp_path / "saved", tmp_path / "target"
    names = ["code/own.py", "config.json", "encore.json", "model.safetensors"]
    for name in names:
        (saved / name).parent.mkdir(parents=True, exist_ok=True)
        (saved / name).write_text(name)
    target.mkdir()
    (target / "config.json").mkdir()  # which ends the first attempt
    with pytest.raises(IsADirectoryError):
        move_model(saved, target, names)
    assert (target / "code" / "own.py").exists() and not (target / "encore.json").exists()
    (target / "config.json").rmdir()
    move_model(saved, target, names)
    assert {name: (target / name).read_text() for name in names} == {name: name for name in names}


def test_a_place_that_no_model_can_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output = str(tmp_path / "file" / "model")
    require_place(output, base="base")
    with pytest.raises(ConfigError, match=r"--output .*/file/model: cannot make this folder: Not a directory"):
        make_output(output)


def test_a_log_is_read_once_without_torn_lines_and_steps_that_were_told(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('\n{"kind": "step", "step": 3}\n')
    reader = LogReader(file, 3)
    with file.open("a") as lines:
        lines.write('\n{"kind": "step", "st\n{"kind": "step", "step": 3}\n\n{"kind": "step", "step": 4}\n\n{"kind"')
    assert [line["step"] for line in reader.read()] == [4]
    with file.open("a") as lines:
        lines.write(': "evaluation", "step": 4}\n')
    assert [line["kind"] for line in reader.read()] == ["evaluation"]
    assert list(reader.read()) == []


def num_logged(output: Path) -> int:
    """Lines that a training has logged."""
    log = output / "training" / "log.jsonl"
    return log.read_text().count("{") if log.exists() else 0


def when_logged(output: Path, num_lines: int) -> None:
    """Wait until a training has logged so much."""
    deadline = time.monotonic() + PATIENCE_S
    while num_logged(output) < num_lines:
        assert time.monotonic() < deadline, f"{output} has no {num_lines} lines"
        time.sleep(0.005)


def kill_worker(*, of: int) -> None:
    """Kill the one worker of the training that a process drives, in the middle of its work."""
    (worker,) = [
        process
        for process in psutil.Process(of).children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline())
    ]
    worker.kill()
    worker.wait()
