"""A frozen backbone as a sentence encoder: one pooled vector a sequence, and no heads."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from encore_ray.models.forward.attention.layouts import ReadToken
from encore_ray.models.forward.body_model import READS, BodyModel
from encore_ray.models.forward.heads import Paths, pool
from encore_ray.models.spec.forward import Pooling
from encore_ray.models.text.conversations import ConversationTokenizer


class Embedder(BodyModel):
    """Token ids in, one float32 embedding out.

    Attributes:
        pooling: which tokens make it.
    """

    num_scores = 0

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        pooling: Pooling,
        conversations: ConversationTokenizer,
        dtype: torch.dtype,
    ):
        super().__init__(backbone, conversations=conversations, dtype=dtype)
        self.pooling: Pooling = pooling
        self.embedding_size = backbone.config.get_text_config().hidden_size

    @property
    def reads(self) -> ReadToken | None:
        return READS.get(self.pooling)

    @property
    def names(self) -> Sequence[str]:
        return [f"dimension_{d}" for d in range(self.embedding_size)]

    def columns(self, hidden_ND: Tensor, paths: Paths) -> Tensor:
        """Embeddings [S, D]."""
        return pool(hidden_ND, paths, pooling=self.pooling)
