"""Training objectives: targets, losses (regression, Bradley-Terry, multi-label), and figures on held-out rows.

A row is a pair, a single response, or the text of a rule adapter; its targets lie in an array [N, 2, K], one place a
side and rule, NaN where there is nothing to learn:

| objective               | target                                       | loss of a target                            |
|-------------------------|----------------------------------------------|---------------------------------------------|
| regression              | rating of either side, [0, 1] on its scale   | (output - target)^2                         |
| bradley-terry           | 1 or -1 on the first side, one head          | log(1 + exp(-target * (chosen - rejected))) |
| multihead-bradley-terry | the same for each rule                       | the same                                    |
| multilabel              | 1 or 0 on the first side                     | cross-entropy of a sigmoid                  |

Source: ENCORE, arXiv 2503.20995 (regression); RuleAdapter, arXiv 2501.15453 (the others).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from encore_ray.models.forward.heads import LinearHeads
from encore_ray.models.spec.training import Objective, is_pairwise
from encore_ray.rules import RuleSet

# What is added up over held-out rows, for each rule.
_SUMS = ("num", "loss", "total", "square", "right", "ties", "hits", "found", "true")


@torch.no_grad()
def into_rule_units(heads: LinearHeads, rules: RuleSet) -> None:
    """Let heads that give [0, 1] give ratings on each rule's range."""
    width_K = torch.tensor([rule.scale.width for rule in rules])
    heads.weight.mul_(width_K[:, None])
    heads.bias.mul_(width_K).add_(torch.tensor([rule.scale.lo for rule in rules]))


@torch.no_grad()
def out_of_rule_units(heads: LinearHeads, rules: RuleSet) -> None:
    """The inverse of `into_rule_units`."""
    width_K = torch.tensor([rule.scale.width for rule in rules])
    heads.bias.sub_(torch.tensor([rule.scale.lo for rule in rules])).div_(width_K)
    heads.weight.div_(width_K[:, None])


def summed_loss(raw_N2K: Tensor, target_N2K: Tensor, *, objective: Objective) -> Tensor:
    """The loss of each rule, float32 [K], summed over the targets of N rows.

    Args:
        raw_N2K: outputs of the heads, float32; where a row has no second side, any finite number.
        target_N2K: as above, float32.
        objective: which loss.
    """
    assert raw_N2K.shape == target_N2K.shape, (raw_N2K.shape, target_N2K.shape)
    present_N2K = ~target_N2K.isnan()
    target_N2K = target_N2K.masked_fill(~present_N2K, 0.0)
    if is_pairwise(objective):
        margin_NK = raw_N2K[:, 0] - raw_N2K[:, 1]
        return (softplus(-target_N2K[:, 0] * margin_NK) * present_N2K[:, 0]).sum(dim=0)
    if objective == "multilabel":
        losses_N2K = binary_cross_entropy_with_logits(raw_N2K, target_N2K, reduction="none")
    else:
        losses_N2K = (raw_N2K - target_N2K) ** 2
    return (losses_N2K * present_N2K).sum(dim=(0, 1))


@dataclass(frozen=True, eq=False)
class EvaluationSums:
    """Outputs against targets, summed over held-out rows; parts of a corpus merge with ``+``.

    Attributes:
        sums: by name, float64 [K]: targets; loss; targets and their squares; pairs on the right side of the margin;
            margins of zero; labels that were said and are true, that were said, that are true.
        low_K, high_K: the smallest and the largest output.
    """

    sums: Mapping[str, NDArray[np.float64]]
    low_K: NDArray[np.float64]
    high_K: NDArray[np.float64]

    @classmethod
    def none(cls, num_rules: int) -> "EvaluationSums":
        ends = (np.full(num_rules, end) for end in (np.inf, -np.inf))
        return cls({name: np.zeros(num_rules) for name in _SUMS}, *ends)

    @classmethod
    def of(cls, raw_N2K: Tensor, target_N2K: Tensor, *, objective: Objective) -> "EvaluationSums":
        """Of N rows, one at least; arguments as of `summed_loss`."""
        loss_K = summed_loss(raw_N2K, target_N2K, objective=objective)
        raw, target = (x_N2K.detach().cpu().double().numpy() for x_N2K in (raw_N2K, target_N2K))
        present = ~np.isnan(target)
        target = np.where(present, target, 0.0)
        with np.errstate(invalid="ignore"):  # inf - inf
            margin_NK = (raw[:, 0] - raw[:, 1]) * target[:, 0]
        said = present & (raw > 0)
        sides = (0, 1)
        sums = {
            "num": present.sum(axis=sides),
            "loss": loss_K.detach().cpu().double().numpy(),
            "total": target.sum(axis=sides),
            "square": (target**2).sum(axis=sides),
            "right": (margin_NK > 0).sum(axis=0),
            "ties": (present[:, 0] & (margin_NK == 0)).sum(axis=0),
            "hits": (said & (target == 1)).sum(axis=sides),
            "found": said.sum(axis=sides),
            "true": (target == 1).sum(axis=sides),
        }
        return cls(
            {name: np.asarray(sums[name], dtype=np.float64) for name in _SUMS},
            raw.min(axis=sides),
            raw.max(axis=sides),
        )

    def __add__(self, other: "EvaluationSums") -> "EvaluationSums":
        return EvaluationSums(
            {name: self.sums[name] + other.sums[name] for name in _SUMS},
            np.minimum(self.low_K, other.low_K),
            np.maximum(self.high_K, other.high_K),
        )

    def to_array(self) -> NDArray[np.float64]:
        """All sums as rows of one array, to be added up over workers; the ends are the last two."""
        return np.stack([*(self.sums[name] for name in _SUMS), self.low_K, self.high_K])

    @classmethod
    def from_array(cls, rows: NDArray[np.float64]) -> "EvaluationSums":
        return cls(dict(zip(_SUMS, rows, strict=False)), rows[-2], rows[-1])

    def figures(self, objective: Objective, names: list[str]) -> dict[str, Any]:
        """What is reported: loss over all targets, a figure of merit, and the same of each rule.

        The merit is the mean R2 of a regression, the mean accuracy of pairs (a tie is half a win), the macro F1 of
        labels (said where their probability is over 1/2); None where no rule has what it takes.
        """
        sums = self.sums
        num_K = np.maximum(sums["num"], 1)
        key, merit_K = self._merit(objective, num_K)
        known = merit_K[~np.isnan(merit_K)]
        rules = {
            name: {
                "num": int(sums["num"][k]),
                "loss": float(sums["loss"][k] / num_K[k]),
                key: None if np.isnan(merit_K[k]) else float(merit_K[k]),
            }
            for k, name in enumerate(names)
        }
        return {
            "num": int(sums["num"].sum()),
            "loss": float(sums["loss"].sum() / max(sums["num"].sum(), 1)),
            key: float(known.mean()) if len(known) else None,
            "rules": rules,
        }

    def _merit(self, objective: Objective, num_K: NDArray[np.float64]) -> tuple[str, NDArray[np.float64]]:
        sums = self.sums
        with np.errstate(divide="ignore", invalid="ignore"):
            if is_pairwise(objective):
                right_K = (sums["right"] + sums["ties"] / 2) / sums["num"]
                return "accuracy", right_K
            if objective == "multilabel":
                said_K = sums["found"] + sums["true"]  # a label that is neither said nor true has no F1
                return "f1", np.where(said_K > 0, 2 * sums["hits"] / said_K, np.nan)
            spread_K = sums["square"] - sums["total"] ** 2 / num_K
            return "r2", np.where(spread_K > 1e-12 * num_K, 1 - sums["loss"] / spread_K, np.nan)


def rank(figures: Mapping[str, Any], objective: Objective) -> tuple[float, ...]:
    """By which evaluations are compared, the higher the better.

    The held-out loss; of a rule adapter macro F1 as in its paper, and the loss between equals.
    """
    loss = -float(figures["loss"])
    return (float(figures["f1"] or 0.0), loss) if objective == "multilabel" else (loss,)
