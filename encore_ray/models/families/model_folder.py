"""A model's folder: its configuration, the tensors in its files, its body; and what a reader finds in it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from encore_ray.errors import ModelError
from encore_ray.models.families.loaders import (
    is_quantised,
    load_model_config,
    load_tokenizer,
    load_weights,
    refuse_missing,
)
from encore_ray.models.files.foreign import foreign
from encore_ray.models.files.ledger import Account, keep_account, refuse_left, refuse_peft, shown
from encore_ray.models.files.stores import Stored, list_tensors
from encore_ray.models.files.vocabulary import check_tokenizer
from encore_ray.models.spec.conversation import Template
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import HigherIs

CHAT_TEMPLATE = "chat_template.json"  # of a processor, which transformers' tokenizer does not read


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
        auto_class: of transformers, which takes the weights that the heads do not read.
        reads: tensors of the weight files that the heads read.
        idle: what the family knows and does not need, as patterns of names.
        replaces_heads: its heads lie in a file of their own; those of the weight files are another model's.
        adds_bos: a chat begins with the tokenizer's BOS, also where the template writes none: so were its heads made.
        skips_pad: pad tokens that end a conversation are not read.
        ends_with: id of a token that every conversation ends with, and whose hidden state is read.
        note: what of its heads its files do not say, and is taken to be so; for people.
    """

    heads: tuple[Head, ...]
    load: Callable[[torch.dtype], tuple[PreTrainedModel, nn.Module]]
    template: Template | None = None
    chat_template: str | None = None
    auto_class: Any = AutoModel
    reads: frozenset[str] = frozenset()
    idle: tuple[str, ...] = ()
    replaces_heads: bool = False
    adds_bos: bool = False
    skips_pad: bool = False
    ends_with: int | None = None
    note: str | None = None


class ModelFolder:
    """The files of one model on this machine.

    Args:
        source: its path is the folder.
        split: spread the body over all GPUs that the process sees.
    """

    def __init__(self, source: ModelSource, *, split: bool = False):
        self.source, self.path, self.split = source, Path(source.path), split
        self.config: PretrainedConfig = load_model_config(source)
        self.is_quantised = is_quantised(self.config, self.path)
        self._accounts: dict[Any, Account] = {}

    @property
    def hidden_size(self) -> int:
        return self.config.get_text_config().hidden_size

    @cached_property
    def stated(self) -> Mapping[str, Any]:
        """config.json as it is written: what its class fills in by default is not there."""
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    @cached_property
    def _stored(self) -> Mapping[str, Stored]:
        return list_tensors(self.path, read_pickle=self.read_pickle, allow_pickle=self.source.allow_pickle)

    @cached_property
    def tensors(self) -> Mapping[str, Path]:
        """Which file each tensor of the checkpoint lies in; empty if that is not to be had without a pickle."""
        return {name: stored.file for name, stored in self._stored.items()}

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...] | None]:
        """Of the same tensors; None where a pickle keeps it."""
        return {name: stored.shape for name, stored in self._stored.items()}

    def set_num_labels(self, num_labels: int) -> None:
        """Say how many outputs a classifier has, where its configuration leaves it to a default."""
        self.config.num_labels = num_labels
        self._accounts.clear()

    def account(self, auto_class: Any) -> Account:
        """What becomes of each tensor under a transformers auto class; see `keep_account`."""
        if auto_class not in self._accounts:
            trusted = self.source.trust_remote_code
            self._accounts[auto_class] = keep_account(
                auto_class, self.path, self.config, self.shapes, trust_remote_code=trusted
            )
        return self._accounts[auto_class]

    def check_tensors(self, opened: Opened) -> None:
        """Refuse a model of which a tensor would not be used, or that lacks one, by name.

        Raises:
            ModelError: a tensor is neither of the body nor read by the heads nor known to decide no score; or one is
                missing.
        """
        if not self.tensors or self.is_quantised:  # what a quantiser stores has names of its own
            return
        account = self.account(opened.auto_class)
        known = opened.reads.union(account.beside() if opened.replaces_heads else ())
        left = [n for n in account.left if n not in known and not any(re.search(each, n) for each in opened.idle)]
        if left or account.problems:
            self.refuse_wrapped()
        if left:
            raise refuse_left(self.path, account.class_name, left)
        if account.problems:
            raise refuse_missing(self.path, account.class_name, account.problems, of_another=account.is_of_another)
        whole = [name for name, stored in self._stored.items() if stored.is_whole and name.endswith("weight")]
        if whole := sorted(set(whole) - set(left)):
            raise ModelError(
                f"{self.path}: {len(whole)} of its weights are whole numbers ({shown(whole)}), and config.json says of "
                "no quantisation what to make of them. Fetch the model again with its quantization_config, or the one "
                "that was quantised."
            )

    def refuse_steps(self) -> None:
        """Refuse a model that rates steps or tokens by the head that another would rate responses by."""
        kinds = self.config.architectures or ()
        if any("ProcessReward" in kind for kind in kinds):
            raise ModelError(
                f"{self.path} is a process reward model, which rates the steps of a solution and no response. Give a "
                "model that rates responses."
            )
        if kind := next((kind for kind in kinds if kind.endswith("ForTokenClassification")), None):
            named = kind.replace("Token", "Sequence")
            raise ModelError(
                f"{self.path} was saved as {kind}, which rates each token, as process reward models do, and no "
                f"response. Where its value at the last token is meant, write {named} into architectures in its "
                "config.json."
            )

    def refuse_wrapped(self) -> None:
        """Refuse a model that was saved with what stood around it, so that no weight has the name of its own.

        Raises:
            ModelError: without the first parts of their names, weights are the body's; with them, none is. Or peft
                put its own names between.
        """
        refuse_peft(self.path, self.tensors)
        shapes, prefix = self.shapes, ""
        account = self.account(AutoModel)
        while not account.body_parts and shapes:
            part, _ = Counter(name.partition(".")[0] for name in shapes).most_common(1)[0]
            shapes = {name.removeprefix(f"{part}."): shape for name, shape in shapes.items() if "." in name}
            prefix += f"{part}."
            trusted = self.source.trust_remote_code
            account = keep_account(AutoModel, self.path, self.config, shapes, trust_remote_code=trusted)
        if prefix and account.body_parts:
            raise ModelError(
                f"{self.path}: the names of its weights begin with {prefix}, which is none of {account.class_name}'s: "
                "what stood around the model was saved with it, as by DDP, FSDP, torch.compile or DeepSpeed-Chat. Take "
                f"{prefix} off the names in its files, or save the model inside, and score that."
            )

    def read(self, name: str) -> Tensor:
        """One tensor as it is stored, in its own dtype; ModelError if it is not there."""
        file = self.tensors.get(name)
        if file is None:
            raise ModelError(f"{self.path} has no tensor {name}. {self._found()}")
        if file.suffix != ".safetensors":
            return self.read_pickle(file)[name]
        with foreign(self.path, f"tensor {name}"), safe_open(file, framework="pt") as tensors:
            return tensors.get_tensor(name)

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
        except Exception as error:  # a file that is no pickle may be anything
            raise ModelError(f"{file} is no file of tensors: {error}") from error

    def load(self, auto_class: Any, dtype: torch.dtype, *, num_labels: int | None = None) -> PreTrainedModel:
        """The model of a transformers auto class, every weight from the files; see `load_weights`."""
        return load_weights(auto_class, self.source, dtype=dtype, split=self.split, num_labels=num_labels)

    @cached_property
    def tokenizer(self) -> Any:
        """Its transformers tokenizer; ModelError if it cannot be loaded, or knows no text."""
        tokenizer = load_tokenizer(self.source)
        beside = self.path / CHAT_TEMPLATE
        if not tokenizer.chat_template and beside.exists():
            tokenizer.chat_template = _template_in(beside)
        check_tokenizer(tokenizer, self.path)
        return tokenizer

    def load_body(self, dtype: torch.dtype) -> PreTrainedModel:
        """The body alone; without transformers' report that the heads, which we read, are not part of it."""
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()
        try:
            model = self.load(AutoModel, dtype)
        finally:
            transformers_logging.set_verbosity(verbosity)
        # A model's own code may give the whole of it for its body.
        body = model.base_model
        return body if isinstance(body, PreTrainedModel) else model

    def refuse(self, expected: str, found: str) -> ModelError:
        """For heads that are not built as those of their family."""
        return ModelError(
            f"{self.path} ({', '.join(self.config.architectures or ['no architecture'])}): expected {expected}; found "
            f"{found}. Such heads are not known here: save backbone and heads in our own form (save_multihead)."
        )

    def _found(self) -> str:
        if not self.tensors:
            return "It holds no *.safetensors weights; pickled ones are read only with allow_pickle (--allow-pickle)."
        names = sorted({name.split(".")[0] for name in self.tensors})
        return f"It holds {', '.join(names[:12])}."


def _template_in(file: Path) -> str:
    try:
        template = json.loads(file.read_text(encoding="utf-8"))["chat_template"]
        if not isinstance(template, str):
            raise TypeError(f"chat_template is {type(template).__name__}")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} is damaged ({error}): expected a chat_template. Fetch the model again.") from error
    return template
