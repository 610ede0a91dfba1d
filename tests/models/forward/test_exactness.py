"""Every architecture's chosen strategy against transformers' own forward, each conversation by itself."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, LongformerConfig

from encore_ray.errors import ModelError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.forward.selfcheck import check_scorer
from encore_ray.models.forward.strategy import strategy_of
from encore_ray.models.loading.choose_strategy import choose_strategy
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny
from tests.models.architectures import (
    ARCHITECTURES,
    ENCODERS,
    TREES,
    WINDOW,
    backbone,
    forked_pairs,
    in_sd,
    reference,
    with_heads,
)

TOLERANCE_SD = 1e-5
BUDGET = 200  # a few sequences a forward, so that rows are cut too


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request):
    return request.param, backbone(ARCHITECTURES[request.param].config)


def test_float32_scores_equal_one_by_one(architecture):
    name, body = architecture
    pairs = forked_pairs()
    model = with_heads(body)
    choice = strategy_of(body.config)
    assert choice.strategy == ARCHITECTURES[name].strategy, choice.reason
    scorer = PairScorer(model, strategy=choice.strategy, batch_tokens=BUDGET)
    plan = scorer.plan(pairs)
    assert len(plan.batches) > 2
    assert in_sd(scorer.run(plan), reference(body, model, pairs)) <= TOLERANCE_SD
    assert check_scorer(scorer, pairs, name=name) <= TOLERANCE_SD


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("name", ["llama", "mistral-window", "bert", "modernbert", "deberta-v2"])
def test_pooling_over_shared_prefixes_equals_one_by_one(name, pooling):
    if pooling == "cls" and name not in ENCODERS:
        name = "gpt2"  # its positions differ even where its first tokens are all that is seen
    body = backbone(ARCHITECTURES[name].config)
    model = with_heads(body, pooling=pooling)
    pairs = forked_pairs(seed=1)
    assert in_sd(PairScorer(model, batch_tokens=BUDGET).score(pairs), reference(body, model, pairs)) <= TOLERANCE_SD


@pytest.mark.parametrize("name", ENCODERS)
def test_a_classification_module_on_packed_states_equals_the_models_own_forward(name, tmp_path):
    folder = tiny.save_classifier(tmp_path, ARCHITECTURES[name].config)
    own = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    strategy = choose_strategy(ModelSource(folder)).strategy
    assert strategy == ARCHITECTURES[name].strategy
    pairs = forked_pairs(seed=2)
    sides = [ids for both in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True) for ids in both]
    with torch.inference_mode():
        expected = np.stack([own(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy() for ids in sides])
    scores = PairScorer(tiny.load(folder), strategy=strategy, batch_tokens=BUDGET).score(pairs)
    assert in_sd(scores, expected.reshape(len(pairs), 2, -1)) <= TOLERANCE_SD


def test_a_classification_module_that_cannot_be_run_on_given_states_is_refused(tmp_path):
    # Longformer pads by itself and asks for the ids' own padding.
    folder = tiny.save_classifier(
        tmp_path,
        LongformerConfig(
            vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48,
            attention_window=8, pad_token_id=2, num_labels=3,
        ),
    )  # fmt: skip
    with pytest.raises(ModelError, match="LongformerForSequenceClassification does not classify from the hidden"):
        tiny.load(folder)


@pytest.mark.parametrize("name", [*TREES, "bert", "modernbert"])
def test_bfloat16_scores_are_as_near_as_bfloat16_allows(name):
    body = backbone(ARCHITECTURES[name].config)
    model = with_heads(body, dtype=torch.bfloat16)
    pairs = forked_pairs(24, seed=3)
    scores = PairScorer(model, strategy=ARCHITECTURES[name].strategy, batch_tokens=BUDGET).score(pairs)
    expected = reference(body.to(torch.bfloat16), model, pairs)
    sd_K = expected.std(axis=(0, 1))
    assert (np.sqrt(((scores - expected) ** 2).mean(axis=(0, 1))) <= 0.1 * sd_K).all()
    margin_NK, expected_NK = (x[:, 0] - x[:, 1] for x in (scores, expected))
    flipped_NK = np.sign(margin_NK) != np.sign(expected_NK)
    assert (np.abs(expected_NK) <= 0.1 * sd_K)[flipped_NK].all()


@pytest.mark.parametrize("name", ["mistral-window", "qwen2-window", "gemma3", "modernbert"])
def test_the_windows_of_these_tests_decide_scores(name):
    # Else a window that is left out would go unnoticed above.
    config = ARCHITECTURES[name].config
    wide = type(config).from_dict({**config.to_dict(), "sliding_window": 400, "local_attention": 800})
    pairs = forked_pairs()
    assert max(map(len, pairs.chosen_ids)) > 2 * WINDOW
    narrow, open_ = (with_heads(backbone(c)) for c in (config, wide))
    budget = {"batch_tokens": BUDGET}
    assert in_sd(PairScorer(open_, **budget).score(pairs), PairScorer(narrow, **budget).score(pairs)) > 0.1


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_dynamic_positions_are_scored_one_by_one_because_a_batch_changes_them(name):
    rope = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    if name == "gemma3":
        rope = {"sliding_attention": rope, "full_attention": rope}
    config = type(ARCHITECTURES[name].config).from_dict(
        {**ARCHITECTURES[name].config.to_dict(), "max_position_embeddings": 32, "rope_parameters": rope}
    )
    body = backbone(config)
    pairs = forked_pairs()
    model = with_heads(body)
    choice = strategy_of(config, max_length=64)
    assert choice.strategy == "one_by_one"
    # The model remembers the longest sequence it has seen; each of these has seen none.
    sides = [ids for both in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True) for ids in both]
    alone = [reference(deepcopy(body), model, tiny.tokenized([ids], [ids]))[0, 0] for ids in sides]
    expected = np.stack(alone).reshape(len(pairs), 2, -1)
    assert in_sd(PairScorer(model, strategy=choice.strategy).score(pairs), expected) <= TOLERANCE_SD
    for faster in ("tree", "padded"):
        assert in_sd(PairScorer(model, strategy=faster).score(pairs), expected) > 100 * TOLERANCE_SD
