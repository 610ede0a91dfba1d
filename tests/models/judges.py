"""Tiny causal language models as a user would bring them as judges."""

from copy import deepcopy
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast

from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny

WORDS = ("Yes", " Yes", "yes", " No", "NO")  # those of its answers that are one token of its own; digits are
BOLDNESS = 6  # how much larger the rows of answers are in the vocabulary head
RULES = RuleSet(
    [
        Rule("threat", "Does the response threaten?", "worse", Scale(-1.0, 1.0)),
        Rule("clear", "Is it clear?", "better", Scale(1.0, 5.0, (1.0, 2.0, 3.0, 4.0, 5.0))),
        Rule("longer", "Does the response threaten? Or insult?", "worse", Scale(-1.0, 1.0)),  # the first is its prefix
        Rule("same", "Does the response threaten?", "worse", Scale(0.0, 10.0)),
    ]
)


def tokenizer(*, chat: bool = False, bos: bool = True, cls: bool = False) -> PreTrainedTokenizerFast:
    """That of tiny.py with answers, and a chat template that begins the answer; `cls` ends every text with eos."""
    tok = tiny.tokenizer(chat=chat, bos=bos, cls=cls)
    tok.add_tokens(list(WORDS))
    if chat:
        tok.chat_template = tiny.TEMPLATE + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    return tok


def save_judge(
    folder: Path, family: str | PretrainedConfig = "llama", *, tok: PreTrainedTokenizerFast | None = None, **changes
) -> Path:
    """A causal language model with random weights, of a family of tiny.py or of a configuration as it is."""
    tok = tok or tokenizer()
    changes = {"max_position_embeddings": 512, "n_positions": 512, **changes}
    if isinstance(family, str):
        changes.pop("max_position_embeddings" if family == "gpt2" else "n_positions")
        options = {key: changes.pop(key) for key in ("max_position_embeddings", "n_positions") if key in changes}
        config = tiny.config(family, vocab_size=len(tok), **changes)
        for key, value in options.items():
            setattr(config, key, value)
    else:
        config = deepcopy(family)
        config.vocab_size = len(tok)
    torch.manual_seed(9)
    model = AutoModelForCausalLM.from_config(config)
    tiny.spread(model)
    # Answers that differ between texts: else all of 373 tokens would be about as likely.
    answers = [i for word, i in tok.get_vocab().items() if word in (*WORDS, *"12345")]
    model.get_output_embeddings().weight.data[answers] *= BOLDNESS
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def save_yes_man(folder: Path) -> Path:
    """A model that answers Yes and ends, whatever it is asked: each token decides the next one alone."""
    tok = tokenizer(chat=True)
    after = {tok("\n")["input_ids"][-1]: "Yes", tok.convert_tokens_to_ids("Yes"): "</s>"}
    config = tiny.config("llama", vocab_size=len(tok), bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id)
    config.max_position_embeddings, config.tie_word_embeddings = 512, False
    torch.manual_seed(9)
    model = AutoModelForCausalLM.from_config(config)
    head, embedding = model.get_output_embeddings().weight.data, model.get_input_embeddings().weight.data
    head.zero_()
    for last, following in after.items():
        head[tok.convert_tokens_to_ids(following)] = 100 * embedding[last]
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
        layer.mlp.down_proj.weight.data.zero_()
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder
