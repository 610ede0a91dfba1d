"""LDL: a distribution over ten levels for each objective, under a gate that mixes them into one reward.

The heads are a network on the last real token's hidden state: linear layers with LeakyReLU between them, the outputs
[objectives * 10], and a softmax over each ten. The score of an objective is its expected level, with the levels evenly
from 0 to 1: so weighted by the gate, which is not read here, the objectives give the model's own `score`.

Source: ShikaiChen/LDL-Reward-Gemma-2-27B-v0.1 and its forward in RewardBench (rewardbench/models/ldlreward.py). The
network lies beside the body in `regression_layer.pt`, float32, a pickle. The authors do not name the 22 objectives.
"""

from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import PooledHeads
from encore_ray.models.spec.files import LABEL_DISTRIBUTION_FILE as FILE

NUM_LEVELS = 10
_NUM_OUTPUTS = 220  # the official default where config.json does not say


class ExpectedLevels(nn.Module):
    """Pooled hidden states [S, D] to the expected level of each objective [S, K], float32, in [0, 1].

    Attributes:
        network: to K * 10 logits.
        level_L: the ten levels.
    """

    level_L: Tensor

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.register_buffer("level_L", torch.linspace(0, 1, NUM_LEVELS))

    def forward(self, pooled_SD: Tensor) -> Tensor:
        logits_SKL = self.network(pooled_SD).unflatten(1, (-1, NUM_LEVELS))
        # A product and a sum, not a matrix product: TF32 may be on.
        return (logits_SKL.softmax(dim=-1) * self.level_L).sum(dim=-1)


class LabelDistributionModels(Family):
    """LDL: known by the file regression_layer.pt, which holds its heads and nothing else does."""

    def has(self, folder: ModelFolder) -> bool:
        return (folder.path / FILE).exists()

    def open(self, folder: ModelFolder) -> Opened:
        num_outputs = getattr(folder.config, "num_objectives", _NUM_OUTPUTS)
        if num_outputs % NUM_LEVELS:
            raise folder.refuse(f"a multiple of {NUM_LEVELS} levels", f"num_objectives {num_outputs}")
        heads = tuple(Head(f"objective_{k + 1}", scale=(0, 1)) for k in range(num_outputs // NUM_LEVELS))
        return Opened(heads, partial(_load, folder, num_outputs), template="chat")


def _load(folder: ModelFolder, num_outputs: int, dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
    network = _network(folder, num_outputs)
    return folder.load_body(dtype), PooledHeads(ExpectedLevels(network), pooling="last")


def _network(folder: ModelFolder, num_outputs: int) -> nn.Sequential:
    """The network of the file, in float32; every second module of the original has no weights."""
    tensors = folder.read_pickle(folder.path / FILE)
    count = len(tensors) // 2
    names = [f"network.{2 * i}.{kind}" for i in range(count) for kind in ("weight", "bias")]
    if not count or set(names) != set(tensors):
        raise folder.refuse(f"linear layers network.0, network.2 and so on in {FILE}", f"{sorted(tensors)}")
    layers: list[nn.Module] = []
    width = folder.hidden_size
    for weight, bias in ((tensors[names[2 * i]], tensors[names[2 * i + 1]]) for i in range(count)):
        if weight.shape != (len(bias), width):
            raise folder.refuse(f"layers that follow each other, [{len(bias)}, {width}]", f"{list(weight.shape)}")
        linear = nn.Linear(width, len(bias))
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [linear, nn.LeakyReLU()]
        width = len(bias)
    if width != num_outputs:
        raise folder.refuse(f"{num_outputs} outputs", f"{width}")
    return nn.Sequential(*layers[:-1])
