"""ArmoRM and QRM: linear objectives under a gate that mixes them into one reward.

Both are written for remote code that is not run here: the mixture is our own business, the objectives are the rules.

- ArmoRM (RLHFlow/ArmoRM-Llama3-8B-v0.1): `regression_layer.weight` [objectives, D], no bias. The score of an objective
  is the output field `rewards`: the layer on the last real token's hidden state, before `reward_transform_matrix`.
- QRM (nicolinho/QRM-*): `regression_layer.weight` [objectives * quantiles, D], the quantiles of an objective side by
  side. The score is the output field `rewards`: the mean over quantiles, then times `reward_transform_matrix` where
  the checkpoint has one (Llama; the Gemma models do not). Both are linear, so they fold into one layer.

Source: ArmoRM, arXiv 2406.12845, and the model's modeling_custom.py; QRM, arXiv 2409.10164, and the forward that
its author contributed to RewardBench (rewardbench/models/qrm.py). The names of the objectives are those of the model
cards; their scale is not stated there for all of them.
"""

from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, PooledHeads

WEIGHT, TRANSFORM = "regression_layer.weight", "reward_transform_matrix"

_HELPSTEER = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
)
_OBJECTIVES = {
    5: _HELPSTEER,
    19: (
        *_HELPSTEER,
        "ultrafeedback-overall_score",
        "ultrafeedback-instruction_following",
        "ultrafeedback-truthfulness",
        "ultrafeedback-honesty",
        "ultrafeedback-helpfulness",
        "beavertails-is_safe",
        "prometheus-score",
        "argilla-overall_quality",
        "argilla-judge_lm",
        "code-complexity",
        "code-style",
        "code-explanation",
        "code-instruction-following",
        "code-readability",
    ),
}


class RegressionLayerModels(Family):
    """ArmoRM and QRM: known by the tensor regression_layer.weight."""

    architectures = ("LlamaForRewardModelWithGating", "Gemma2ForQuantileSequenceClassification")

    def has(self, folder: ModelFolder) -> bool:
        return WEIGHT in folder.tensors

    def open(self, folder: ModelFolder) -> Opened:
        weight_KD = _fold(folder)
        num_rules = len(weight_KD)
        labels = _OBJECTIVES.get(num_rules) or tuple(f"objective_{k + 1}" for k in range(num_rules))
        return Opened(
            tuple(map(Head, labels)),
            partial(_load, folder, weight_KD),
            template="chat",
            reads=frozenset({WEIGHT, TRANSFORM}),
            idle=(r"^gating\.",),  # mixes the objectives, which is our own business
        )


def _load(folder: ModelFolder, weight_KD: Tensor, dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
    return folder.load_body(dtype), PooledHeads(LinearHeads(weight_KD, torch.zeros(len(weight_KD))), pooling="last")


def _fold(folder: ModelFolder) -> Tensor:
    """The one linear layer [K, D], float32, that gives the objectives of a checkpoint."""
    weight_OD = folder.read(WEIGHT).to(torch.float64)
    num_objectives = _num_objectives(folder)
    num_quantiles, rest = divmod(len(weight_OD), num_objectives)
    stated = getattr(folder.config, "num_quantiles", None)
    if rest or weight_OD.shape[1:] != (folder.hidden_size,) or stated not in (None, num_quantiles):
        raise folder.refuse(
            f"{WEIGHT} [{num_objectives} objectives * {stated or 'n'} quantiles, {folder.hidden_size}]",
            f"{list(weight_OD.shape)}",
        )
    if stated is None and num_quantiles == 1:
        return weight_OD.to(torch.float32)  # ArmoRM: its rewards are taken before the transform
    if stated is None and num_quantiles == 2:
        raise folder.refuse("num_quantiles in config.json", "two outputs an objective, maybe mean and spread")
    weight_KD = weight_OD.view(num_objectives, num_quantiles, -1).mean(dim=1)
    if TRANSFORM in folder.tensors:
        weight_KD = folder.read(TRANSFORM).to(torch.float64).T @ weight_KD
    return weight_KD.to(torch.float32)


def _num_objectives(folder: ModelFolder) -> int:
    """As many as the gate has outputs; without a gate, as many as config.json names."""
    extra = sorted(name for name in folder.tensors if name.startswith("regression_layer.") and name != WEIGHT)
    if extra:
        raise folder.refuse(f"{WEIGHT} alone", ", ".join(extra))
    stated = getattr(folder.config, "num_objectives", None)
    gates = [name for name in folder.tensors if name.startswith("gating.layers.") and name.endswith(".weight")]
    if not gates:
        if stated is None:
            raise folder.refuse("a gate (gating.layers.*), or num_objectives in config.json", "neither")
        return stated
    last = max(gates, key=lambda name: int(name.split(".")[2]))
    num_objectives = len(folder.read(last))
    if stated not in (None, num_objectives):
        raise folder.refuse(f"as many objectives as {last} has outputs, {num_objectives}", f"num_objectives {stated}")
    return num_objectives
