"""Our own form: encore.json, and one linear output a rule or level in heads.safetensors, beside any backbone."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.families.family import Family
from encore_ray.models.families.form import OwnForm, read_form
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.models.spec.files import HEADS_FILE


class OwnFormModels(Family):
    """Known by encore.json."""

    def has(self, folder: ModelFolder) -> bool:
        return read_form(folder.path) is not None

    def open(self, folder: ModelFolder) -> Opened:
        form = read_form(folder.path)
        assert isinstance(form, OwnForm), folder.path  # members are opened one by one
        file = folder.path / HEADS_FILE
        num_heads = _num_heads(file, folder.hidden_size)
        heads = tuple(Head(f"head_{o + 1}") for o in range(num_heads))

        def load(dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
            return folder.load_body(dtype), PooledHeads(read_heads(folder.path), pooling=form.pooling)

        return Opened(heads, load, template=form.template, replaces_heads=True, adds_bos=True)


def read_heads(folder: Path) -> LinearHeads:
    """The heads of a model in our own form."""
    tensors = load_file(folder / HEADS_FILE)
    return LinearHeads(tensors["weight"], tensors["bias"])


def _num_heads(file: Path, hidden_size: int) -> int:
    try:
        with safe_open(file, framework="pt") as tensors:
            shapes = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read the heads in {file}: {error}. Save the model again.") from error
    num_heads = shapes.get("bias", (0,))[0]
    if shapes != {"weight": (num_heads, hidden_size), "bias": (num_heads,)}:
        raise ModelError(
            f"{file}: expected weight [O, {hidden_size}] and bias [O] on a backbone of hidden size {hidden_size}; "
            f"found {shapes or 'nothing'}. Save heads and backbone together."
        )
    return num_heads
