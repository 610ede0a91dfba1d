"""What the last layer computes: all keys and values, and of the rest only what the heads read."""

import pytest
import torch
from torch import nn

from encore_ray.models.forward.scorer import PairScorer
from tests.models.architectures import ARCHITECTURES, TREES, backbone, forked_pairs, in_sd, reference, with_heads


class Slots:
    """How many token slots went through each linear layer of a layer, forward by forward."""

    def __init__(self, layer):
        self.seen = []
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_hook(lambda _module, inputs, _output: self.seen.append(inputs[0].shape[-2]))


def layers(model):
    num_layers = model.backbone.config.num_hidden_layers
    return next(m for m in model.backbone.modules() if isinstance(m, nn.ModuleList) and len(m) == num_layers)


@pytest.mark.parametrize("name", [name for name in TREES if name not in ("gpt2", "mixtral")])  # not all nn.Linear
def test_the_last_layer_runs_on_the_tokens_that_are_read(name):
    model = with_heads(backbone(ARCHITECTURES[name].config))
    scorer = PairScorer(model, strategy="tree", batch_tokens=10_000)
    first, last = (Slots(layer) for layer in (layers(model)[0], layers(model)[-1]))
    plan = scorer.plan(forked_pairs())
    (batch,) = plan.batches
    scorer.run(plan)
    num_slots, num_read = batch.inputs["input_ids"].shape[1], len(batch.sequences)
    assert num_read < num_slots
    assert set(first.seen) == {num_slots}
    assert set(last.seen) == {num_slots, num_read}
    assert last.seen.count(num_read) == len(first.seen)  # the whole layer
    assert last.seen.count(num_slots) <= 3  # queries, keys and values


def test_mean_pooling_reads_all_tokens():
    model = with_heads(backbone(ARCHITECTURES["llama"].config), pooling="mean")
    scorer = PairScorer(model, strategy="tree", batch_tokens=10_000)
    last = Slots(layers(model)[-1])
    plan = scorer.plan(forked_pairs())
    scorer.run(plan)
    assert set(last.seen) == {plan.batches[0].inputs["input_ids"].shape[1]}


def test_a_model_made_twice_of_one_body_is_narrowed_once():
    body = backbone(ARCHITECTURES["llama"].config)
    model = with_heads(body)
    again = type(model)(
        model.backbone, heads=model.heads, rules=model.rules, conversations=model.conversations, dtype=torch.float32
    )
    pairs = forked_pairs()
    assert in_sd(PairScorer(again, strategy="tree").score(pairs), reference(body, again, pairs)) <= 1e-5


def test_what_fills_up_a_row_moves_no_score(monkeypatch):
    body = backbone(ARCHITECTURES["mistral-window"].config)
    model = with_heads(body)
    pairs = forked_pairs()
    for multiple in (1, 256):
        monkeypatch.setattr("encore_ray.models.forward.scorer._SLOTS_CPU", multiple)
        plan = PairScorer(model, strategy="tree", batch_tokens=10_000).plan(pairs)
        assert plan.num_computed % multiple == 0
        assert in_sd(PairScorer(model, strategy="tree").run(plan), reference(body, model, pairs)) <= 1e-5
