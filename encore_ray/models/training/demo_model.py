"""Trains a small multi-head reward model on rule ratings, from a tokenizer of its own to a saved checkpoint.

Multi-output regression by mean squared error, as in ENCORE (arXiv 2503.20995), on a model small enough for a
CPU: a two-layer Llama whose heads read the mean hidden state.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from encore_ray.errors import ConfigError
from encore_ray.models.forward.heads import LinearHeads, Paths, pool, regressed_rule
from encore_ray.models.loading.saving import save_multihead
from encore_ray.models.text.conversations import ConversationTokenizer, Message
from encore_ray.models.training.objectives import into_rule_units, to_unit
from encore_ray.rules import RuleSet

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{{ eos_token }}\n{% endfor %}"
)
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
HIDDEN_SIZE, NUM_LAYERS, NUM_ATTENTION_HEADS, MAX_LENGTH = 96, 2, 4, 1024
BATCH_TOKENS = 2048
LEARNING_RATE, WARMUP_STEPS = 3e-3, 20


@dataclass(frozen=True)
class TrainingReport:
    """How a training went.

    Attributes:
        folder: the checkpoint.
        num_conversations, num_tokens, num_parameters: sizes; tokens of one epoch.
        steps: optimiser steps.
        loss: mean squared error of the last epoch's steps, in squared units of each rule's range.
        seconds: wall time, tokenizer included.
    """

    folder: Path
    num_conversations: int
    num_tokens: int
    num_parameters: int
    steps: int
    loss: float
    seconds: float


def train_regression(
    conversations: Sequence[Sequence[Message]],
    *,
    ratings_NK: np.ndarray,
    rules: RuleSet,
    folder: str | Path,
    seed: int = 0,
    epochs: int = 2,
    on_step: Callable[[int, int, float], None] | None = None,
) -> TrainingReport:
    """Train a small model to give the ratings of conversations, and save it in our own form.

    The same arguments give the same weights on the same machine and thread count. The saved rules are continuous
    on the range of the ratings and clip: a regression gives values between levels and overshoots the ends.

    Args:
        conversations: N lists of {role, content}, prompt and response.
        ratings_NK: finite ratings within the rules' scales, in rule order.
        rules: K rules, with the scale of the ratings.
        folder: where the checkpoint goes.
        seed: of the weights and of the order of batches.
        epochs: passes over the conversations.
        on_step: called after each step with the step, the number of steps and the loss.

    Raises:
        ConfigError: no conversation, or ratings of another shape, not finite, or out of scale.
    """
    started = time.monotonic()
    targets_NK = _targets(conversations, ratings_NK, rules)
    tokenizer = build_tokenizer(message["content"] for turns in conversations for message in turns)
    generator = torch.Generator().manual_seed(seed)
    backbone = build_backbone(tokenizer, seed=seed)
    # A head starts at the mean rating, so that the first steps are not spent on finding it.
    heads = LinearHeads(torch.zeros(len(rules), HIDDEN_SIZE), targets_NK.mean(dim=0))
    encode = ConversationTokenizer(tokenizer, backbone.config)
    ids = encode.tokenize_pairs([[]] * len(conversations), chosen=conversations, rejected=[None] * len(conversations))
    schedule = [batch for _ in range(epochs) for batch in _batches(ids.chosen_ids, generator)]
    losses = []
    for step, loss in enumerate(_fit(backbone, heads, ids.chosen_ids, targets_NK, schedule), start=1):
        losses.append(loss)
        if on_step:
            on_step(step, len(schedule), loss)
    into_rule_units(heads, rules)
    regressed = RuleSet(map(regressed_rule, rules))
    save_multihead(folder, backbone=backbone, tokenizer=tokenizer, heads=heads, rules=regressed, pooling="mean")
    return TrainingReport(
        folder=Path(folder),
        num_conversations=len(conversations),
        num_tokens=int(ids.chosen_tokens.sum()),
        num_parameters=sum(parameter.numel() for parameter in [*backbone.parameters(), *heads.parameters()]),
        steps=len(schedule),
        loss=float(np.mean(losses[-(len(schedule) // epochs) :])),
        seconds=time.monotonic() - started,
    )


def build_tokenizer(texts: Iterator[str], *, vocab_size: int = 4096) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from texts, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS, *ROLE_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(ROLE_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
    )


def build_backbone(tokenizer: Any, *, seed: int) -> LlamaModel:
    """A small Llama with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=2 * HIDDEN_SIZE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=NUM_ATTENTION_HEADS,
        num_key_value_heads=NUM_ATTENTION_HEADS,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaModel(config)


def _fit(
    backbone: nn.Module,
    heads: LinearHeads,
    ids: Sequence[np.ndarray],
    targets_NK: Tensor,
    schedule: list[list[int]],
) -> Iterator[float]:
    """Take one optimiser step a batch; yields its loss."""
    parameters = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    backbone.train()
    for step, batch in enumerate(schedule):
        warmup, remaining = (step + 1) / WARMUP_STEPS, (len(schedule) - step) / len(schedule)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(warmup, remaining)
        ids_BT = nn.utils.rnn.pad_sequence([torch.from_numpy(ids[i]).long() for i in batch], batch_first=True)
        length_B = torch.tensor([len(ids[i]) for i in batch])
        mask_BT = (torch.arange(ids_BT.shape[1]) < length_B[:, None]).long()
        hidden_BTD = backbone(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        pooled_BD = pool(hidden_BTD.flatten(0, 1), Paths.padded(mask_BT), pooling="mean")
        loss = nn.functional.mse_loss(heads(pooled_BD), targets_NK[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        yield loss.item()
    backbone.eval()


def _batches(ids: Sequence[np.ndarray], generator: torch.Generator) -> list[list[int]]:
    """Batches of similar lengths in random order, within the token budget."""
    order = torch.randperm(len(ids), generator=generator).tolist()
    order.sort(key=lambda i: len(ids[i]) // 8)  # stable: random within a length
    batches: list[list[int]] = [[]]
    for i in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(ids[i]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _targets(conversations: Sequence[Any], ratings_NK: np.ndarray, rules: RuleSet) -> Tensor:
    """Ratings mapped to [0, 1] on each rule's range, as float32."""
    expected = (len(conversations), len(rules))
    if ratings_NK.shape != expected or not len(conversations):
        raise ConfigError(f"Expected ratings of shape {expected} (conversations, rules); found {ratings_NK.shape}.")
    lo_K, hi_K = (np.array([getattr(rule.scale, end) for rule in rules]) for end in ("lo", "hi"))
    wrong_K = (~((ratings_NK >= lo_K) & (ratings_NK <= hi_K))).sum(axis=0)  # NaN compares false: wrong as well
    if wrong_K.any():
        counts = ", ".join(f"{rule.name}: {count}" for rule, count in zip(rules, wrong_K, strict=True) if count)
        raise ConfigError(f"Ratings out of scale or not finite ({counts}). Mend them, or the rules' scales.")
    return torch.from_numpy(to_unit(ratings_NK, rules))
