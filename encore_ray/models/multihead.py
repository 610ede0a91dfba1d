"""The multi-head reward model: a backbone and one head a rule."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.conversations import ConversationTokenizer
from encore_ray.models.heads import Pooling, apply_links, pool
from encore_ray.rules import RuleSet


class MultiHeadModel(nn.Module):
    """Token ids in, one float32 score a rule out.

    Attributes:
        backbone: ids to hidden states; where `pooling` is None, ids to the raw outputs (`logits`).
        heads: pooled float32 vector to raw outputs, in float32; None where `pooling` is None.
        pooling: which tokens the heads see; None where the backbone pools by a classification module of its own.
        rules: K rules, in the order of the scores.
        conversations: renders and tokenises conversations for this model.
        dtype: of the backbone; heads and scores are float32 always.
    """

    backbone: PreTrainedModel
    heads: nn.Module | None
    pooling: Pooling | None

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        heads: nn.Module | None,
        pooling: Pooling | None,
        rules: RuleSet,
        conversations: ConversationTokenizer,
        dtype: torch.dtype,
    ):
        super().__init__()
        assert (heads is None) == (pooling is None)
        self.backbone, self.heads, self.pooling = backbone, heads, pooling
        self.rules, self.conversations, self.dtype = rules, conversations, dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Scores [B, K], float32, of right-padded token ids; mask 1 for real tokens."""
        # Off even inside a caller's autocast, which would round the heads to half precision.
        with torch.autocast(ids_BT.device.type, enabled=False):
            output = self.backbone(input_ids=ids_BT, attention_mask=mask_BT)
            if self.heads is None or self.pooling is None:
                raw_BO = output.logits
            else:
                raw_BO = self.heads(pool(output.last_hidden_state, mask_BT, pooling=self.pooling))
            return apply_links(raw_BO, self.rules)
