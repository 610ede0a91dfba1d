"""Gradient accumulation over micro-batches: what a forward pass holds is bounded, what a step sees is not.

A micro-batch is one forward pass of the rows of whole pairs, packed as they are scored: a prompt that both responses
share is computed once, and its gradient is the sum of both. Micro-batches follow from the rows and the budget alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.forward.scorer import PairScorer, SequenceBatch
from encore_ray.models.spec.forward import Strategy
from encore_ray.models.spec.training import Objective
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.models.training.objectives import EvaluationSums, summed_loss
from encore_ray.models.training.workers import Workers

_UNBOUNDED = 1 << 40  # tokens: rows are counted out here, so that the scorer never splits them


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """One forward pass with B rows.

    Attributes:
        batch: what goes through the backbone.
        rows: places of the rows among those that were given.
        places_B2: which sequence of the batch each side is; -1 for no response.
    """

    batch: SequenceBatch
    rows: list[int]
    places_B2: np.ndarray


class MicroBatches:
    """Runs rows through a model that is trained, in micro-batches.

    Args:
        model: whose outputs are those of its heads, without a link.
        strategy: `tree`, `packed` or `padded`, exact for the model.
        batch_tokens: tokens a forward pass, shared ones and padding counted each time; a single row may have more.
        workers: who works on the same rows; each does as many forward passes as any other.
    """

    def __init__(self, model: MultiHeadModel, *, strategy: Strategy, batch_tokens: int, workers: Workers):
        assert strategy != "one_by_one", "a pair has two sequences"
        self._scorer = PairScorer(model, strategy=strategy, batch_tokens=_UNBOUNDED)
        self._budget = batch_tokens
        self._workers = workers

    def add_gradients(self, pairs: TokenizedPairs, target_N2K: np.ndarray, *, objective: Objective, num: int) -> float:
        """Add the gradients of the mean loss over all `num` targets of a step; returns this worker's part of it.

        Args:
            pairs: N rows of this worker.
            target_N2K: of these rows, see `objectives`.
            objective: which loss.
            num: targets of the step over all workers.
        """
        total = 0.0
        for micro in self._planned(pairs):
            raw_B2K = self._outputs(micro)
            loss = summed_loss(raw_B2K, _targets(target_N2K, micro, raw_B2K.device), objective=objective).sum() / num
            # The gradients of workers are averaged, those of a step are to be added.
            (loss * self._workers.num).backward()
            total += loss.item()
        return total

    @torch.no_grad()
    def evaluate(self, pairs: TokenizedPairs, target_N2K: np.ndarray, *, objective: Objective) -> EvaluationSums:
        """Outputs against targets of this worker's rows."""
        sums = EvaluationSums.none(target_N2K.shape[2])
        for micro in self._planned(pairs):
            raw_B2K = self._outputs(micro)
            if micro.rows:
                target_B2K = _targets(target_N2K, micro, raw_B2K.device)
                sums += EvaluationSums.of(raw_B2K, target_B2K, objective=objective)
        return sums

    def plan(self, pairs: TokenizedPairs) -> list[MicroBatch]:
        """Rows of similar length together, the longest first, each micro-batch within the budget."""
        return [self._micro_batch(pairs, rows) for rows in self._grouped(pairs)]

    def _planned(self, pairs: TokenizedPairs) -> Iterator[MicroBatch]:
        """The micro-batches, and as many empty ones as another worker has more."""
        planned = self.plan(pairs)
        num_most = self._workers.most(len(planned))  # asked first: all workers talk in the same order
        yield from planned
        empty = TokenizedPairs([np.zeros(1, np.int32)], [None], *(np.zeros(1, np.int64) for _ in range(4)))
        for _ in range(num_most - len(planned)):
            micro = self._micro_batch(empty, [0])
            yield MicroBatch(micro.batch, [], micro.places_B2[:0])

    def _grouped(self, pairs: TokenizedPairs) -> list[list[int]]:
        sides = zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)
        lengths = [[len(ids) for ids in both if ids is not None] for both in sides]
        is_padded = self._scorer.strategy == "padded"
        groups: list[list[int]] = []
        longest = used = 0
        for row in sorted(range(len(lengths)), key=lambda row: -max(lengths[row])):
            if groups:
                slots = len(lengths[row]) * longest if is_padded else sum(lengths[row])
                if used + slots <= self._budget:
                    groups[-1].append(row)
                    used += slots
                    continue
            longest = max(lengths[row])
            used = len(lengths[row]) * longest if is_padded else sum(lengths[row])
            groups.append([row])
        return groups

    def _micro_batch(self, pairs: TokenizedPairs, rows: Sequence[int]) -> MicroBatch:
        plan = self._scorer.plan(pairs.take(rows))
        (batch,) = plan.batches
        order = np.full(len(batch.sequences) + 1, -1)  # the last: of a missing response
        order[list(batch.sequences)] = np.arange(len(batch.sequences))
        return MicroBatch(batch, list(rows), order[plan.places_N2])

    def _outputs(self, micro: MicroBatch) -> Tensor:
        """Raw outputs [B, 2, K] of the rows, float32; of an empty micro-batch none, which still hang on the model."""
        raw_SK = self._scorer.forward(micro.batch)
        return raw_SK[torch.from_numpy(micro.places_B2).to(raw_SK.device)]


def _targets(target_N2K: np.ndarray, micro: MicroBatch, device: torch.device) -> Tensor:
    return torch.from_numpy(target_N2K[micro.rows]).to(device)
