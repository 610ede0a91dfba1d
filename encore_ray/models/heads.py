"""From hidden states to scores: pooling, linear heads and links, all in float32."""

from typing import Literal

import torch
from torch import Tensor, nn

from encore_ray.rules import RuleSet

Pooling = Literal["last", "mean", "cls"]
POOLINGS: tuple[Pooling, ...] = ("last", "mean", "cls")


class LinearHeads(nn.Module):
    """One linear output (or one a level) for each rule, on the pooled hidden state.

    Attributes:
        weight: shape (O, D), float32.
        bias: shape (O,), float32.
    """

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight.to(torch.float32))
        self.bias = nn.Parameter(bias.to(torch.float32))

    def forward(self, pooled_BD: Tensor) -> Tensor:
        return nn.functional.linear(pooled_BD, self.weight, self.bias)


def num_outputs(rules: RuleSet) -> int:
    """How many raw outputs the heads of a rule set have: one a rule, or one a level under `expected_level`."""
    return sum(_num_outputs_by_rule(rules))


def pool(hidden_BTD: Tensor, mask_BT: Tensor, *, pooling: Pooling) -> Tensor:
    """One float32 vector a sequence, from right-padded hidden states.

    The last token is found by the mask, never by searching for a pad token: pad may equal eos, or not exist.

    Args:
        hidden_BTD: hidden states, any float dtype.
        mask_BT: 1 for a real token, 0 for padding; real tokens come first and there is at least one.
        pooling: `last` real token, `mean` over real tokens, or `cls`, the first token.

    Returns:
        Shape (B, D), float32.
    """
    if pooling == "cls":
        return hidden_BTD[:, 0].float()
    length_B = mask_BT.sum(dim=1)
    if pooling == "last":
        return hidden_BTD[torch.arange(len(hidden_BTD), device=hidden_BTD.device), length_B - 1].float()
    masked_BTD = hidden_BTD.float().masked_fill(mask_BT.unsqueeze(-1) == 0, 0.0)
    return masked_BTD.sum(dim=1) / length_B.unsqueeze(-1)


def apply_links(raw_BO: Tensor, rules: RuleSet) -> Tensor:
    """Scores of each rule from the raw outputs of the heads.

    Args:
        raw_BO: float32; outputs in rule order, `expected_level` rules take one a level (softmax, then the mean level).
        rules: K rules with `num_outputs(rules)` = O.

    Returns:
        Shape (B, K), float32.
    """
    assert raw_BO.dtype == torch.float32, raw_BO.dtype
    assert raw_BO.shape[1] == num_outputs(rules), raw_BO.shape
    columns = []
    for rule, raw_BL in zip(rules, raw_BO.split(_num_outputs_by_rule(rules), dim=1), strict=True):
        if rule.link == "expected_level":
            level_L = torch.tensor(rule.scale.levels, dtype=torch.float32, device=raw_BO.device)
            # A product and a sum, not a matrix product: TF32 may be on.
            columns.append((raw_BL.softmax(dim=1) * level_L).sum(dim=1))
        elif rule.link == "sigmoid":
            columns.append(raw_BL[:, 0].sigmoid())
        else:
            columns.append(raw_BL[:, 0])
    return torch.stack(columns, dim=1)


def _num_outputs_by_rule(rules: RuleSet) -> list[int]:
    return [len(rule.scale.levels or ()) if rule.link == "expected_level" else 1 for rule in rules]
