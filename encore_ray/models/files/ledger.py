"""A ledger of tensors: which of a checkpoint's a class of transformers takes, and which are left for somebody else.

transformers drops what a class does not know with a line in a log, and makes up what the files lack. Here nothing is
dropped unseen: a tensor is taken by the body, read by the heads, known to decide no score, or the model is refused.
It is done on the meta device, with transformers' own renaming, and reads no weight.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from encore_ray.errors import ModelError
from encore_ray.models.files.foreign import foreign

Shapes = Mapping[str, tuple[int, ...] | None]

# What decides no score, whoever stored it: the vocabulary's side of a model, heads of its pre-training, a pooler that
# the class does not have, and tables that follow from the configuration.
_IDLE = (
    r"^(cls\.(predictions|seq_relationship)|mask_predictions|lm_predictions|generator_(predictions|lm_head))\.",
    r"^(vocab_(transform|layer_norm|projector)|discriminator_predictions|predictions)\.",
    r"(^|\.)pooler\.",
    r"\.inv_freq$",
    r"(^|\.)position_ids$",
    r"\.attn(ention)?\.masked_bias$",
    r"\.num_batches_tracked$",
)
_VOCABULARY = (r"(^|\.)(lm_head|embed_out)\.", r"^output\.weight$")
_LEAST_TOKENS = 8  # a vocabulary of fewer is a head for scores under its name
_MASK = r"\.attn(ention)?\.bias$"  # of GPT-2 and GPT-NeoX: a triangle of ones, four dimensions

_PEFT = re.compile(r"\.(lora_\w+|base_layer|modules_to_save|original_module)(\.|$)")

SHOWN = 8


@dataclass(frozen=True)
class Account:
    """Of one checkpoint under one class.

    Attributes:
        class_name: of the model.
        left: tensors of the files that the class does not take, in order; those that decide no score are not among
            them.
        body_parts: first parts of the names of those that it takes.
        lacks_body: whether a missing weight is one of its body.
        missing: weights of the class that no file has.
        mismatched: name, shape in the files, shape in the class.
    """

    class_name: str
    left: tuple[str, ...]
    body_parts: frozenset[str]
    lacks_body: bool
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def is_whole(self) -> bool:
        """Whether every tensor of the files has a place, and every weight of the class a tensor."""
        return not (self.left or self.missing or self.mismatched)

    @property
    def problems(self) -> list[str]:
        """What the class lacks, a few words each."""
        return [f"{name} is missing" for name in self.missing] + [
            f"{name} has the shape {list(found)}, not {list(expected)}" for name, found, expected in self.mismatched
        ]

    @property
    def is_of_another(self) -> bool:
        """Whether files and configuration seem to be of two models: another shape, or layers that no file has."""
        return bool(self.mismatched) or self.lacks_body

    def beside(self) -> list[str]:
        """Left tensors that are not called like parts of the class: heads, if anything."""
        return [name for name in self.left if name.partition(".")[0] not in self.body_parts]


def keep_account(
    auto_class: Any, folder: Path, config: PretrainedConfig, shapes: Shapes, *, trust_remote_code: bool
) -> Account:
    """Match the tensors of the files with the weights of a class, as its loader would.

    Args:
        auto_class: a transformers auto class.
        folder: of the model, for errors.
        config: of the model; the class is made from it, on the meta device.
        shapes: of all tensors of the files.
        trust_remote_code: whether the class may be the model's own.

    Raises:
        ModelError: the class cannot be made.
    """
    with foreign(folder, "architecture"), torch.device("meta"):
        model: PreTrainedModel = auto_class.from_config(config, trust_remote_code=trust_remote_code)
    expected = model.state_dict()
    with foreign(folder, "weights"):
        mapping = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    prefix = model.base_model_prefix
    taken: set[str] = set()
    left: list[str] = []
    parts: set[str] = set()
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    for name, shape in shapes.items():
        renamed, pattern = rename_source_key(name, renamings, converters, prefix, expected)
        if renamed not in expected and name in expected:
            renamed, pattern = rename_source_key(name, [], [], prefix, expected)
        if renamed not in expected:
            left.append(name)
            continue
        parts.add(name.partition(".")[0])
        if pattern is None:
            taken.add(renamed)
            if shape is not None and shape != tuple(expected[renamed].shape):
                mismatched.append((name, shape, tuple(expected[renamed].shape)))
            continue
        targets = next(each.target_patterns for each in converters if pattern in each.source_patterns)
        taken |= {renamed.replace(targets[0], target) for target in targets}
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    taken |= {target for target, source in tied.items() if source in taken}
    taken |= {source for target, source in tied.items() if target in taken}
    missing = [name for name in set(expected) - taken if not _matches(name, model._keys_to_ignore_on_load_missing)]
    is_body = not any(name.startswith(f"{prefix}.") for name in expected)
    return Account(
        type(model).__name__,
        tuple(name for name in left if not _decides_nothing(name, shapes[name], model)),
        frozenset(parts),
        any(is_body or name.startswith(f"{prefix}.") for name in missing),
        tuple(sorted(missing)),
        tuple(sorted(mismatched)),
    )


def _decides_nothing(name: str, shape: tuple[int, ...] | None, model: PreTrainedModel) -> bool:
    if re.search(_MASK, name) and shape is not None and len(shape) == 4:
        return True
    if _matches(name, _VOCABULARY):
        return shape is None or shape[0] >= _LEAST_TOKENS
    return _matches(name, _IDLE) or _matches(name, model._keys_to_ignore_on_load_unexpected)


def _matches(name: str, patterns: Iterable[str] | None) -> bool:
    return any(re.search(pattern, name) for pattern in patterns or ())


def shown(names: Collection[str]) -> str:
    """The first few of many names."""
    few = ", ".join(list(names)[:SHOWN])
    return f"{few} and {len(names) - SHOWN} more" if len(names) > SHOWN else few


def refuse_peft(folder: Path, names: Iterable[str]) -> None:
    """Refuse a whole model that peft saved with what it had put around its layers.

    Raises:
        ModelError: adapters that are not merged, or layers that were trained in another's place.
    """
    around = sorted(name for name in names if _PEFT.search(name))
    if not around:
        return
    if any("lora_" in name or ".base_layer." in name for name in around):
        remedy = "These are adapters that are not merged: merge them with peft (merge_and_unload) and save the model."
    else:
        remedy = (
            "What was trained is under modules_to_save, what it replaced under original_module: call peft's "
            "merge_and_unload and save the model, or take .modules_to_save.NAME out of the names in its files and "
            "original_module's tensors away."
        )
    raise ModelError(
        f"{folder}: {len(around)} tensor{'s' if len(around) > 1 else ''} of its files would not be used by "
        f"transformers, as peft saved them: {shown(around)}. {remedy}"
    )


def refuse_left(folder: Path, class_name: str, left: list[str]) -> ModelError:
    """For tensors that nobody takes: the model computes something that is not known here."""
    if any(name in ("mean", "std") for name in left):
        remedy = (
            "It normalises its rewards: say so in config.json (normalize_reward, mean, std), or fold it into the head."
        )
    else:
        remedy = (
            "Without them its scores would be others. Give the checkpoint that the class in config.json was made for, "
            "or save backbone and heads in our own form (save_multihead)."
        )
    return ModelError(
        f"{folder}: {len(left)} tensor{'s' if len(left) > 1 else ''} of its files would not be used by {class_name}: "
        f"{shown(left)}. {remedy}"
    )
