"""Sharded training checkpoints: each worker's part of the weights and of the optimiser, and the step.

    step-00000120/weights-1.safetensors     of worker 1 of the training
                  state.json                written last: where it is, all is
    best-00000100/weights-1.safetensors     the weights of the best evaluation that the newest state names

A training that goes on from a step ends with the weights that it would have had: nothing in it is random but what
follows from the seed and the step.
"""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from encore_ray.files import durable
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.training.disk import writing
from encore_ray.models.training.progress import STATE_FILE, TrainProgress, newest_state, read_progress
from encore_ray.models.training.recipe import local, local_weights, trained_weights
from encore_ray.models.training.workers import Workers

_MOMENTS = ("exp_avg", "exp_avg_sq")


class TrainState:
    """Keeps and gives back the state of one training.

    Args:
        folder: on storage that all workers see; nobody else's.
        model: that is trained, on its devices.
        optimizer: AdamW, of the weights that are trained.
        workers: who each keeps a part.
    """

    def __init__(self, folder: Path, model: MultiHeadModel, optimizer: torch.optim.Optimizer, workers: Workers):
        self._folder, self._model, self._optimizer, self._workers = folder, model, optimizer, workers
        self._kept_step: int | None = None

    def keep(self, progress: TrainProgress) -> None:
        """Write the state; older ones go once it is whole. ConfigError where it cannot be written."""
        if progress.step == self._kept_step:
            return
        place = self._folder / _step_name(progress.step)
        self._write(place, {**local_weights(self._model), **self._moments()})
        self._workers.wait()
        if self._workers.rank == 0:
            with writing(place):
                durable.replace_file(str(place / STATE_FILE), [json.dumps(asdict(progress)).encode()])
                self._sweep(progress)
        self._workers.wait()
        self._kept_step = progress.step

    def keep_best(self, step: int) -> None:
        """Write the weights of an evaluation; `keep` must follow, which names it."""
        self._write(self._folder / _best_name(step), local_weights(self._model))

    @torch.no_grad()
    def resume(self) -> TrainProgress:
        """Put back the newest state that is whole; a training that has none stays as it is."""
        newest = newest_state(self._folder)
        if newest is None:
            return TrainProgress()
        progress = read_progress(newest)
        kept = load_file(newest / self._file)
        for name, tensor in local_weights(self._model).items():
            tensor.copy_(kept[name])
        for name, weight in trained_weights(self._model).items():
            if f"{_MOMENTS[0]}/{name}" not in kept:  # a weight without a gradient, as a pooler that nothing reads
                continue
            self._optimizer.state[weight] = {"step": torch.tensor(float(progress.step))}
            for moment in _MOMENTS:
                like = torch.zeros_like(weight.data)
                local(like).copy_(kept[f"{moment}/{name}"])
                self._optimizer.state[weight][moment] = like
        self._kept_step = progress.step
        return progress

    @torch.no_grad()
    def take_best(self, progress: TrainProgress) -> None:
        """Put the weights of the best evaluation into the model."""
        assert progress.best_step is not None
        kept = load_file(self._folder / _best_name(progress.best_step) / self._file)
        for name, tensor in local_weights(self._model).items():
            tensor.copy_(kept[name])

    @property
    def _file(self) -> str:
        return f"weights-{self._workers.rank}.safetensors"

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{moment}/{name}": local(self._optimizer.state[weight][moment])
            for name, weight in trained_weights(self._model).items()
            if weight in self._optimizer.state
            for moment in _MOMENTS
        }

    def _write(self, place: Path, tensors: dict[str, Tensor]) -> None:
        file = place / self._file
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            try:
                save_file(content, file)
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            except BaseException:
                file.unlink(missing_ok=True)  # a full disk has no room to say so
                raise

    def _sweep(self, progress: TrainProgress) -> None:
        named = {_step_name(progress.step)}
        if progress.best_step is not None:
            named.add(_best_name(progress.best_step))
        for folder in self._folder.iterdir():
            if folder.name.startswith(("step-", "best-")) and folder.name not in named:
                shutil.rmtree(folder)


def _step_name(step: int) -> str:
    return f"step-{step:08d}"


def _best_name(step: int) -> str:
    return f"best-{step:08d}"
