"""URM: a mean and a spread for each attribute, under a network that mixes the means into one reward.

`score.weight` [attributes * 2, D], no bias, on the hidden state of the last real token; an attribute's mean and its
spread stand side by side. The score of an attribute is its mean, which is what the model's own reward is made of:
the spread shaped its training and is not read. The mixture, `weights.fc`, is our own business.

Source: LxzGordon/URM-LLaMa-3.1-8B and its forward in SGLang (models/llama_reward.py); Uncertainty-aware Reward Model,
arXiv 2410.00847. Its five attributes are those of HelpSteer2; their scale is not stated.
"""

import re
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, PooledHeads

WEIGHT = "score.weight"

_MIXTURE = r"^weights\.fc\.(\d+)\.(weight|bias)$"
_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


class MeanAndSpreadModels(Family):
    """URM: known by the tensors score.weight and weights.fc.*."""

    architectures = ("LlamaForSequenceClassificationWithNormal_Weights",)

    def has(self, folder: ModelFolder) -> bool:
        return WEIGHT in folder.tensors and bool(_layers(folder))

    def open(self, folder: ModelFolder) -> Opened:
        weight_KD = _means(folder)
        num_rules = len(weight_KD)
        labels = _ATTRIBUTES if num_rules == len(_ATTRIBUTES) else [f"attribute_{k + 1}" for k in range(num_rules)]
        return Opened(
            tuple(map(Head, labels)),
            partial(_load, folder, weight_KD),
            template="chat",
            reads=frozenset({WEIGHT}),
            idle=(_MIXTURE,),
        )


def _load(folder: ModelFolder, weight_KD: Tensor, dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
    return folder.load_body(dtype), PooledHeads(LinearHeads(weight_KD, torch.zeros(len(weight_KD))), pooling="last")


def _means(folder: ModelFolder) -> Tensor:
    """The layer [K, D], float32, that gives the means: as many as the mixture weighs."""
    if not _layers(folder):
        raise folder.refuse("a mixture of the attributes (weights.fc.*)", "none")
    mixture = f"weights.fc.{_layers(folder)[-1]}.weight"
    weight_OD, num_rules = folder.read(WEIGHT), len(folder.read(mixture))
    if weight_OD.shape != (2 * num_rules, folder.hidden_size):
        raise folder.refuse(
            f"{WEIGHT} [2 * {num_rules}, {folder.hidden_size}], a mean and a spread for each output of {mixture}",
            f"{list(weight_OD.shape)}",
        )
    return weight_OD[::2].to(torch.float32)


def _layers(folder: ModelFolder) -> list[int]:
    """Numbers of the mixture's layers in their order."""
    return sorted({int(found[1]) for found in (re.match(_MIXTURE, name) for name in folder.tensors) if found})
