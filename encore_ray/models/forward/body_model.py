"""A transformer body under packed forward passes: several sequences in, some float32 numbers of each out."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.forward.attention.layouts import ReadToken, RowLayout
from encore_ray.models.forward.attention.prefix import ATTENTION
from encore_ray.models.forward.heads import Paths
from encore_ray.models.forward.last_layer import narrow_last_layer
from encore_ray.models.forward.onednn import use_onednn
from encore_ray.models.text.conversations import ConversationTokenizer

READS: dict[str, ReadToken] = {"last": "last", "cls": "first"}  # by pooling; mean pooling reads all

# Dynamic position embeddings stay those of the longest sequence that they have seen, also for the forwards after it.
_LONGEST_SEEN = "max_seq_len_cached"


class BodyModel(nn.Module):
    """Token ids in, scores and an embedding out: a subclass says which of them, and how they are made.

    Attributes:
        backbone: ids to hidden states.
        conversations: renders and tokenises conversations for this model.
        dtype: of the backbone; what it gives is float32 always.
        num_scores: that it gives of a sequence.
        embedding_size: numbers of the embedding that it gives behind the scores; 0 for none.
    """

    backbone: PreTrainedModel
    num_scores: int
    embedding_size: int

    def __init__(self, backbone: PreTrainedModel, *, conversations: ConversationTokenizer, dtype: torch.dtype):
        super().__init__()
        self.backbone, self.conversations, self.dtype = backbone, conversations, dtype
        if hasattr(backbone.config, "use_cache"):
            backbone.config.use_cache = False  # one forward has no use for a cache, which would cost its memory
        use_onednn(self.backbone)
        narrow_last_layer(self.backbone)
        self._attention = backbone.config._attn_implementation  # transformers' choice for it
        self._rotary = [module for module in backbone.modules() if hasattr(module, _LONGEST_SEEN)]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def reads(self) -> ReadToken | None:
        """The one token of each sequence whose hidden state counts; None if more do."""
        raise NotImplementedError

    @property
    def names(self) -> Sequence[str]:
        """Of its scores; of the numbers of its embedding where that is all it gives."""
        raise NotImplementedError

    def columns(self, hidden_ND: Tensor, paths: Paths) -> Tensor:
        """What it gives of S sequences, [S, num_columns], from the hidden states of all token slots."""
        raise NotImplementedError

    @property
    def num_columns(self) -> int:
        """Of what it gives: its scores, and the embedding behind them."""
        return self.num_scores + self.embedding_size

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """What it gives of right-padded token ids, [B, num_columns], float32; mask 1 for real tokens."""
        return self.run_paths(Paths.padded(mask_BT), {"input_ids": ids_BT, "attention_mask": mask_BT})

    def run_paths(self, paths: Paths, inputs: Mapping[str, Tensor], *, layout: RowLayout | None = None) -> Tensor:
        """What it gives of the sequences that `paths` finds in one forward of the backbone, [S, num_columns], float32.

        Args:
            paths: slots of the flattened token ids.
            inputs: for the backbone's forward, by name.
            layout: which slots see each other; None for a sequence a row, by transformers' own attention.
        """
        attention = self._attention if layout is None else ATTENTION
        if attention and self.backbone.config._attn_implementation != attention:
            self.backbone.set_attn_implementation(attention)
        for module in self._rotary:
            for name in [name for name in vars(module) if name.endswith(_LONGEST_SEEN)]:  # one a kind of layer
                setattr(module, name, 0)
        keywords = inputs if layout is None else {**inputs, "layout": layout}
        # Off even inside a caller's autocast, which would round the heads to half precision.
        with torch.autocast(self.device.type, enabled=False):
            hidden_ND = self.backbone(**keywords).last_hidden_state.flatten(0, 1)
            return self.columns(hidden_ND, paths.to(hidden_ND.device))
