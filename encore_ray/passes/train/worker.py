"""What each worker of a training does; it talks to the driver by files, which survive either of them."""

import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray.train.torch

from encore_ray.errors import ClusterError, EncoreError
from encore_ray.files import durable
from encore_ray.models.forward.budget import unless_out_of_memory
from encore_ray.models.loading.identity import require_model
from encore_ray.models.training.disk import writing
from encore_ray.models.training.loop import StepReport, make_optimizer, train
from encore_ray.models.training.micro_batches import MicroBatches
from encore_ray.models.training.recipe import share_out, whole_weights
from encore_ray.models.training.state import TrainState
from encore_ray.models.training.workers import Workers
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.train.files import (
    DONE_FILE,
    ERROR_FILE,
    LOG_FILE,
    MODEL_DIR,
    OWNER_FILE,
    STOP_FILE,
    TRAINING_DIR,
    files_below,
)
from encore_ray.passes.train.plan import TrainPlan
from encore_ray.passes.train.rows import TrainRows
from encore_ray.storage import to_json


def train_worker(config: Mapping[str, Any]) -> None:
    """Train, save the model, and write done.json; another attempt goes on from the last state.

    Args:
        config: `plan`, a pickled TrainPlan; `output`, the folder of the model; `owner`, the driver's name for its
            attempt.
    """
    plan, output = pickle.loads(config["plan"]), Path(config["output"])  # noqa: S301  made by the driver
    folder = output / TRAINING_DIR
    if (folder / ERROR_FILE).exists():  # another attempt would meet it again
        return
    try:
        if unless_out_of_memory(_train, plan, output, config["owner"]) is None:
            raise ClusterError(
                f"A worker ran out of memory with {plan.batch_tokens} tokens a forward pass. Train with fewer "
                "(batch_tokens), with gradient_checkpointing, lora_rank or more workers."
            )
    except EncoreError as error:
        content = {"kind": type(error).__name__, "message": str(error)}
        durable.replace_file(str(folder / ERROR_FILE), [to_json(content)])
        if plan.crew.num > 1:  # the others wait for this one: its end is theirs
            raise


def _train(plan: TrainPlan, output: Path, owner: str) -> bool:
    folder = output / TRAINING_DIR
    workers = Workers.joined(str(ray.train.torch.get_device()))
    is_first = workers.rank == 0
    place = local_model(plan.recipe.base)
    recipe = plan.recipe.at(place.path)
    base = require_model(place, plan.facts["model"], name=str(plan.recipe.base.path))
    model = share_out(recipe.load(), workers, dtype=recipe.dtype)
    base.check()
    optimizer = make_optimizer(model, plan.settings)
    log = _Log(folder, owner) if is_first else None
    stop = folder / STOP_FILE
    progress = train(
        model,
        TrainRows(plan.units, plan.reader, plan.order, workers),
        settings=plan.settings,
        micro_batches=MicroBatches(model, strategy=plan.strategy, batch_tokens=plan.batch_tokens, workers=workers),
        state=TrainState(folder, model, optimizer, workers),
        optimizer=optimizer,
        workers=workers,
        on_step=log.step if log else lambda report: None,
        on_evaluation=log.evaluation if log else lambda figures: None,
        stop=lambda: is_first and stop.exists(),
    )
    if progress is not None:
        weights = whole_weights(model, keep=is_first)
        if is_first:
            place = folder / MODEL_DIR
            shutil.rmtree(place, ignore_errors=True)  # of an attempt that ended while it saved
            rules = recipe.save(place, weights, scale=list(zip(progress.low, progress.high, strict=True)))
            done = {"progress": asdict(progress), "rules": rules.to_list(), "files": files_below(place)}
            with writing(folder):
                durable.replace_file(str(folder / DONE_FILE), [to_json(done)])
        workers.wait()
    return True


class _Log:
    """Lines for the driver; a torn last line is none."""

    def __init__(self, folder: Path, owner: str):
        self._folder, self._owner = folder, owner

    def step(self, report: StepReport) -> None:
        self._write({"kind": "step", **vars(report)})

    def evaluation(self, figures: Mapping[str, Any]) -> None:
        self._write({"kind": "evaluation", **figures})

    def _write(self, content: Mapping[str, Any]) -> None:
        if (self._folder / OWNER_FILE).read_text(encoding="utf-8") != self._owner:
            raise RuntimeError(f"Another command trains in {self._folder}.")
        with writing(self._folder), (self._folder / LOG_FILE).open("a", encoding="utf-8") as lines:
            lines.write(f"\n{json.dumps(content)}\n")  # behind whatever a writer that was killed left
