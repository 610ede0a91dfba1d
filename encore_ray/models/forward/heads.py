"""From hidden states to scores: pooling, linear heads and links, all in float32."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from encore_ray.models.spec.forward import Pooling
from encore_ray.rules import Rule, RuleSet, Scale


@dataclass(frozen=True, eq=False)
class Paths:
    """Which token slots of a forward are the tokens of each of S sequences.

    Sequences that share a prefix share its slots; padding belongs to none.

    Attributes:
        index_SL: int64 [S, L], slots of each sequence in reading order, the rest of the row filled with slot 0.
        length_S: int64 [S], tokens of each sequence, at least one.
    """

    index_SL: Tensor
    length_S: Tensor

    @classmethod
    def padded(cls, mask_BT: Tensor) -> "Paths":
        """Of B right-padded sequences: their slots lie one after the other, T each."""
        index_BT = torch.arange(mask_BT.numel(), device=mask_BT.device).view(mask_BT.shape)
        return cls(index_BT * mask_BT, mask_BT.sum(dim=1))

    @property
    def last_S(self) -> Tensor:
        return self.index_SL.gather(1, self.length_S.unsqueeze(1) - 1).squeeze(1)

    @property
    def mask_SL(self) -> Tensor:
        return torch.arange(self.index_SL.shape[1], device=self.index_SL.device) < self.length_S.unsqueeze(1)

    def to(self, device: torch.device) -> "Paths":
        return Paths(self.index_SL.to(device, non_blocking=True), self.length_S.to(device, non_blocking=True))


class PooledHeads(nn.Module):
    """One float32 vector a sequence, then the raw outputs of all rules.

    Attributes:
        outputs: pooled float32 [S, D] to raw float32 [S, O].
        pooling: which tokens it sees.
    """

    def __init__(self, outputs: nn.Module, *, pooling: Pooling):
        super().__init__()
        self.outputs = outputs
        self.pooling: Pooling = pooling

    def forward(self, hidden_ND: Tensor, paths: Paths) -> Tensor:
        return self.outputs(pool(hidden_ND, paths, pooling=self.pooling))


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


def pool(hidden_ND: Tensor, paths: Paths, *, pooling: Pooling) -> Tensor:
    """One float32 vector a sequence, from the hidden states of N token slots.

    The last token is known by its place, never found by searching for a pad token: pad may equal eos, or not exist.

    Args:
        hidden_ND: hidden states, any float dtype.
        paths: the slots of S sequences.
        pooling: `last` token, `mean` over all tokens, `cls`, the first token, or `unit_mean`, the mean over all tokens
            at length 1, as sentence encoders are made for.

    Returns:
        Shape (S, D), float32.
    """
    if pooling == "cls":
        return hidden_ND[paths.index_SL[:, 0]].float()
    if pooling == "last":
        return hidden_ND[paths.last_S].float()
    masked_SLD = hidden_ND[paths.index_SL].float().masked_fill(~paths.mask_SL.unsqueeze(-1), 0.0)
    mean_SD = masked_SLD.sum(dim=1) / paths.length_S.unsqueeze(-1)
    return nn.functional.normalize(mean_SD, dim=1) if pooling == "unit_mean" else mean_SD


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
    if all(rule.link == "identity" for rule in rules):
        return raw_BO
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


def regressed_rule(rule: Rule) -> Rule:
    """The rule of a head that a regression on its ratings made: it gives values between levels and overshoots."""
    return replace(rule, scale=Scale(rule.scale.lo, rule.scale.hi), link="identity", out_of_range="clip")


def _num_outputs_by_rule(rules: RuleSet) -> list[int]:
    return [len(rule.scale.levels or ()) if rule.link == "expected_level" else 1 for rule in rules]
