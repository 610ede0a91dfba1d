"""Tiny models with random weights and tokenizers learnt on the spot, saved as checkpoints a user would bring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    RobertaConfig,
)

from encore_ray.models.forward.heads import LinearHeads, num_outputs
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.models.loading.saving import save_multihead
from encore_ray.models.spec.forward import Pooling
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.rules import Rule, RuleSet, Scale

SENTENCES = (
    "How do I get rid of an old gas bottle?",
    "Please ask your local recycling centre, and never open it yourself.",
    "User: Assistant: System: the quick brown fox jumps over the lazy dog.",
)
RULES = RuleSet(Rule(f"rule_{k}", f"Rule {k}.", "better", Scale(-9.0, 9.0)) for k in range(3))
TEMPLATE = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

_SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
FAMILIES = ("llama", "qwen2", "gpt2", "bert", "roberta", "modernbert")
ENCODERS = ("bert", "roberta", "modernbert")


def tokenizer(
    *, bos: bool = True, chat: bool = False, pad: str | None = "<pad>", cls: bool = False
) -> PreTrainedTokenizerFast:
    """Byte-level BPE; `bos` is added by the tokenizer itself, `pad` may be None or the same as eos, `cls` adds SEP."""
    specials = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<unused>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    if bos or cls:
        ends = [("<s>", backend.token_to_id("<s>")), ("</s>", backend.token_to_id("</s>"))]
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>" if cls else "<s> $A", special_tokens=ends if cls else ends[:1]
        )
    names = {"cls_token": "<s>", "sep_token": "</s>"} if cls else {"bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=TEMPLATE if chat else None,
        **names,
    )


def config(family: str, *, vocab_size: int, pad_token_id: int | None = None, **changes: Any) -> PretrainedConfig:
    common = {"vocab_size": vocab_size, "pad_token_id": pad_token_id, "num_labels": len(RULES), **changes}
    if family == "llama":
        return LlamaConfig(**_SIZES, num_key_value_heads=2, max_position_embeddings=128, **common)
    if family == "qwen2":
        return Qwen2Config(**_SIZES, num_key_value_heads=2, max_position_embeddings=128, **common)
    if family == "gpt2":
        return GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=128, **common)
    if family == "bert":
        return BertConfig(**_SIZES, max_position_embeddings=128, **common)
    if family == "roberta":
        return RobertaConfig(**_SIZES, max_position_embeddings=131, type_vocab_size=1, **{**common, "pad_token_id": 2})
    return ModernBertConfig(
        **_SIZES, max_position_embeddings=128, global_attn_every_n_layers=2, local_attention=16,
        classifier_pooling="mean", cls_token_id=0, sep_token_id=1, bos_token_id=0, eos_token_id=1,
        **{**common, "pad_token_id": 2},
    )  # fmt: skip


def save_classifier(
    folder: Path, family: str | PretrainedConfig, *, tok: PreTrainedTokenizerFast | None = None, **changes: Any
) -> Path:
    """A sequence-classification checkpoint with rules.yaml beside it; of a family, or of a configuration as it is."""
    tok = tok or tokenizer(cls=family in ENCODERS)
    if isinstance(family, str):
        own = config(family, vocab_size=len(tok), **changes)
    else:
        sizes = {"num_labels": len(RULES), "vocab_size": len(tok)}
        own = type(family).from_dict({**family.to_dict(), **sizes, "id2label": None, **changes})
    torch.manual_seed(7)
    model = AutoModelForSequenceClassification.from_config(own)
    spread(model)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    return folder


def save_own_form(
    folder: Path, family: str, *, pooling: Pooling, tok: PreTrainedTokenizerFast | None = None, rules: RuleSet = RULES
) -> Path:
    """A checkpoint in our own form."""
    tok = tok or tokenizer(cls=family in ENCODERS)
    torch.manual_seed(8)
    backbone = AutoModel.from_config(config(family, vocab_size=len(tok)))
    spread(backbone)
    heads = LinearHeads(torch.randn(num_outputs(rules), 32), torch.randn(num_outputs(rules)))
    save_multihead(folder, backbone=backbone, tokenizer=tok, heads=heads, rules=rules, pooling=pooling)
    return folder


def load(folder: Path, **options: Any) -> MultiHeadModel:
    return load_model(folder, device="cpu", **options)


def tokenized(chosen: Sequence[Any], rejected: Sequence[Any]) -> TokenizedPairs:
    """Pairs of given token ids, as the scorer takes them; rejected None for a single response."""
    num_tokens = [np.array([0 if ids is None else len(ids) for ids in side]) for side in (chosen, rejected)]
    untruncated = np.zeros(len(chosen), dtype=bool)
    return TokenizedPairs(
        chosen_ids=[np.array(ids, dtype=np.int32) for ids in chosen],
        rejected_ids=[None if ids is None else np.array(ids, dtype=np.int32) for ids in rejected],
        chosen_tokens=num_tokens[0],
        rejected_tokens=num_tokens[1],
        chosen_truncated=untruncated,
        rejected_truncated=untruncated,
    )


def random_pairs(num_pairs: int, *, vocab_size: int, seed: int, longest: int = 40) -> TokenizedPairs:
    """Pairs of random ids, special ids left out, of random lengths from one token."""
    rng = np.random.default_rng(seed)

    def side() -> list[list[int]]:
        return [rng.integers(6, vocab_size, rng.integers(1, longest)).tolist() for _ in range(num_pairs)]

    return tokenized(side(), list(side()))


@torch.inference_mode()
def score_one(model: MultiHeadModel, ids: Any) -> np.ndarray:
    """The reference: one sequence at a time, unpadded, through transformers' own forward."""
    return model(torch.tensor([list(map(int, ids))]), torch.ones(1, len(ids), dtype=torch.long))[0].numpy()


def spread(model: torch.nn.Module) -> None:
    # Weights of the usual std .02 make a model whose hidden states hardly differ: nothing could go visibly wrong.
    # Those of a recurrence have their own size, beyond which float32 itself is no reference.
    recurrence = ("A_log", "conv1d", "dt_proj")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not any(part in name for part in recurrence):
                parameter.mul_(6)
