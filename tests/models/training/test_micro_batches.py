"""Micro-batches: packed, padded or computed again, gradients are those of one sequence at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import OPTConfig

from encore_ray.models.spec.source import ModelSource
from encore_ray.models.spec.training import OBJECTIVES, Objective
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.models.training.micro_batches import MicroBatches
from encore_ray.models.training.objectives import summed_loss
from encore_ray.models.training.recipe import TrainRecipe
from encore_ray.models.training.workers import Workers
from tests.models import tiny, trainings

# Of the largest gradient: what the order of sums does in float32.
TOLERANCE = 2e-5


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def one_by_one(model, pairs: TokenizedPairs, target_N2K: np.ndarray, *, objective: Objective):
    """The reference: each sequence alone, by transformers' own attention, unpadded."""
    model.zero_grad()
    total = 0.0
    for i, both in enumerate(zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)):
        raw = [
            model(torch.from_numpy(ids[None].astype(np.int64)), torch.ones(1, len(ids), dtype=torch.long))
            for ids in both
            if ids is not None
        ]
        raw_12K = torch.stack([raw[0], raw[-1]], dim=1)
        target_12K = torch.from_numpy(target_N2K[i : i + 1])
        loss = summed_loss(raw_12K, target_12K, objective=objective).sum() / (~np.isnan(target_N2K)).sum()
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= TOLERANCE * largest, name


@pytest.fixture(scope="module", params=["llama", "bert"])
def made(request, tmp_path_factory):
    return trainings.recipe(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_packed_gradients_are_those_of_one_sequence_at_a_time(made, objective, pooling):
    model = trainings.of_objective(made, objective, pooling=pooling).load()
    torch.nn.init.normal_(model.heads.outputs.weight)
    batch = trainings.MemoryRows(objective).batch(np.random.default_rng(3), 8)
    pairs = model.conversations.tokenize_pairs(batch.prompts, chosen=batch.chosen, rejected=batch.rejected)
    expected_loss, expected = one_by_one(model, pairs, batch.target_N2K, objective=objective)
    packed = "tree" if model.backbone.config.model_type == "llama" else "packed"
    assert made.training_strategy == packed
    for strategy, budget in ((packed, 10_000), (packed, 150), ("padded", 10_000), ("padded", 150)):
        micro = MicroBatches(model, strategy=strategy, batch_tokens=budget, workers=Workers())
        assert (len(micro.plan(pairs)) > 1) == (budget == 150)
        model.zero_grad()
        loss = micro.add_gradients(pairs, batch.target_N2K, objective=objective, num=batch.num_targets)
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert_same(gradients(model), expected)


def test_a_prompt_is_computed_once_for_both_responses(made):
    model = made.load()
    batch = trainings.MemoryRows("regression").batch(np.random.default_rng(3), 4)
    pairs = model.conversations.tokenize_pairs(batch.prompts, chosen=batch.chosen, rejected=batch.rejected)
    micro = MicroBatches(model, strategy=made.training_strategy, batch_tokens=10_000, workers=Workers())
    (only,) = micro.plan(pairs)
    assert only.batch.row is not None
    num_shared = sum(only.batch.row.own)
    num_tokens = int(pairs.chosen_tokens.sum() + pairs.rejected_tokens.sum())
    assert len(only.batch.row.ids_T) == num_tokens - num_shared
    assert (num_shared > 0) == (made.training_strategy == "tree")


def test_layers_that_are_computed_again_give_the_same_gradients(made):
    batch = trainings.MemoryRows("regression").batch(np.random.default_rng(3), 4)
    found = []
    for again in (False, True):
        model = replace(made, gradient_checkpointing=again).load()
        torch.manual_seed(0)
        torch.nn.init.normal_(model.heads.outputs.weight)
        pairs = model.conversations.tokenize_pairs(batch.prompts, chosen=batch.chosen, rejected=batch.rejected)
        micro = MicroBatches(model, strategy=made.training_strategy, batch_tokens=10_000, workers=Workers())
        calls = []
        layer = model.backbone.get_submodule(_an_mlp(model))
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        micro.add_gradients(pairs, batch.target_N2K, objective="regression", num=batch.num_targets)
        found.append((gradients(model), len(calls)))
    assert_same(found[1][0], found[0][0])
    assert [calls for _, calls in found] == [1, 2]


def test_layers_that_are_computed_again_drop_out_nothing(tmp_path):
    tok = tiny.tokenizer()
    config = OPTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, vocab_size=len(tok),
        max_position_embeddings=128, word_embed_proj_dim=32, pad_token_id=2, dropout=0.5,
    )  # fmt: skip
    base = tiny.save_classifier(tmp_path, config, tok=tok)
    made = TrainRecipe(ModelSource(base), "regression", trainings.RULES, (0.5, 0.5))
    batch = trainings.MemoryRows("regression").batch(np.random.default_rng(3), 4)
    found = []
    for again in (False, True, True):
        model = replace(made, gradient_checkpointing=again).load()
        torch.nn.init.eye_(model.heads.outputs.weight)
        pairs = model.conversations.tokenize_pairs(batch.prompts, chosen=batch.chosen, rejected=batch.rejected)
        micro = MicroBatches(model, strategy=made.training_strategy, batch_tokens=10_000, workers=Workers())
        loss = micro.add_gradients(pairs, batch.target_N2K, objective="regression", num=batch.num_targets)
        evaluated = micro.evaluate(pairs, batch.target_N2K, objective="regression")
        found.append((loss, evaluated.sums["loss"].tolist(), gradients(model)))
    (loss, evaluated_loss, expected), *others = found
    for other_loss, other_evaluated, other in others:
        assert other_loss == pytest.approx(loss, rel=1e-6)
        assert other_evaluated == evaluated_loss
        assert_same(other, expected)


def _an_mlp(model) -> str:
    names = ("layers.0.mlp", "encoder.layer.0.intermediate")
    return next(name for name in names if any(name == module for module, _ in model.backbone.named_modules()))


def test_a_response_alone_is_evaluated_and_a_missing_one_is_not(made):
    model = made.load()
    pairs = tiny.tokenized([[7, 8, 9], [7, 8]], [None, [9, 9]])
    target_N2K = np.array([[[0.5, np.nan], [np.nan] * 2], [[np.nan] * 2, [np.nan, 0.25]]], dtype=np.float32)
    micro = MicroBatches(model, strategy=made.training_strategy, batch_tokens=64, workers=Workers())
    with torch.no_grad():
        model.heads.outputs.bias.copy_(torch.tensor([0.3, 0.75]))
    evaluated = micro.evaluate(pairs, target_N2K, objective="regression")
    assert evaluated.sums["num"].tolist() == [1, 1]
    assert evaluated.sums["loss"].tolist() == pytest.approx(
        [0.04, 0.25]
    )  # heads of weight 0: (.3 - .5)^2, (.75 - .25)^2
