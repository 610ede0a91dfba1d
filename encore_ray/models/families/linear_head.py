"""Linear heads on the last token, under the names that trainers give them, on any body that transformers knows.

- `value_head` or another name that config.json has as `value_head_prefix`: OpenRLHF. Where it says `normalize_reward`,
  the official model gives (reward - mean) / std, which folds into the layer.
- `v_head.summary`, weight and bias, in the weights or in a `value_head.safetensors` beside them: TRL and LLaMA-Factory.
- `score.0`, `score.2` with ReLU between them: Qwen2.5-Math-RM, INF-ORM; `v_head.summary.0`, `.2` and so on: GRM, whose
  layers may be more than two. No published `score` has three: what would be between those is not known.
- `v_head` alone: InternLM2-Reward and Athene, which read a token of their own behind the conversation.
- `score` with a bias, and `reward_head`, `rm_head`, `regression_head`, `classifier`, where the class in config.json has
  no such head.

What no table here knows is named in an error, never guessed.

Source: github.com/OpenRLHF/OpenRLHF (models/model.py); github.com/huggingface/trl (AutoModelForCausalLMWithValueHead);
github.com/allenai/reward-bench (rewardbench/models: grm.py, inform.py, internlm.py, athene.py).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.models.forward.strategy import strategy_of

NAMES = (
    "score",
    "classifier",
    "value_head",
    "v_head",
    "v_head.summary",
    "reward_head",
    "rm_head",
    "regression_head",
    "regression_layer",
)
# Layers one behind the other with ReLU between them, and how many at most; None: any number. What is between layers is
# not in the files, but known of those who wrote them.
_STACKS: Mapping[str, int | None] = {"score": 2, "v_head.summary": None}
_MOMENTS = frozenset({"mean", "std"})
# The token behind the conversation whose hidden state is the answer's; None: config.json has its id.
_END_TOKENS: Mapping[str, int | None] = {"InternLM2ForRewardModel": None, "AtheneForSequenceClassification": 128003}


@dataclass(frozen=True)
class Stack:
    """Linear layers that follow each other: (weight, bias or None) of each, by the names of their tensors."""

    name: str
    layers: tuple[tuple[str, str | None], ...]

    @property
    def tensors(self) -> frozenset[str]:
        return frozenset(name for layer in self.layers for name in layer if name is not None)


class LinearHeadModels(Family):
    """Known by a head that transformers' own class for the model does not have."""

    def has(self, folder: ModelFolder) -> bool:
        if not folder.tensors or folder.config.is_encoder_decoder or not _stack_names(folder, folder.tensors):
            return False
        return bool(_moments(folder)) or not _is_classifier(folder)

    def open(self, folder: ModelFolder) -> Opened:
        folder.refuse_steps()
        stacks = find_stacks(folder, folder.account(AutoModel).left)
        if len(stacks) != 1:
            found = ", ".join(stack.name for stack in stacks) or "none"
            raise folder.refuse("one head on the last token", f"{found} of {', '.join(NAMES)}")
        stack = stacks[0]
        most = _STACKS.get(stack.name)
        if most is not None and len(stack.layers) > most:
            names = ", ".join(weight for weight, _ in stack.layers)
            raise folder.refuse(f"at most {most} layers of {stack.name}, between which others have ReLU", names)
        strategy = strategy_of(folder.config, trust_remote_code=folder.source.trust_remote_code)
        if strategy.strategy == "packed":
            raise folder.refuse(f"a causal model below the head {stack.name}", "one that looks both ways")
        last_shape = folder.shapes[stack.layers[-1][0]]
        num_heads = last_shape[0] if last_shape else len(folder.read(stack.layers[-1][0]))
        labels = folder.stated.get("id2label") or {}
        if len(labels) != num_heads:
            labels = {k: "reward" if num_heads == 1 else f"reward_{k + 1}" for k in range(num_heads)}
        return Opened(
            tuple(Head(str(label)) for label in labels.values()),
            partial(_load, folder, stack),
            reads=stack.tensors | (_MOMENTS if _moments(folder) else frozenset()),
            ends_with=_end_token(folder),
            note=_stack_note(stack),
        )


def _stack_note(stack: Stack) -> str | None:
    if len(stack.layers) == 1:
        return None
    return (
        f"its head is {len(stack.layers)} layers ({stack.name}) with ReLU between them, as published ones of that name"
    )


def find_stacks(folder: ModelFolder, left: Collection[str]) -> list[Stack]:
    """The heads of known names among tensors, those whose layers fit each other and the body."""
    stacks = [_stack(name, left) for name in _stack_names(folder, left)]
    return [stack for stack in stacks if _fits(folder, stack)]


def _stack_names(folder: ModelFolder, names: Collection[str]) -> list[str]:
    own = folder.stated.get("value_head_prefix")
    known = dict.fromkeys((*NAMES, own) if isinstance(own, str) and own else NAMES)
    return [name for name in known if f"{name}.weight" in names or (name in _STACKS and f"{name}.0.weight" in names)]


def _stack(name: str, left: Collection[str]) -> Stack:
    def layer(stem: str) -> tuple[str, str | None]:
        return f"{stem}.weight", f"{stem}.bias" if f"{stem}.bias" in left else None

    if f"{name}.weight" in left:
        return Stack(name, (layer(name),))
    pattern = re.compile(rf"{re.escape(name)}\.(\d+)\.weight")
    places = sorted(int(found[1]) for found in map(pattern.fullmatch, left) if found)
    return Stack(name, tuple(layer(f"{name}.{place}") for place in places))


def _fits(folder: ModelFolder, stack: Stack) -> bool:
    width = folder.hidden_size
    for place, (weight, _) in enumerate(stack.layers):
        shape = folder.shapes[weight]
        if shape is None:
            return True  # in a pickle: seen when it is read
        if len(shape) != 2 or shape[1] != width:
            return False
        if len(stack.layers) > 1 and not weight.endswith(f".{2 * place}.weight"):
            return False
        width = shape[0]
    return bool(stack.layers)


def _is_classifier(folder: ModelFolder) -> bool:
    """Whether transformers' classifier for the configuration takes every tensor, or lacks what no head here gives."""
    if type(folder.config) not in AutoModelForSequenceClassification._model_mapping:
        return False
    account = folder.account(AutoModelForSequenceClassification)
    heads = tuple(f"{name}." for name in _stack_names(folder, folder.tensors))
    return not account.missing and not account.beside() and not any(name.startswith(heads) for name in account.left)


def _moments(folder: ModelFolder) -> tuple[float, float] | None:
    """Mean and standard deviation that rewards are normalised by, where the configuration says that they are."""
    if not folder.stated.get("normalize_reward"):
        return None
    found = []
    for name, default in (("mean", 0.0), ("std", 1.0)):
        value = folder.stated.get(name)
        if name in folder.tensors:
            value = folder.read(name).double().flatten().tolist()
            value = value[0] if len(value) == 1 else value
        value = default if value is None else value
        if not isinstance(value, int | float):
            raise folder.refuse(f"one {name} of its rewards", f"{value}")
        found.append(float(value))
    return (found[0], found[1]) if found != [0.0, 1.0] else None


def _end_token(folder: ModelFolder) -> int | None:
    kind = next((kind for kind in folder.config.architectures or () if kind in _END_TOKENS), None)
    if kind is None:
        return None
    token = _END_TOKENS[kind]
    token = folder.stated.get("reward_token_id") if token is None else token
    if not isinstance(token, int):
        raise folder.refuse("reward_token_id in config.json, the token that is read", "none")
    return token


def _load(folder: ModelFolder, stack: Stack, dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
    layers: list[nn.Module] = []
    for weight, bias in stack.layers:
        weight_OD = folder.read(weight).to(torch.float64)
        bias_O = weight_OD.new_zeros(len(weight_OD)) if bias is None else folder.read(bias).to(torch.float64)
        if layers:
            layers.append(nn.ReLU())
        layers.append(_linear(weight_OD, bias_O, None if weight != stack.layers[-1][0] else _moments(folder)))
    return folder.load_body(dtype), PooledHeads(
        layers[0] if len(layers) == 1 else nn.Sequential(*layers), pooling="last"
    )


def _linear(weight_OD: Tensor, bias_O: Tensor, moments: tuple[float, float] | None) -> LinearHeads:
    """A float32 layer; with moments, one that normalises what it gives."""
    if moments is not None:
        mean, std = moments
        weight_OD, bias_O = weight_OD / std, (bias_O - mean) / std
    return LinearHeads(weight_OD.to(torch.float32), bias_O.to(torch.float32))
