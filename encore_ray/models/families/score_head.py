"""Score models of Safe RLHF (the Beaver reward and cost): a `score_head` on any backbone.

The score is the output field `end_scores`: `score_head` (weight [score_dim, D], a bias where the file has one) on the
hidden state of the last real token. Where config.json says `do_normalize`, the official model then normalises it:
a reward as (score - mean) / (std + 1e-8), a cost as score / (std + 1e-8), a critic not at all; with mean and variance
of the weights' `normalizer`, else of config.json. All of it is linear and folds into one layer.

Source: github.com/PKU-Alignment/safe-rlhf (models/score_model, models/normalizer.py), as RewardBench has it
(rewardbench/models/beaver.py); Safe RLHF, arXiv 2310.12773: a higher cost means a more harmful response. Its tokenizers
have no chat template: conversations are written as for its training (datasets/preference.py), every answer followed
by the end of sequence.
"""

from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.rules import HigherIs

WEIGHT, BIAS, MEAN, VARIANCE = "score_head.weight", "score_head.bias", "normalizer.mean", "normalizer.var"

CHAT_TEMPLATE = (
    "{{ 'BEGINNING OF CONVERSATION: ' }}{% for m in messages %}"
    "{% if m.role != ['user', 'assistant'][loop.index0 % 2] %}"
    "{{ raise_exception('turns must alternate between user and assistant') }}{% endif %}"
    "{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ASSISTANT:' }}"
    "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)

_EPSILON = 1e-8
_HIGHER_IS: dict[str, HigherIs] = {"reward": "better", "cost": "worse"}


class ScoreHeadModels(Family):
    """Score models of Safe RLHF: known by the tensor score_head.weight."""

    architectures = ("LlamaModelForScore", "LlamaForScore")

    def has(self, folder: ModelFolder) -> bool:
        return WEIGHT in folder.tensors

    def open(self, folder: ModelFolder) -> Opened:
        weight_OD, bias_O = _fold(folder)
        kind = getattr(folder.config, "score_type", None)
        label = kind or "score"
        labels = [label] if len(weight_OD) == 1 else [f"{label}_{o + 1}" for o in range(len(weight_OD))]
        heads = tuple(Head(name, higher_is=_HIGHER_IS.get(label)) for name in labels)
        return Opened(
            heads,
            partial(_load, folder, weight_OD, bias_O),
            chat_template=CHAT_TEMPLATE,
            reads=frozenset({WEIGHT, BIAS}),
            adds_bos=True,  # its training tokenised texts, as the tokenizer does by itself
            idle=(r"^normalizer\.(mean|var|count)$",),  # read where config.json says do_normalize
        )


def _load(
    folder: ModelFolder, weight_OD: Tensor, bias_O: Tensor, dtype: torch.dtype
) -> tuple[PreTrainedModel, nn.Module]:
    return folder.load_body(dtype), PooledHeads(LinearHeads(weight_OD, bias_O), pooling="last")


def _fold(folder: ModelFolder) -> tuple[Tensor, Tensor]:
    """Weight [O, D] and bias [O] of the one linear layer, float32, that gives the scores."""
    weight_OD = folder.read(WEIGHT).to(torch.float64)
    bias_O = folder.read(BIAS).to(torch.float64) if BIAS in folder.tensors else weight_OD.new_zeros(len(weight_OD))
    if weight_OD.shape != (len(bias_O), folder.hidden_size):
        raise folder.refuse(f"{WEIGHT} [{len(bias_O)}, {folder.hidden_size}]", f"{list(weight_OD.shape)}")
    if getattr(folder.config, "do_normalize", False):
        shift_O, scale_O = _normaliser(folder, bias_O)
        weight_OD, bias_O = weight_OD / scale_O.unsqueeze(1), (bias_O - shift_O) / scale_O
    return weight_OD.to(torch.float32), bias_O.to(torch.float32)


def _normaliser(folder: ModelFolder, like_O: Tensor) -> tuple[Tensor, Tensor]:
    """What is subtracted from a score and what it is divided by."""
    kind = getattr(folder.config, "score_type", "reward")
    if kind not in ("reward", "cost", "critic"):
        raise folder.refuse("score_type reward, cost or critic", repr(kind))
    mean_O = _moment(folder, MEAN, "mean", like_O, default=0.0)
    scale_O = _moment(folder, VARIANCE, "var", like_O, default=1.0).sqrt() + _EPSILON
    shifted, scaled = kind == "reward", kind != "critic"
    return mean_O if shifted else torch.zeros_like(mean_O), scale_O if scaled else torch.ones_like(scale_O)


def _moment(folder: ModelFolder, tensor: str, key: str, like_O: Tensor, *, default: float) -> Tensor:
    if tensor in folder.tensors:
        moment_O = folder.read(tensor).to(torch.float64)
    else:
        stated = getattr(folder.config, key, None)
        moment_O = torch.full_like(like_O, default) if stated is None else torch.tensor(stated, dtype=torch.float64)
    if moment_O.shape != like_O.shape:
        raise folder.refuse(f"a normaliser with {len(like_O)} values of {key}", f"{list(moment_O.shape)}")
    return moment_O
