"""A backbone as an embedder, and the heads that were fitted to its embeddings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from encore_ray.errors import ModelError
from encore_ray.models.forward.heads import POOLINGS, Pooling
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.models.loading.embedding import (
    Reads,
    backbone_files,
    delete_model,
    embedding_size,
    load_embedder,
    save_fitted,
)
from encore_ray.models.loading.saving import save_ensemble
from encore_ray.models.loading.scoring import Scoring
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import Message
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny

PROMPT: list[Message] = [{"role": "user", "content": "How do I get rid of an old gas bottle?"}]
ANSWERS: list[list[Message]] = [
    [{"role": "assistant", "content": text}] for text in ("Please ask.", "Never open it yourself, please.", "No")
]
RULES = RuleSet(
    [
        Rule("rated", "Is rated.", "better", Scale(1.0, 5.0, (1.0, 2.0, 3.0, 4.0, 5.0))),
        Rule("asked", "Is asked.", "worse", Scale(0.0, 1.0), link="sigmoid"),
    ]
)


def embed(embedder: Scoring, prompt: list[Message] = PROMPT) -> np.ndarray:
    prepared = embedder.prepare([prompt] * 3, chosen=ANSWERS, rejected=[None] * 3, pair_ids=[f"p{i}" for i in range(3)])
    return embedder.score(prepared).embeddings_N2D[:, 0]


def load(folder: Path, pooling: Pooling, reads: Reads = "conversation") -> Scoring:
    options = LoadOptions(device="cpu", batch_tokens=64)
    return load_embedder(ModelSource(folder), options, strategy="packed", pooling=pooling, reads=reads)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_embedding_is_the_pooled_hidden_state(tmp_path: Path, pooling: Pooling) -> None:
    embedder = load(tiny.save_classifier(tmp_path, "bert"), pooling)
    model = embedder.scorers[0].model
    found_ND = embed(embedder)
    backbone = AutoModel.from_pretrained(tmp_path).eval()
    pairs = model.conversations.tokenize_pairs([PROMPT] * 3, chosen=ANSWERS, rejected=[None] * 3)
    for found_D, ids in zip(found_ND, pairs.chosen_ids, strict=True):
        with torch.inference_mode():
            hidden_TD = backbone(torch.from_numpy(ids).long()[None]).last_hidden_state[0]
        mean_D = hidden_TD.mean(dim=0)
        expected = {"last": hidden_TD[-1], "cls": hidden_TD[0], "mean": mean_D, "unit_mean": mean_D / mean_D.norm()}
        np.testing.assert_allclose(found_D, expected[pooling].numpy(), atol=1e-5)
    assert found_ND.shape[1] == embedding_size(ModelSource(tmp_path))


def test_an_embedder_of_responses_does_not_see_the_prompt(tmp_path: Path) -> None:
    other: list[Message] = [{"role": "user", "content": "The quick brown fox?"}]
    folder = tiny.save_classifier(tmp_path, "llama")
    responses, conversations = load(folder, "mean", "response"), load(folder, "mean")
    np.testing.assert_array_equal(embed(responses), embed(responses, other))
    assert not np.allclose(embed(conversations), embed(conversations, other), atol=1e-3)
    (tokenizer,) = {scorer.model.conversations for scorer in responses.scorers}
    pairs = tokenizer.tokenize_pairs([PROMPT], chosen=ANSWERS[:1], rejected=[None])
    assert tokenizer.tokenizer.decode(pairs.chosen_ids[0], skip_special_tokens=True) == "Please ask."


@pytest.mark.parametrize("reads", ["conversation", "response"])
def test_fitted_heads_score_what_they_were_fitted_to(tmp_path: Path, reads: Reads) -> None:
    source = tiny.save_classifier(tmp_path / "source", "llama")
    rng = np.random.default_rng(0)
    weight_KD, bias_K = rng.normal(size=(2, 32)), rng.normal(size=2)
    saved = save_fitted(
        tmp_path / "fitted",
        backbone=ModelSource(source),
        weight_KD=weight_KD,
        bias_K=bias_K,
        rules=RULES,
        pooling="unit_mean",
        reads=reads,
    )
    linear_NK = embed(load(source, "unit_mean", reads)) @ weight_KD.T + bias_K
    model = load_model(tmp_path / "fitted", device="cpu")
    assert model.rules == saved
    assert (saved[0].scale, saved[0].out_of_range, saved[1]) == (Scale(1.0, 5.0), "clip", RULES[1])
    pairs = model.conversations.tokenize_pairs([PROMPT] * 3, chosen=ANSWERS, rejected=[None] * 3)
    scores_NK = PairScorer(model).score(pairs)[:, 0]
    np.testing.assert_allclose(scores_NK[:, 0], linear_NK[:, 0], atol=1e-4)
    np.testing.assert_allclose(scores_NK[:, 1], 1 / (1 + np.exp(-linear_NK[:, 1])), atol=1e-4)


def test_a_fit_over_another_leaves_nothing_of_it(tmp_path: Path) -> None:
    first, second = (tiny.save_classifier(tmp_path / family, family) for family in ("llama", "qwen2"))
    (first / "vocab.txt").write_text("of a tokenizer of another kind")
    (second / "fit.json").write_text("{}")  # a backbone with heads of its own
    heads = {"weight_KD": np.ones((2, 32)), "bias_K": np.zeros(2), "rules": RULES}
    save_fitted(tmp_path / "fitted", backbone=ModelSource(first), **heads, pooling="last", reads="conversation")
    (tmp_path / "fitted" / "model-00001-of-00002.safetensors").write_bytes(b"a shard of before")
    for name in ("notes.md", "settings.json"):
        (tmp_path / "fitted" / name).write_text("mine")
    model = ModelSource(second)
    stale = backbone_files(ModelSource(first))
    assert "vocab.txt" in stale
    save_fitted(tmp_path / "fitted", backbone=model, **heads, pooling="last", reads="conversation", stale=stale)
    names = {path.name for path in (tmp_path / "fitted").iterdir()}
    own = {"heads.safetensors", "encore.json", "rules.yaml", "notes.md", "settings.json"}
    assert names == own | {path.name for path in second.iterdir()} - {"fit.json"}
    assert load_model(tmp_path / "fitted", device="cpu").backbone.config.model_type == "qwen2"


def test_deleting_a_model_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    folder = tiny.save_own_form(tmp_path / "model", "llama", pooling="last")
    names = [path.name for path in folder.iterdir()]
    for name in ("model-00001-of-00002.safetensors", "settings.json", "notes.txt"):
        (folder / name).write_text("")
    (tmp_path / "other").write_text("")
    delete_model(folder, [*names, "never-there.json", "../other"])
    assert {path.name for path in folder.iterdir()} == {"settings.json", "notes.txt"}
    assert (tmp_path / "other").exists()
    delete_model(tmp_path / "nowhere", [])


def test_several_models_in_one_are_no_embedder(tmp_path: Path) -> None:
    members = [tiny.save_classifier(tmp_path / name, "llama") for name in ("a", "b")]
    save_ensemble(tmp_path / "both", members=members, rules=tiny.RULES)
    with pytest.raises(ModelError, match="has 2 members"):
        load(tmp_path / "both", "mean")
