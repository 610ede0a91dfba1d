"""The multi-head reward model: a backbone and one head a rule."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.forward.attention.layouts import ReadToken
from encore_ray.models.forward.body_model import READS, BodyModel
from encore_ray.models.forward.heads import Paths, PooledHeads, apply_links, pool
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.rules import RuleSet


class MultiHeadModel(BodyModel):
    """Token ids in, one float32 score a rule out.

    Attributes:
        heads: (hidden states [N, D] of all token slots, Paths of S sequences) to raw outputs [S, O], in float32.
        rules: K rules, in the order of the scores.
        embedding_size: dimensions of the vector that enters the heads, where `keep_embeddings` asked for it; else 0.
    """

    heads: nn.Module
    embedding_size = 0

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        heads: nn.Module,
        rules: RuleSet,
        conversations: ConversationTokenizer,
        dtype: torch.dtype,
    ):
        super().__init__(backbone, conversations=conversations, dtype=dtype)
        self.heads, self.rules, self.num_scores = heads, rules, len(rules)

    @property
    def reads(self) -> ReadToken | None:
        return READS.get(self.heads.pooling) if isinstance(self.heads, PooledHeads) else None

    @property
    def names(self) -> Sequence[str]:
        return self.rules.names

    def keep_embeddings(self, *, name: str) -> None:
        """From now on give the embedding of each sequence behind its scores: the vector that enters the heads.

        Raises:
            ModelError: the heads of the model, called `name`, do not read one vector.
        """
        if not isinstance(self.heads, PooledHeads):
            raise ModelError(
                f"{name}: its heads are a classification module that reads all hidden states, so there is no one "
                "embedding that enters them. Score without keep_embeddings."
            )
        self.embedding_size = self.backbone.config.get_text_config().hidden_size

    def columns(self, hidden_ND: Tensor, paths: Paths) -> Tensor:
        """Scores [S, K]; where embeddings are kept, [S, K + D]."""
        if not self.embedding_size:
            return apply_links(self.heads(hidden_ND, paths), self.rules)
        assert isinstance(self.heads, PooledHeads)
        pooled_SD = pool(hidden_ND, paths, pooling=self.heads.pooling)
        return torch.cat([apply_links(self.heads.outputs(pooled_SD), self.rules), pooled_SD], dim=1)
