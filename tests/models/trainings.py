"""Small trainings without Ray: rows in memory, and a process group of CPU workers."""

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from safetensors.torch import save_file

from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.spec.conversation import Message
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.spec.training import LoopSettings, Objective, RowBatch, is_pairwise
from encore_ray.models.training.loop import StepReport, make_optimizer, train
from encore_ray.models.training.micro_batches import MicroBatches
from encore_ray.models.training.progress import TrainProgress
from encore_ray.models.training.recipe import TrainRecipe, share_out, whole_weights
from encore_ray.models.training.state import TrainState
from encore_ray.models.training.workers import Workers
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny
from tests.patience import PATIENCE_S

RULES = RuleSet([Rule("kind", "Kind.", "better", Scale(0, 4)), Rule("long", "Long.", "worse", Scale(-1, 1))])
REWARD = RuleSet([Rule("reward", "Reward.", "better", Scale(-1, 1))])
ALONE = Workers()
WORDS = ("gas", "bottle", "please", "never", "open", "ask", "fox", "lazy", "quick", "centre")

ASKED = ("how", "do", "I", "get", "rid", "of", "an", "old", "one")


def settings(**changes: Any) -> LoopSettings:
    usual = LoopSettings(
        objective="regression",
        learning_rate=3e-3,
        warmup_steps=2,
        weight_decay=0.01,
        max_grad_norm=1.0,
        num_steps=6,
        evaluate_every=3,
        patience=5,
    )
    return replace(usual, **changes)


def turns(role: str, *words: str) -> list[Message]:
    return [{"role": role, "content": " ".join(words)}]


@dataclass(frozen=True, eq=False)
class MemoryRows:
    """Rows of responses with words of either half of WORDS; the targets are which half it is, and how many they are."""

    objective: Objective
    workers: Workers = ALONE
    batch_rows: int = 6
    num_steps: int = 6

    def steps(self, first: int) -> Iterator[RowBatch]:
        for step in range(first, self.num_steps):
            yield self.batch(np.random.default_rng(step), self.batch_rows)

    def heldout(self) -> Iterator[RowBatch]:
        yield self.batch(np.random.default_rng(10_000), 12)
        yield self.batch(np.random.default_rng(10_001), 1)  # nothing for a second worker

    def batch(self, rng: np.random.Generator, num: int) -> RowBatch:
        prompts = [turns("user", *rng.choice(ASKED, rng.integers(4, 12))) for _ in range(num)]
        halves = (WORDS[:5], WORDS[5:])
        said = [[rng.choice(halves[rng.integers(2)], rng.integers(1, 9)) for _ in range(num)] for _ in range(2)]
        chosen, rejected = ([turns("assistant", *words) for words in side] for side in said)
        rating_N2K = np.array(
            [[[words[0] in WORDS[:5], len(words) / 8] for words in both] for both in zip(*said, strict=True)]
        )
        if self.objective == "bradley-terry":
            rating_N2K = rating_N2K[:, :, :1]
        target_N2K = targets(rating_N2K, self.objective)
        mine = self.workers.share(num)
        has_two = self.objective != "multilabel"
        return RowBatch(
            [prompts[i] for i in mine],
            [chosen[i] for i in mine],
            [rejected[i] if has_two else None for i in mine],
            [f"p{i}" for i in mine],
            target_N2K[list(mine)],
            num_targets=max(int((~np.isnan(target_N2K)).sum()), 1),
            num_rows=num,
        )


def targets(rating_N2K: np.ndarray, objective: Objective) -> np.ndarray:
    target_N2K = np.full(rating_N2K.shape, np.nan)
    if is_pairwise(objective):
        sign_NK = np.sign(rating_N2K[:, 0] - rating_N2K[:, 1])
        target_N2K[:, 0] = np.where(sign_NK == 0, np.nan, sign_NK)
    elif objective == "multilabel":
        target_N2K[:, 0] = rating_N2K[:, 0] > 0.5
    else:
        target_N2K = rating_N2K
    return target_N2K.astype(np.float32)


def recipe(folder: Path, family: str = "llama", **changes: Any) -> TrainRecipe:
    """Of a tiny backbone that is made in the folder."""
    base = folder / "base"
    if not base.exists():
        tiny.save_own_form(base, family, pooling="last")
    return replace(TrainRecipe(ModelSource(base), "regression", RULES, (0.0, 0.0)), **changes)


def of_objective(made: TrainRecipe, objective: Objective, **changes: Any) -> TrainRecipe:
    """The recipe with another objective, and the one head of a plain Bradley-Terry model."""
    if objective == "bradley-terry":
        changes = {"rules": REWARD, "bias": (0.0,), **changes}
    return replace(made, objective=objective, **changes)


@dataclass(frozen=True, eq=False)
class Trained:
    model: MultiHeadModel
    progress: TrainProgress | None
    steps: list[StepReport]


def run(
    made: TrainRecipe,
    folder: Path,
    *,
    workers: Workers = ALONE,
    stop: Callable[[int], bool] = lambda step: False,
    on_step: Callable[[MultiHeadModel, int], object] = lambda model, step: None,
    batch_tokens: int = 256,
    **changes: Any,
) -> Trained:
    """Train in this process; `stop` is asked with the step, `on_step` may change the model behind it."""
    how = settings(objective=made.objective, **changes)
    model = share_out(made.load(), workers, dtype=made.dtype)
    optimizer = make_optimizer(model, how)
    steps: list[StepReport] = []

    def after(report: StepReport) -> None:
        steps.append(report)
        on_step(model, report.step)

    progress = train(
        model,
        MemoryRows(made.objective, workers, num_steps=how.num_steps),
        settings=how,
        micro_batches=MicroBatches(model, strategy=made.training_strategy, batch_tokens=batch_tokens, workers=workers),
        state=TrainState(folder, model, optimizer, workers),
        optimizer=optimizer,
        workers=workers,
        on_step=after,
        stop=lambda: stop(steps[-1].step),
    )
    return Trained(model, progress, steps)


def run_workers(made: TrainRecipe, folder: Path, *, num_workers: int, **changes: Any) -> list[tuple[list, dict]]:
    """Train in processes that talk to each other, of which this is the first; steps and end of each.

    The weights are then in FOLDER.safetensors.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "recipe").write_bytes(pickle.dumps((made, changes)))
    command = [sys.executable, "-m", "tests.models.trainings", str(folder), str(port), str(num_workers)]
    others = [subprocess.Popen([*command, str(rank)]) for rank in range(1, num_workers)]
    _work(folder, str(port), num_workers, 0)
    assert [other.wait(PATIENCE_S) for other in others] == [0] * (num_workers - 1)
    return [tuple(json.loads((folder / f"report-{rank}.json").read_text())) for rank in range(num_workers)]


def _work(folder: Path, port: str, num_workers: int, rank: int) -> None:
    made, changes = pickle.loads((folder / "recipe").read_bytes())
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_workers)
    trained = run(made, folder / "state", workers=Workers.joined("cpu"), **changes)
    weights = whole_weights(trained.model, keep=rank == 0)
    if rank == 0:
        save_file(weights, folder.with_suffix(".safetensors"))
    assert trained.progress is not None
    report = [[vars(step) for step in trained.steps], {"best_step": trained.progress.best_step}]
    (folder / f"report-{rank}.json").write_text(json.dumps(report))
    dist.barrier()
    if rank == 0:
        dist.destroy_process_group()  # another process ends at once below: gloo's threads may abort it when joined


if __name__ == "__main__":
    _work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    os._exit(0)
