"""The training loop: AdamW with warm-up and cosine decay, held-out evaluation, checkpoints and early stopping.

A step sees `batch_rows` rows, whoever many workers and however small their forward passes: each worker adds up the
gradients of its share. The learning rate rises linearly, then falls along a cosine to zero.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from encore_ray.errors import DataError
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.spec.training import LoopSettings, Objective, RowBatch
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.models.training.micro_batches import MicroBatches
from encore_ray.models.training.objectives import EvaluationSums, rank
from encore_ray.models.training.progress import TrainProgress
from encore_ray.models.training.recipe import trained_weights
from encore_ray.models.training.state import TrainState
from encore_ray.models.training.workers import Workers

Item = TypeVar("Item")


class TrainingRows(Protocol):
    """The rows of a training."""

    def steps(self, first: int) -> Iterable[RowBatch]:
        """The batch of each step from `first` (0 is the first of all) to the last."""
        ...

    def heldout(self) -> Iterable[RowBatch]:
        """The held-out rows, in batches."""
        ...


@dataclass(frozen=True)
class StepReport:
    """How a step went: its number from 1, its rows, its mean loss, the learning rate, the gradient's length."""

    step: int
    num_rows: int
    loss: float
    learning_rate: float
    grad_norm: float


def cosine_schedule(step: int, *, warmup_steps: int, num_steps: int) -> float:
    """The share of the highest learning rate that a step has, counted from 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(num_steps - warmup_steps, 1)))


def make_optimizer(model: MultiHeadModel, settings: LoopSettings) -> torch.optim.AdamW:
    """AdamW over the weights that are trained; vectors do not decay."""
    weights = list(trained_weights(model).values())
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def train(
    model: MultiHeadModel,
    rows: TrainingRows,
    *,
    settings: LoopSettings,
    micro_batches: MicroBatches,
    state: TrainState,
    optimizer: torch.optim.AdamW,
    workers: Workers,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda figures: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainProgress | None:
    """Train from where the state stands to the end; the model then has the weights of the best evaluation.

    Args:
        model: on its devices.
        rows: this worker's.
        settings: how.
        micro_batches: of the model.
        state, optimizer: of the model.
        workers: who trains.
        on_step, on_evaluation: told of each step, and of the figures of each evaluation.
        stop: asked after each step whether to keep the state and leave.

    Returns:
        What was done; None when it was stopped.

    Raises:
        DataError: the loss is not finite, of a step or of the held-out rows.
    """
    progress = state.resume()
    names = model.rules.names
    weights = list(trained_weights(model).values())
    prepared = _ahead(_tokenized(model, batch) for batch in rows.steps(progress.step))
    for batch, pairs in () if _is_over(progress, settings) else prepared:
        rate = settings.learning_rate * cosine_schedule(
            progress.step, warmup_steps=settings.warmup_steps, num_steps=settings.num_steps
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        part = micro_batches.add_gradients(pairs, batch.target_N2K, objective=settings.objective, num=batch.num_targets)
        norm = float(_whole(nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)))
        loss = workers.total(part)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise DataError(
                f"Step {progress.step + 1}: the loss is {loss}, the gradient's length {norm}. Train with a lower "
                "learning_rate, or in float32."
            )
        optimizer.step()
        progress = replace(progress, step=progress.step + 1)
        on_step(StepReport(progress.step, batch.num_rows, loss, rate, norm))
        if progress.step % settings.evaluate_every == 0 or progress.step == settings.num_steps:
            sums = _evaluate(model, rows, micro_batches, settings.objective, workers)
            figures = {"step": progress.step, **sums.figures(settings.objective, names)}
            _check_finite(figures, sums)
            progress = _with_evaluation(progress, figures, sums, settings.objective)
            if progress.best_step == progress.step:
                state.keep_best(progress.step)
            state.keep(progress)
            on_evaluation(figures)
            if _is_over(progress, settings):
                break
        if workers.most(int(stop())):
            state.keep(progress)
            return None
    state.take_best(progress)
    return progress


def _evaluate(
    model: MultiHeadModel, rows: TrainingRows, micro_batches: MicroBatches, objective: Objective, workers: Workers
) -> EvaluationSums:
    sums = EvaluationSums.none(len(model.rules))
    for batch, pairs in _ahead(_tokenized(model, batch) for batch in rows.heldout()):
        sums += micro_batches.evaluate(pairs, batch.target_N2K, objective=objective)
    return workers.add_up(sums)


def _check_finite(figures: dict[str, Any], sums: EvaluationSums) -> None:
    """Raise DataError where outputs on held-out rows are not numbers: no such model may count as the best."""
    if math.isfinite(figures["loss"]) and np.isfinite([sums.low_K, sums.high_K]).all():
        return
    wrong = ", ".join(name for name, own in figures["rules"].items() if not math.isfinite(own["loss"]))
    raise DataError(
        f"Step {figures['step']}: the loss of the {figures['num']:,} held-out targets is {figures['loss']}"
        f"{f' ({wrong})' if wrong else ''}, outputs reach from {sums.low_K.min()} to "
        f"{sums.high_K.max()}. Train with a lower learning_rate, or in float32; if that does not help, look at the "
        "held-out rows for texts that the base model cannot read."
    )


def _with_evaluation(
    progress: TrainProgress, figures: dict[str, Any], sums: EvaluationSums, objective: Objective
) -> TrainProgress:
    evaluations = (*progress.evaluations, figures)
    before = progress.evaluations[progress.best] if progress.evaluations else None
    if before is not None and rank(figures, objective) <= rank(before, objective):
        return replace(progress, evaluations=evaluations)
    return TrainProgress(
        progress.step, evaluations, len(evaluations) - 1, tuple(sums.low_K.tolist()), tuple(sums.high_K.tolist())
    )


def _is_over(progress: TrainProgress, settings: LoopSettings) -> bool:
    if not progress.evaluations:
        return False
    is_last = progress.evaluations[-1]["step"] == settings.num_steps
    return is_last or len(progress.evaluations) - 1 - progress.best >= settings.patience


def _tokenized(model: MultiHeadModel, batch: RowBatch) -> tuple[RowBatch, TokenizedPairs]:
    pairs = model.conversations.tokenize_pairs(
        batch.prompts, chosen=batch.chosen, rejected=batch.rejected, pair_ids=batch.pair_ids
    )
    return batch, pairs


def _ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made while the one before it is used."""
    iterator = iter(items)
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        item = pool.submit(next, iterator, end)
        while (made := item.result()) is not end:
            item = pool.submit(next, iterator, end)
            yield made


def _whole(norm: torch.Tensor) -> torch.Tensor:
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[operator]
