"""Tiny random configurations of real architectures, and how each of them may be scored."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    Data2VecTextConfig,
    DebertaV2Config,
    FalconH1Config,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    ModernBertConfig,
    OPTConfig,
    Phi3Config,
    PhimoeConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    RobertaConfig,
)

from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.spec.forward import Pooling, Strategy
from encore_ray.models.text.conversations import ConversationTokenizer, TokenizedPairs
from tests.models import tiny

VOCAB_SIZE = 300  # the tokenizers of tiny.py have more
WINDOW = 8  # shorter than most of `forked_pairs`

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": VOCAB_SIZE,
    "max_position_embeddings": 512,
}
_GROUPED: dict[str, Any] = {**_SIZES, "num_key_value_heads": 2}
_MODERN: dict[str, Any] = {
    "pad_token_id": 0, "cls_token_id": 0, "sep_token_id": 1, "bos_token_id": 0, "eos_token_id": 1,
    "global_attn_every_n_layers": 2, "local_attention": 2 * WINDOW,
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A configuration and the strategy that must be chosen for it."""

    config: PretrainedConfig
    strategy: Strategy


def _windowed(config_class: type[PretrainedConfig], **options: Any) -> PretrainedConfig:
    return config_class(**_GROUPED, sliding_window=WINDOW, **options)


ARCHITECTURES = {
    "llama": Architecture(LlamaConfig(**_GROUPED), "tree"),
    "qwen2": Architecture(Qwen2Config(**_GROUPED), "tree"),
    "qwen2-window": Architecture(_windowed(Qwen2Config, use_sliding_window=True, max_window_layers=1), "tree"),
    "qwen3": Architecture(Qwen3Config(**_GROUPED, head_dim=16), "tree"),
    "mistral-window": Architecture(_windowed(MistralConfig), "tree"),
    "gemma": Architecture(GemmaConfig(**_GROUPED, head_dim=16), "tree"),
    "gemma3": Architecture(
        _windowed(Gemma3TextConfig, head_dim=16, layer_types=["sliding_attention", "full_attention"]), "tree"
    ),
    "gpt2": Architecture(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512, vocab_size=VOCAB_SIZE), "tree"),
    "gpt-neox": Architecture(GPTNeoXConfig(**_SIZES), "tree"),
    "phi3": Architecture(Phi3Config(**_GROUPED, pad_token_id=0), "tree"),
    "mixtral": Architecture(MixtralConfig(**_GROUPED, num_local_experts=4), "tree"),
    "opt": Architecture(
        OPTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, vocab_size=VOCAB_SIZE,
            max_position_embeddings=512, word_embed_proj_dim=32,
        ),
        "tree",
    ),
    "bert": Architecture(BertConfig(**_SIZES), "packed"),
    "roberta": Architecture(RobertaConfig(**_SIZES, pad_token_id=1), "packed"),
    "data2vec-text": Architecture(Data2VecTextConfig(**_SIZES, pad_token_id=1), "packed"),
    "modernbert": Architecture(ModernBertConfig(**_SIZES, **_MODERN, classifier_pooling="mean"), "packed"),
    "albert": Architecture(AlbertConfig(**_SIZES, embedding_size=32), "packed"),
    "deberta-v2": Architecture(
        DebertaV2Config(**_SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0), "padded"
    ),
    "gemma2": Architecture(_windowed(Gemma2Config, head_dim=16), "padded"),
    "qwen2-moe-window": Architecture(
        _windowed(
            Qwen2MoeConfig, use_sliding_window=True, max_window_layers=2, num_experts=4, moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
        ),
        "padded",
    ),
    "phimoe-window": Architecture(_windowed(PhimoeConfig, num_local_experts=4), "padded"),
    "mamba": Architecture(MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=VOCAB_SIZE), "padded"),
    "falcon-h1": Architecture(
        FalconH1Config(**_GROUPED, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8), "padded"
    ),
}  # fmt: skip
ENCODERS = ("bert", "roberta", "data2vec-text", "modernbert", "albert", "deberta-v2")
TREES = tuple(name for name, architecture in ARCHITECTURES.items() if architecture.strategy == "tree")


def backbone(config: PretrainedConfig, *, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    model = AutoModel.from_config(deepcopy(config)).eval()
    model.config.use_cache = False  # as `load_model` sets it
    tiny.spread(model)
    return model


def with_heads(
    body: PreTrainedModel, *, pooling: Pooling = "last", dtype: torch.dtype = torch.float32, seed: int = 0
) -> MultiHeadModel:
    """Three random heads on a copy of a backbone."""
    generator = torch.Generator().manual_seed(seed)
    weight_KD = torch.randn(len(tiny.RULES), body.config.get_text_config().hidden_size, generator=generator)
    heads = PooledHeads(LinearHeads(weight_KD, torch.zeros(len(tiny.RULES))), pooling=pooling)
    body = deepcopy(body).to(dtype)
    conversations = ConversationTokenizer(_tokenizer(), body.config)
    return MultiHeadModel(body, heads=heads, rules=tiny.RULES, conversations=conversations, dtype=dtype).eval()


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return tiny.tokenizer()


@torch.inference_mode()
def reference(body: PreTrainedModel, model: MultiHeadModel, pairs: TokenizedPairs) -> np.ndarray:
    """Scores [N, 2, K] by transformers alone: each conversation by itself, unpadded, without a word about masks.

    Args:
        body: a backbone that nothing of ours has touched.
        model: for its pooling and the weights of its heads.
        pairs: with both sides.
    """
    take = {"last": lambda x_TD: x_TD[-1], "cls": lambda x_TD: x_TD[0], "mean": lambda x_TD: x_TD.mean(dim=0)}
    weight_KD, pooling = model.heads.outputs.weight, model.heads.pooling
    scores = []
    for ids in (ids for both in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True) for ids in both):
        hidden_TD = body(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0].float()
        scores.append((weight_KD @ take[pooling](hidden_TD)).numpy())
    return np.stack(scores).reshape(len(pairs), 2, -1)


def forked_pairs(num_pairs: int = 12, *, seed: int = 0, longest: int = 24) -> TokenizedPairs:
    """Eight pairs or more that fork: two of three prompts share a system turn; every edge that a tree has is there."""
    rng = np.random.default_rng(seed)

    def text(most: int = longest) -> list[int]:
        return rng.integers(6, VOCAB_SIZE, rng.integers(1, most)).tolist()

    system = text()
    chosen, rejected = [], []
    for i in range(num_pairs):
        prompt = [*(system if i % 3 else []), *text()]
        chosen.append([*prompt, *text()])
        rejected.append([*prompt, *text()])
    rejected[0] = chosen[0]  # the same twice
    rejected[1] = chosen[1][:-1]  # a prefix of the other
    rejected[2] = [*chosen[2], 7]  # the other is its prefix
    chosen[3], rejected[3] = [9], [10]  # one token
    chosen[4], rejected[4] = text(), text()  # nothing shared
    chosen[6], rejected[6] = chosen[5], [*chosen[5][:-1], 8]  # several rejected of one chosen
    chosen[7], rejected[7] = rejected[5], chosen[5]  # repeated, the other way round
    return tiny.tokenized(chosen, rejected)


def in_sd(found_N2K: np.ndarray, expected_N2K: np.ndarray) -> float:
    """The largest difference, in standard deviations of its rule."""
    sd_K = expected_N2K.std(axis=(0, 1))
    assert (sd_K > 1e-3).all()  # a model whose scores hardly vary would pass anything
    return float((np.abs(found_N2K - expected_N2K) / sd_K).max())
