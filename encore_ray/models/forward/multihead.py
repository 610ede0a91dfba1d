"""The multi-head reward model: a backbone and one head a rule."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.forward.attention import ATTENTION
from encore_ray.models.forward.heads import Paths, PooledHeads, apply_links, pool
from encore_ray.models.forward.last_layer import narrow_last_layer
from encore_ray.models.forward.layouts import Reads, RowLayout
from encore_ray.models.forward.onednn import use_onednn
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.rules import RuleSet

_READS: dict[str, Reads] = {"last": "last", "cls": "first"}  # mean pooling reads all

# Dynamic position embeddings stay those of the longest sequence that they have seen, also for the forwards after it.
_LONGEST_SEEN = "max_seq_len_cached"


class MultiHeadModel(nn.Module):
    """Token ids in, one float32 score a rule out.

    Attributes:
        backbone: ids to hidden states.
        heads: (hidden states [N, D] of all token slots, Paths of S sequences) to raw outputs [S, O], in float32.
        rules: K rules, in the order of the scores.
        conversations: renders and tokenises conversations for this model.
        dtype: of the backbone; heads and scores are float32 always.
        embedding_size: dimensions of the vector that enters the heads, where `keep_embeddings` asked for it; else 0.
    """

    backbone: PreTrainedModel
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
        super().__init__()
        self.backbone, self.heads = backbone, heads
        self.rules, self.conversations, self.dtype = rules, conversations, dtype
        use_onednn(self.backbone)
        narrow_last_layer(self.backbone)
        self._attention = backbone.config._attn_implementation  # transformers' choice for it
        self._rotary = [module for module in backbone.modules() if hasattr(module, _LONGEST_SEEN)]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def reads(self) -> Reads | None:
        """The one token of each sequence that the heads read; None if they read more."""
        return _READS.get(self.heads.pooling) if isinstance(self.heads, PooledHeads) else None

    @property
    def num_columns(self) -> int:
        """Of what `score_paths` returns: a score a rule, and the embedding where it is kept."""
        return len(self.rules) + self.embedding_size

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

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Scores [B, K], float32, of right-padded token ids; mask 1 for real tokens."""
        return self.score_paths(Paths.padded(mask_BT), input_ids=ids_BT, attention_mask=mask_BT)

    def score_paths(self, paths: Paths, *, layout: RowLayout | None = None, **inputs: Tensor) -> Tensor:
        """Scores [S, K], float32, of the sequences that `paths` finds in one forward of the backbone.

        Where embeddings are kept, [S, K + D]: the embedding behind the scores.

        Args:
            paths: slots of the flattened token ids.
            layout: which slots see each other; None for a sequence a row, by transformers' own attention.
            inputs: for the backbone's forward.
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
            paths = paths.to(hidden_ND.device)
            if not self.embedding_size:
                return apply_links(self.heads(hidden_ND, paths), self.rules)
            assert isinstance(self.heads, PooledHeads)
            pooled_SD = pool(hidden_ND, paths, pooling=self.heads.pooling)
            return torch.cat([apply_links(self.heads.outputs(pooled_SD), self.rules), pooled_SD], dim=1)
