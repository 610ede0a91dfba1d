"""Batched inference over pairs of token ids: every distinct sequence once, every shared prefix once, no padding.

`plan` decides on the host what goes into which forward pass; `run` is the work of the device. What shares a forward
depends only on the pairs of a call and on the budget, so that the same unit gives the same bits on the same device,
dtype, libraries and thread count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encore_ray.errors import ConfigError
from encore_ray.models.forward.attention.layouts import RowLayout
from encore_ray.models.forward.body_model import BodyModel
from encore_ray.models.forward.heads import Paths
from encore_ray.models.forward.host_memory import keep_freed_memory
from encore_ray.models.forward.occupancy import Occupancy
from encore_ray.models.forward.rows import Row, distinct_sequences, plan_rows
from encore_ray.models.forward.strategy import strategy_of
from encore_ray.models.spec.forward import DEFAULT_BATCH_TOKENS, Strategy
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.models.text.positions import first_position

# oneDNN compiles a product for each number of slots: rows of few different lengths find theirs made.
_SLOTS_CPU = 32


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """One forward pass.

    Attributes:
        inputs: of the backbone, on the host; token ids are [1, T] for a row and [B, T] for padded sequences.
        paths: which token slots are the tokens of each of its S sequences.
        sequences: which of the plan's distinct sequences they are.
        row: where the slots lie, if prefixes or rows are shared.
    """

    inputs: dict[str, Tensor]
    paths: Paths
    sequences: Sequence[int]
    row: Row | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """The forward passes for N pairs.

    Attributes:
        batches: in the order in which they run.
        places_N2: int64, which distinct sequence each side is; -1 for no response.
        num_tokens: tokens of all sequences.
        num_computed: token slots that go through the model, padding included.
    """

    batches: list[SequenceBatch]
    places_N2: np.ndarray
    num_tokens: int
    num_computed: int


class PairScorer:
    """Scores tokenised pairs with one model; plans may be made while another thread scores.

    Args:
        model: a loaded model.
        strategy: `tree` shares prefixes, for causal models; `packed` only leaves out the padding; `padded` batches by
            length; `one_by_one` runs each sequence alone, as transformers would. None: the fastest that is exact for
            the model; a given one is not questioned here.
        batch_tokens: token slots a forward pass, padding counted; None: 2048 on a CPU, 16384 on a GPU.

    Raises:
        ConfigError: a budget under one token.
    """

    def __init__(self, model: BodyModel, *, strategy: Strategy | None = None, batch_tokens: int | None = None):
        if batch_tokens is not None and batch_tokens < 1:
            raise ConfigError(f"batch_tokens must be 1 or more, found {batch_tokens}.")
        self.model = model
        self.strategy: Strategy = (
            strategy or strategy_of(model.backbone.config, model.conversations.max_length).strategy
        )
        self.batch_tokens = batch_tokens or DEFAULT_BATCH_TOKENS[model.device.type]
        self.occupancy = Occupancy(model.device)
        if model.device.type == "cpu":
            keep_freed_memory()

    def score(self, pairs: TokenizedPairs) -> np.ndarray:
        """Scores under each rule.

        Args:
            pairs: N tokenised pairs.

        Returns:
            Shape (N, 2, K), float32: chosen and rejected; NaN on the rejected side of a single response. A model's own
            non-finite output comes back as it is. Of a model that keeps embeddings, (N, 2, K + D).
        """
        return self.run(self.plan(pairs))

    def plan(self, pairs: TokenizedPairs) -> Plan:
        """Decide what goes into which forward pass; needs no device."""
        sides = [ids for both in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True) for ids in both]
        distinct, places = distinct_sequences(sides)
        if self.strategy in ("tree", "packed"):
            rows = plan_rows(distinct, batch_tokens=self.batch_tokens, share=self.strategy == "tree")
            batches = [self._row_batch(row) for row in rows]
        else:
            budget = self.batch_tokens if self.strategy == "padded" else 1
            batches = [self._padded_batch(distinct, chosen) for chosen in pack(distinct, batch_tokens=budget)]
        return Plan(
            batches,
            places.reshape(len(pairs), 2),
            num_tokens=sum(len(ids) for ids in sides if ids is not None),
            num_computed=sum(batch.inputs["input_ids"].numel() for batch in batches),
        )

    @torch.inference_mode()
    def run(self, plan: Plan) -> np.ndarray:
        """Do a plan's forward passes; returns what `score` returns. One thread at a time."""
        num_sequences = plan.places_N2.max(initial=-1) + 1
        scores_SK = np.full((num_sequences + 1, self.model.num_columns), np.nan, dtype=np.float32)
        # A GPU only queues its passes here; it is waited for when the first scores are fetched.
        for batch, scores in [(batch, self.forward(batch)) for batch in plan.batches]:
            scores_SK[list(batch.sequences)] = scores.cpu().numpy()
        return scores_SK[plan.places_N2]  # place -1, no response, is the last row: NaN

    def forward(self, batch: SequenceBatch) -> Tensor:
        """Scores [S, K] of the sequences of one forward pass, on the device; a gradient goes through it."""
        device = self.model.device
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.inputs.items()}
        layout = RowLayout(batch.row, reads=self.model.reads) if batch.row else None
        with self.occupancy.forward():
            return self.model.run_paths(batch.paths, inputs, layout=layout)

    def _row_batch(self, row: Row) -> SequenceBatch:
        config = self.model.backbone.config.get_text_config()
        # Slots that fill up the row are of no sequence: nothing attends to them, and nobody reads them.
        filling = -len(row.ids_T) % _SLOTS_CPU if self.model.device.type == "cpu" else 0
        inputs = {
            "input_ids": torch.from_numpy(np.pad(row.ids_T, (0, filling))).unsqueeze(0),
            "position_ids": torch.from_numpy(np.pad(row.positions_T, (0, filling)) + first_position(config)).unsqueeze(
                0
            ),
        }
        if getattr(config, "type_vocab_size", 0):  # its default would be a buffer as long as one sequence
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        index_SL, mask_SL = _right_padded(row.paths)
        return self._pinned(SequenceBatch(inputs, Paths(index_SL, mask_SL.sum(dim=1)), row.sequences, row))

    def _padded_batch(self, sequences: list[np.ndarray], chosen: list[int]) -> SequenceBatch:
        # Right padding: positions start at 0 without being told, and a causal model never sees the padding.
        # Padding is masked, so that its id only has to exist; id 0 always does.
        ids_BT, mask_BT = _right_padded([sequences[i] for i in chosen])
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        return self._pinned(SequenceBatch(inputs, Paths.padded(mask_BT), chosen))

    def _pinned(self, batch: SequenceBatch) -> SequenceBatch:
        """In memory from which a GPU copies while it computes."""
        if self.model.device.type != "cuda":
            return batch
        inputs = {name: tensor.pin_memory() for name, tensor in batch.inputs.items()}
        paths = Paths(batch.paths.index_SL.pin_memory(), batch.paths.length_S.pin_memory())
        return SequenceBatch(inputs, paths, batch.sequences, batch.row)


def _right_padded(arrays: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays of different length as rows, filled up with 0, and 1 where there is no filling; both int64."""
    values_BT = np.zeros((len(arrays), max(map(len, arrays))), dtype=np.int64)
    mask_BT = np.zeros_like(values_BT)
    for values_T, mask_T, array in zip(values_BT, mask_BT, arrays, strict=True):
        values_T[: len(array)] = array
        mask_T[: len(array)] = 1
    return torch.from_numpy(values_BT), torch.from_numpy(mask_BT)


def pack(sequences: Sequence[np.ndarray], *, batch_tokens: int) -> list[list[int]]:
    """Batches of sequences of similar length, longest first, as positions in the list.

    A batch times its longest sequence stays within the budget; a longer sequence gets a batch of its own. Equal
    lengths keep their order.
    """
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        stop = start + max(1, batch_tokens // len(sequences[order[start]]))
        batches.append(order[start:stop])
        start = stop
    return batches
