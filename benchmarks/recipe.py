"""The recipe of the CPU benchmarks: a corpus, a tokenizer trained on it, and a random Llama with eight heads."""

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from benchmarks.lengths import pairs_of_ids
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.models.families.loaders import no_progress_bar
from encore_ray.models.spec.files import RULES_FILE
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.rules import Rule, RuleSet, Scale

NUM_RULES = 8
SEED = 5
VOCAB_SIZE = 16384
BOS, PAD = "<s>", "<pad>"
BOS_ID, PAD_ID = 0, 1
# HH-RLHF in the folder that ENCORE_RAY_CORPORA names.
CORPUS = Path("hh-rlhf", "harmless-base-test.jsonl.gz")


@dataclass(frozen=True)
class Corpus:
    """Preference pairs as rows of text.

    Attributes:
        name: where they come from.
        rows: the columns of each row, as `encore-ray prepare` reads them.
        is_real: False for planted text, whose lengths are not those of real pairs.
    """

    name: str
    rows: list[dict[str, str]]
    is_real: bool

    def write(self, file: Path, *, num_pairs: int) -> None:
        """So many rows as JSON lines, starting over as often as it takes."""
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows]
        with file.open("w", encoding="utf-8") as out:
            for start in range(0, num_pairs, len(lines)):
                out.writelines(lines[: num_pairs - start])


def find_corpus(path: Path | None) -> Corpus:
    """HH-RLHF transcripts from a file, else from ENCORE_RAY_CORPORA, else planted text of the same number of pairs."""
    folder = os.environ.get("ENCORE_RAY_CORPORA")
    file = path or (Path(folder) / CORPUS if folder else None)
    if file is None or (path is None and not file.exists()):
        planted = planted_text(2312, seed=SEED).rows
        rows = [{column: row[column] for column in ("prompt", "chosen", "rejected")} for row in planted]
        return Corpus("planted text, for want of a corpus (--corpus, ENCORE_RAY_CORPORA)", rows, is_real=False)
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        rows = [{side: row[side] for side in ("chosen", "rejected")} for row in map(json.loads, lines)]
    return Corpus(str(file), rows, is_real=True)


def train_tokenizer(corpus: Corpus) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 16,384 tokens, trained on all texts of the corpus, that begins each with a BOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[BOS, PAD], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(corpus), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, pad_token=PAD)


def tokenize(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> TokenizedPairs:
    """The transcripts of a real corpus as token ids, as they stand."""
    chosen, rejected = (
        [np.array(ids, dtype=np.int32) for ids in tokenizer([row[side] for row in corpus.rows])["input_ids"]]
        for side in ("chosen", "rejected")
    )
    return pairs_of_ids(chosen, rejected)


def save_model(
    folder: Path, *, tokenizer: PreTrainedTokenizerFast, hidden_size: int = 512, num_layers: int = 6
) -> RuleSet:
    """A random `LlamaForSequenceClassification` with eight labels, its tokenizer and its rules.

    Args:
        folder: made if it is not there.
        tokenizer: its vocabulary decides the model's.
        hidden_size: a multiple of 64, the size of an attention head.
        num_layers: of the body.
    """
    config = _config(len(tokenizer), hidden_size, num_layers)
    config.num_labels = NUM_RULES
    torch.manual_seed(SEED)
    with no_progress_bar():
        LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rules = RuleSet(
        Rule(f"rule_{k}", f"A random head, number {k}", "better", Scale(-3.0, 3.0), out_of_range="clip")
        for k in range(NUM_RULES)
    )
    (folder / RULES_FILE).write_text(rules.to_yaml(), encoding="utf-8")
    return rules


def save_judge(
    folder: Path, *, tokenizer: PreTrainedTokenizerFast, hidden_size: int = 512, num_layers: int = 6
) -> None:
    """A random `LlamaForCausalLM` of the same body, and its tokenizer; see `save_model`."""
    torch.manual_seed(SEED)
    with no_progress_bar():
        LlamaForCausalLM(_config(len(tokenizer), hidden_size, num_layers)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(vocab_size: int, hidden_size: int, num_layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 11 // 4,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 64,
        max_position_embeddings=2048,
        bos_token_id=BOS_ID,
        eos_token_id=None,
        pad_token_id=PAD_ID,
    )


def _texts(corpus: Corpus) -> Iterator[str]:
    for row in corpus.rows:
        yield from row.values()
