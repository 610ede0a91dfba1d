"""Pooling and links, against arithmetic."""

import math

import pytest
import torch

from encore_ray.models.forward.heads import LinearHeads, Paths, apply_links, num_outputs, pool
from encore_ray.rules import Rule, RuleSet, Scale

LEVELS = Scale(1.0, 3.0, (1.0, 2.0, 3.0))
RULES = RuleSet(
    [
        Rule("plain", "", "better", Scale(0.0, 1.0)),
        Rule("leveled", "", "worse", LEVELS, link="expected_level"),
        Rule("squashed", "", "better", Scale(0.0, 1.0), link="sigmoid"),
    ]
)
HIDDEN = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [float("nan"), 99.0], [99.0, float("inf")]]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("last", [[5.0, 6.0], [7.0, 8.0]]),
        ("mean", [[3.0, 4.0], [7.0, 8.0]]),  # (1 + 3 + 5) / 3, (2 + 4 + 6) / 3
        ("cls", [[1.0, 2.0], [7.0, 8.0]]),
    ],
)
def test_pooling_sees_real_tokens_only(pooling, expected):
    assert pool(HIDDEN.flatten(0, 1), Paths.padded(MASK), pooling=pooling).tolist() == expected


def test_the_mean_of_half_precision_states_is_taken_in_float32():
    # 2049 tokens of 1 and one of 3 in bfloat16: a bfloat16 sum would stop growing at 256.
    hidden = torch.ones(1, 2050, 1, dtype=torch.bfloat16)
    hidden[0, 0, 0] = 3.0
    pooled = pool(hidden[0], Paths.padded(torch.ones(1, 2050, dtype=torch.long)), pooling="mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(2052 / 2050, rel=1e-6)


def test_links_turn_outputs_into_scores():
    # outputs: 1 + 3 levels + 1 = 5. softmax(0, 0, ln 2) = 1/4, 1/4, 1/2: 1/4 + 2/4 + 3/2 = 2.25. sigmoid(ln 3) = 3/4.
    assert num_outputs(RULES) == 5
    scores = apply_links(torch.tensor([[-7.0, 0.0, 0.0, math.log(2), math.log(3)]]), RULES)
    assert scores.dtype == torch.float32
    assert scores[0].tolist() == pytest.approx([-7.0, 2.25, 0.75], rel=1e-6)


def test_an_expected_level_stays_on_the_scale():
    scores = apply_links(torch.tensor([[0.0, 1e4, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1e4, 0.0]]), RULES)
    assert scores[:, 1].tolist() == [1.0, 3.0]


def test_heads_are_float32_whatever_they_are_made_of():
    heads = LinearHeads(torch.ones(2, 3, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.float64))
    assert heads.weight.dtype == heads.bias.dtype == torch.float32
    assert heads(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[6.0, 6.0]]
