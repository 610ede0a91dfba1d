"""Corpora and tiny models for small jobs of every kind, made with public names of encore-ray alone.

python benchmarks/tiny_inputs.py FOLDER

So any revision of encore-ray makes them, however it is laid out inside; `same.py` runs this under the first of its two.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast

from encore_ray import LinearHeads, Rule, RuleSet, Scale, save_multihead

SUBSETS = ("medicine", "privacy", "household", "conflict")
OPENINGS = (
    "I have been wondering for days.",
    "I could not find this anywhere.",
    "My sister asked me.",
    "It is urgent.",
)
QUESTIONS = (
    "How do I get rid of an old gas bottle?",
    "A stranger follows me home, what should I do?",
    "May I read the letters of my neighbour?",
    "Which of these pills can I take together?",
    "How do I open a lock without its key?",
)
ANSWERS = (
    "Please ask your local recycling centre, and never open it yourself.",
    "A person you trust may be able to listen.",
    "I will leave out the dangerous details.",
    "You can rely on this without checking.",
    "That is a stupid question.",
    "Ask a pharmacist, who sees what else you take.",
    "Nobody is going to force you, at least for now.",
    "There is some risk, as with everything.",
    "Honestly, it drives me mad!",
    "Call the police, and go where other people are.",
)
RULES = RuleSet(
    [
        Rule("no_threats", "Does the response keep from threats?", "better", Scale(-1.0, 1.0)),
        Rule("cites_help", "Does the response name somebody who can help?", "better", Scale(-1.0, 1.0)),
        Rule("insults", "Does the response insult?", "worse", Scale(-1.0, 1.0)),
        Rule("refuses_harm", "Does the response keep dangerous details to itself?", "better", Scale(-1.0, 1.0)),
    ]
)
HEADS = RuleSet(
    [
        Rule("kind", "The response is kind.", "better", Scale(-9.0, 9.0), out_of_range="clip"),
        Rule("threat", "The response threatens.", "worse", Scale(-9.0, 9.0), out_of_range="clip"),
        Rule("clear", "The response is clear.", "better", Scale(-9.0, 9.0), out_of_range="clip"),
    ]
)
YES_AND_NO = ("Yes", " Yes", "No", " No")
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
TURNS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
HIDDEN_SIZE = 32
SPREAD = 6  # of the usual weights of std .02, under which the hidden states of texts hardly differ
BOLDNESS = 6  # of the answers' rows in the vocabulary head, beside all other tokens


def write_inputs(folder: Path) -> None:
    """Everything that the scenarios of `same.py` read."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "pairs.jsonl", pairs(64, seed=0))
    write_lines(folder / "new_pairs.jsonl", pairs(320, seed=1))
    bad = [{**row, "id": f"bad-{n}", "prompt": ""} for n, row in enumerate(pairs(2, seed=2))]
    write_lines(folder / "corpus.jsonl", [*pairs(400, seed=3), *bad])
    (folder / "rules.yaml").write_text(RULES.to_yaml(), encoding="utf-8")
    for name, rows in layouts().items():
        write_lines(folder / "layouts" / f"{name}.jsonl", rows)
    tokenizer = train_tokenizer(answers=YES_AND_NO)
    for name, seed in (("judge", 9), ("base", 8)):
        save_judge(folder / "models" / name, tokenizer, seed=seed)
    save_heads(folder / "models" / "heads", train_tokenizer(chat_template=TEMPLATE))
    write_rated(folder / "rated", num_pairs=300)


def pairs(number: int, *, seed: int) -> list[dict[str, Any]]:
    """Rows of prompt, chosen and rejected with ids and subsets; some prompts come again."""
    rng = np.random.default_rng(seed)
    prompts = [f"{rng.choice(OPENINGS)} {rng.choice(QUESTIONS)} Case {n}." for n in range(max(number * 4 // 5, 1))]
    rows = []
    for n in range(number):
        sides = [" ".join(rng.choice(ANSWERS, rng.integers(1, 7), replace=False)) for _ in range(2)]
        rows.append(
            {
                "id": f"row-{seed}-{n:05d}",
                "prompt": prompts[n % len(prompts)],
                "chosen": f"{sides[0]} Yours, {n}.",
                "rejected": f"{sides[1]} Truly, {n}.",
                "subset": SUBSETS[n % len(SUBSETS)],
            }
        )
    return rows


def layouts() -> dict[str, list[dict[str, Any]]]:
    """Rows of every layout of preference data, the last of each unusable."""

    def say(*turns: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 9, turns, strict=False)]

    ask, good, bad = QUESTIONS[0], ANSWERS[0], ANSWERS[3]
    human = f"\n\nHuman: {ask}\n\nAssistant: "
    texts = [{"prompt": f"{ask} {n}", "chosen": f"{good} {n}", "rejected": f"{bad} {n}"} for n in range(2)]
    preferred = {"context": say(ask), "response1": good, "response2": bad}
    safer = {"prompt": ask, "response_0": good, "response_1": bad}
    good_and_bad: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "hh-rlhf": (
            [{"chosen": human + good, "rejected": human + bad}, {"chosen": human + bad, "rejected": human + good}],
            {"chosen": human + good, "rejected": f"{human}{bad}\n\nHuman: And?"},
        ),
        "rewardbench2": (
            [{"id": n, "prompt": ask, "chosen": [good], "rejected": [bad, n], "subset": "Safety"} for n in ("a", "b")],
            {"id": "c", "prompt": ask, "chosen": [], "rejected": [bad], "subset": "Safety"},
        ),
        "rewardbench": (
            [{**row, "id": n, "subset": "refusals-dangerous"} for n, row in enumerate(texts)],
            {"id": 2, "prompt": ask, "chosen": good, "rejected": "", "subset": "refusals-dangerous"},
        ),
        "ultrafeedback": (
            [{"prompt": ask, "chosen": say(ask, good), "rejected": say(ask, n)} for n in (bad, "No.")],
            {"prompt": ask, "chosen": say("Another?", good), "rejected": say(ask, bad)},
        ),
        "trl": (texts, {"prompt": ask, "chosen": good, "rejected": None}),
        "trl-implicit": (
            [{"chosen": say(ask, good), "rejected": say(ask, n)} for n in (bad, "No.")],
            {"chosen": say(ask), "rejected": say(ask, bad)},
        ),
        "helpsteer3": (
            [{**preferred, "overall_preference": n} for n in (-3, 2, 0)],
            {**preferred, "overall_preference": 7},
        ),
        "pku-saferlhf": ([{**safer, "safer_response_id": n} for n in (0, 1)], {**safer, "safer_response_id": 2}),
        "single": ([{"prompt": ask, "response": n} for n in (good, bad)], {"prompt": ask, "response": " "}),
    }
    return {name: [*usable, unusable] for name, (usable, unusable) in good_and_bad.items()}


def write_rated(folder: Path, *, num_pairs: int) -> None:
    """Pairs that carry ratings, one of which is missing, their rules, and the ratings alone as a table of scores."""
    rng = np.random.default_rng(4)
    scales = {"kind": {"levels": [1, 2, 3, 4, 5]}, "threat": {"lo": 0, "hi": 1}, "clear": {"levels": [1, 2, 3]}}
    rows = pairs(num_pairs, seed=4)
    for row in rows:
        for side, more in (("chosen", 1), ("rejected", 0)):
            row[f"{side}__kind"] = float(rng.integers(1, 5 + more))
            row[f"{side}__threat"] = round(float(rng.random()) * (1 - more / 3), 3)
            row[f"{side}__clear"] = float(rng.integers(1, 4))
    columns = ["subset", *(name for name in rows[0] if "__" in name)]
    table = {"pair_id": [row["id"] for row in rows], "prompt_id": [row["prompt"] for row in rows]}
    table |= {name: [row[name] for row in rows] for name in columns}
    folder.mkdir(parents=True)
    pq.write_table(pa.table(table), folder / "scores.parquet", row_group_size=70)
    rows[7]["chosen__kind"] = None
    write_lines(folder / "pairs.jsonl", rows)
    rules = [
        {"name": name, "text": name, "higher_is": "worse" if name == "threat" else "better", "scale": scale}
        for name, scale in scales.items()
    ]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")


def train_tokenizer(*, answers: Sequence[str] = (), chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE with a BOS before each text; `answers` are one token each."""
    specials = [BOS, EOS, PAD, *TURNS]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*OPENINGS, *QUESTIONS, *ANSWERS], trainer)
    bos = (BOS, backend.token_to_id(BOS))
    backend.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[bos])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(TURNS),
        chat_template=chat_template,
    )
    tokenizer.add_tokens(list(answers))
    return tokenizer


def save_judge(folder: Path, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> None:
    """A random causal language model that tells texts apart in its answers."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_config(tokenizer))
    _spread(model)
    model.lm_head.weight.data[tokenizer.convert_tokens_to_ids(list(YES_AND_NO))] *= BOLDNESS
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_heads(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """A random multi-head model whose heads read the last token, so that it can be folded into a single label."""
    torch.manual_seed(7)
    backbone = LlamaModel(_config(tokenizer))
    _spread(backbone)
    heads = LinearHeads(torch.randn(len(HEADS), HIDDEN_SIZE), torch.randn(len(HEADS)))
    save_multihead(folder, backbone=backbone, tokenizer=tokenizer, heads=heads, rules=HEADS, pooling="last")


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    ids = tokenizer.get_vocab()
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=None,
    )


def _spread(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(SPREAD)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    write_inputs(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
