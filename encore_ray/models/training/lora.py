"""LoRA by peft: low-rank adapters in place of the weights of a backbone, and merged back into them.

Source: LoRA, arXiv 2106.09685.
"""

from importlib.util import find_spec
from typing import cast

import torch
from transformers import PreTrainedModel

from encore_ray.errors import ModelError

_ADAPTER = "default"


def require_peft() -> None:
    """Raise ModelError where peft is not installed."""
    if find_spec("peft") is None:
        raise ModelError("Training with lora_rank needs the package peft: install encore-ray[lora] on every node.")


def add_lora(backbone: PreTrainedModel, *, rank: int, alpha: float, seed: int) -> None:
    """Put an adapter beside every linear layer, and freeze all other weights.

    An adapter begins as zero, as one of its two matrices does: the backbone computes what it did before. The other
    is random, and follows from the seed.
    """
    require_peft()
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", bias="none")  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # of the CPU, where the backbone is
        inject_adapter_in_model(config, backbone, adapter_name=_ADAPTER)


def merged(backbone: PreTrainedModel) -> PreTrainedModel:
    """The backbone with its adapters added to its weights, and without them."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(backbone.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(backbone.get_submodule(parent), attribute, module.get_base_layer())
    del backbone.peft_config
    return cast(PreTrainedModel, backbone)
