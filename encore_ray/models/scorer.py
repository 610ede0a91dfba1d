"""Scores of pairs from token ids: length-sorted, padded batches under a token budget."""

import numpy as np
import torch

from encore_ray.errors import ConfigError
from encore_ray.models.conversations import TokenizedPairs
from encore_ray.models.multihead import MultiHeadModel

DEFAULT_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}


class PairScorer:
    """Scores tokenised pairs with one model; one thread at a time (tokenising can overlap).

    Which sequences share a batch depends only on the pairs of a call and on the budget, so the same unit gives the
    same bits on the same device, dtype, libraries and thread count.

    Args:
        model: a loaded model.
        batch_tokens: tokens a batch, padding counted; None: 2048 on a CPU, 16384 on a GPU.

    Raises:
        ConfigError: a budget under one token.
    """

    def __init__(self, model: MultiHeadModel, *, batch_tokens: int | None = None):
        if batch_tokens is not None and batch_tokens < 1:
            raise ConfigError(f"batch_tokens must be 1 or more, found {batch_tokens}.")
        self.model = model
        self.batch_tokens = batch_tokens or DEFAULT_BATCH_TOKENS[model.device.type]

    @torch.inference_mode()
    def score(self, pairs: TokenizedPairs) -> np.ndarray:
        """Scores under each rule.

        Args:
            pairs: N tokenised pairs.

        Returns:
            Shape (N, 2, K), float32: chosen and rejected; NaN on the rejected side of a single response. A model's own
            non-finite output comes back as it is.
        """
        sequences = [ids for both in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True) for ids in both]
        scores_SK = np.full((len(sequences), len(self.model.rules)), np.nan, dtype=np.float32)
        for batch in pack(sequences, batch_tokens=self.batch_tokens):
            scores_SK[batch] = self._score_batch([ids for i in batch if (ids := sequences[i]) is not None])
        return scores_SK.reshape(len(pairs), 2, len(self.model.rules))

    def _score_batch(self, sequences: list[np.ndarray]) -> np.ndarray:
        # Right padding: positions start at 0 without being told, and a causal model never sees the padding.
        # Padding is masked, so that its id only has to exist; id 0 always does.
        ids_BT = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
        mask_BT = np.zeros_like(ids_BT)
        for row, ids in enumerate(sequences):
            ids_BT[row, : len(ids)] = ids
            mask_BT[row, : len(ids)] = 1
        device = self.model.device
        scores_BK = self.model(torch.from_numpy(ids_BT).to(device), torch.from_numpy(mask_BT).to(device))
        return scores_BK.cpu().numpy()


def pack(sequences: list[np.ndarray | None], *, batch_tokens: int) -> list[list[int]]:
    """Batches of sequences of similar length, longest first, as positions in the list; None is left out.

    A batch times its longest sequence stays within the budget; a longer sequence gets a batch of its own. Order
    among equal lengths is by content, so that the order of the list does not decide what is batched together.
    """
    present = [(-len(ids), ids.tobytes(), i) for i, ids in enumerate(sequences) if ids is not None]
    order = [i for *_, i in sorted(present)]
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        longest = sequences[order[start]]
        assert longest is not None
        stop = start + max(1, batch_tokens // len(longest))
        batches.append(order[start:stop])
        start = stop
    return batches
