"""A model's folder: its configuration, the tensors in its files, its body; and what a reader finds in it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from encore_ray.errors import ModelError
from encore_ray.models.families.loaders import load_model_config, load_tokenizer, load_weights
from encore_ray.models.spec.conversation import Template
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import HigherIs

_STORES = (("model.safetensors", "model.safetensors.index.json"), ("pytorch_model.bin", "pytorch_model.bin.index.json"))


@dataclass(frozen=True)
class Head:
    """What a model says of one of its raw outputs.

    Attributes:
        label: its name.
        higher_is, scale: where its authors state them; scale as (lo, hi).
    """

    label: str
    higher_is: HigherIs | None = None
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class Opened:
    """A model of a known kind, without its weights.

    Attributes:
        heads: one a raw output, in order.
        load: the body's dtype to a body of that dtype and float32 heads.
        template: how it reads conversations; None: by its tokenizer's chat template where there is one.
        chat_template: for a tokenizer that has none.
    """

    heads: tuple[Head, ...]
    load: Callable[[torch.dtype], tuple[PreTrainedModel, nn.Module]]
    template: Template | None = None
    chat_template: str | None = None


class ModelFolder:
    """The files of one model on this machine.

    Args:
        source: its path is the folder.
        split: spread the body over all GPUs that the process sees.
    """

    def __init__(self, source: ModelSource, *, split: bool = False):
        self.source, self.path, self.split = source, Path(source.path), split
        self.config: PretrainedConfig = load_model_config(source)

    @property
    def hidden_size(self) -> int:
        return self.config.get_text_config().hidden_size

    @cached_property
    def tensors(self) -> Mapping[str, Path]:
        """Which file each tensor of the checkpoint lies in; empty if that is not to be had without a pickle."""
        for single, index in _STORES:
            if (self.path / index).exists():
                weight_map = json.loads((self.path / index).read_text(encoding="utf-8"))["weight_map"]
                return {name: self.path / file for name, file in weight_map.items()}
            file = self.path / single
            if file.exists() and (file.suffix == ".safetensors" or self.source.allow_pickle):
                return dict.fromkeys(self._names(file), file)
        return {}

    def read(self, name: str) -> Tensor:
        """One tensor as it is stored, in its own dtype; ModelError if it is not there."""
        file = self.tensors.get(name)
        if file is None:
            raise ModelError(f"{self.path} has no tensor {name}. {self._found()}")
        if file.suffix != ".safetensors":
            return self.read_pickle(file)[name]
        try:
            with safe_open(file, framework="pt") as tensors:
                return tensors.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"Cannot read {name} in {file}: {error}. Fetch or save the model again.") from error

    def read_pickle(self, file: Path) -> dict[str, Tensor]:
        """All tensors of a pickle of tensors, read lazily.

        Raises:
            ModelError: pickles are not allowed, or it is no pickle of tensors alone.
        """
        if not self.source.allow_pickle:
            raise ModelError(
                f"{file} is a pickle, which can run code when loaded. Set allow_pickle (--allow-pickle) if you trust "
                "its source."
            )
        try:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except (OSError, RuntimeError, UnpicklingError) as error:
            raise ModelError(f"{file} is no file of tensors: {error}") from error

    def load(self, auto_class: Any, dtype: torch.dtype) -> PreTrainedModel:
        """The model of a transformers auto class, every weight from the files; see `load_weights`."""
        return load_weights(auto_class, self.source, dtype=dtype, split=self.split)

    @cached_property
    def tokenizer(self) -> Any:
        """Its transformers tokenizer."""
        return load_tokenizer(self.source)

    def load_body(self, dtype: torch.dtype) -> PreTrainedModel:
        """The body alone; without transformers' report that the heads, which we read, are not part of it."""
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()
        try:
            return self.load(AutoModel, dtype)
        finally:
            transformers_logging.set_verbosity(verbosity)

    def refuse(self, expected: str, found: str) -> ModelError:
        """For heads that are not built as those of their family."""
        return ModelError(
            f"{self.path} ({', '.join(self.config.architectures or ['no architecture'])}): expected {expected}; found "
            f"{found}. Such heads are not known here: save backbone and heads in our own form (save_multihead)."
        )

    def _names(self, file: Path) -> list[str]:
        if file.suffix != ".safetensors":
            return list(self.read_pickle(file))
        try:
            with safe_open(file, framework="pt") as tensors:
                return list(tensors.keys())
        except (OSError, SafetensorError) as error:
            raise ModelError(f"Cannot read {file}: {error}. Fetch or save the model again.") from error

    def _found(self) -> str:
        if not self.tensors:
            return "It holds no *.safetensors weights; pickled ones are read only with allow_pickle (--allow-pickle)."
        names = sorted({name.split(".")[0] for name in self.tensors})
        return f"It holds {', '.join(names[:12])}."
