"""Fine-tuning recipe: a backbone with fresh heads or those of a checkpoint, LoRA or all weights, FSDP.

Weights are kept in float32, whatever they are computed in. Several workers, or bfloat16, share the model out by FSDP
(torch's fully_shard): each keeps its part of every weight, of its gradient and of what the optimiser knows of it.
Nothing is dropped out, so that a step follows from its rows alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from encore_ray.errors import ConfigError
from encore_ray.models.families.form import OwnForm, read_form
from encore_ray.models.families.model_folder import ModelFolder, Opened
from encore_ray.models.families.own_form import read_heads
from encore_ray.models.forward.heads import LinearHeads, PooledHeads, regressed_rule
from encore_ray.models.forward.last_layer import body_layers
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.forward.onednn import keep_no_copies
from encore_ray.models.forward.strategy import strategy_of
from encore_ray.models.loading.checkpoint import open_conversations
from encore_ray.models.loading.fetch import fetch_only_member
from encore_ray.models.loading.saving import save_multihead
from encore_ray.models.spec.files import RULES_FILE
from encore_ray.models.spec.forward import Pooling, Strategy
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.spec.training import Objective
from encore_ray.models.training.disk import writing
from encore_ray.models.training.lora import add_lora, merged
from encore_ray.models.training.objectives import into_rule_units, out_of_rule_units
from encore_ray.models.training.workers import Workers
from encore_ray.rules import Rule, RuleSet, Scale

TrainDtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class FirstHeads:
    """Where heads begin.

    Attributes:
        rules: of the base model, whose heads go on; None: heads have weight zero.
        said: the same in words.
    """

    rules: RuleSet | None
    said: str


@dataclass(frozen=True)
class TrainRecipe:
    """What a model is made from and how it is trained, apart from the rows.

    Attributes:
        base: the base model.
        objective: see `objectives`.
        rules: K rules, one head each, in the order of the targets.
        bias: K first biases of fresh heads, in the units of the targets.
        pooling: which tokens the heads read.
        dtype: that forward and backward passes compute in.
        max_length: in tokens; longer conversations lose their beginning; None: the model's limit, at most 8192.
        lora_rank: None to train all weights, else the rank of the adapters that are trained in their place.
        lora_alpha: the adapters' products are scaled by lora_alpha / lora_rank.
        gradient_checkpointing: compute layers again in the backward pass instead of keeping what they made.
        seed: of the adapters' first weights.
    """

    base: ModelSource
    objective: Objective
    rules: RuleSet
    bias: tuple[float, ...]
    pooling: Pooling = "last"
    dtype: TrainDtype = "float32"
    max_length: int | None = None
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    gradient_checkpointing: bool = False
    seed: int = 0

    def at(self, base: str | Path) -> "TrainRecipe":
        """The recipe, with its base model where it lies on this machine."""
        return replace(self, base=self.base.at(base))

    @property
    def training_strategy(self) -> Strategy:
        """The fastest way that is exact for the base model, and holds both responses of a pair in one forward pass.

        Raises:
            ConfigError: it is an encoder-decoder, or its position embeddings depend on the longest sequence of a pass.
        """
        config = self._folder().config
        if config.is_encoder_decoder:
            raise ConfigError(f"{self.base.path} is an encoder-decoder ({config.model_type}), which is not supported.")
        choice = strategy_of(config, self.max_length, self.base.trust_remote_code)
        if choice.strategy == "one_by_one":
            raise ConfigError(f"{self.base.path} cannot be trained on pairs: {choice.reason}. Set max_tokens.")
        return choice.strategy

    @property
    def first_heads(self) -> FirstHeads:
        """Those of a base in our own form with the same rules, link and pooling go on.

        Raises:
            DataError: its rules.yaml is wrong.
        """
        path = self._folder().path
        form = read_form(path)
        if not isinstance(form, OwnForm):
            return FirstHeads(None, "fresh heads")
        standing = RuleSet.load(path / RULES_FILE)
        link = "sigmoid" if self.objective == "multilabel" else "identity"
        if standing.names != self.rules.names:
            return FirstHeads(None, "fresh heads: those of the base model are of other rules")
        if any(rule.link != link for rule in standing):
            return FirstHeads(None, f"fresh heads: not all of the base model's have the link {link}")
        if form.pooling != self.pooling:
            return FirstHeads(
                None, f"fresh heads: those of the base model read pooling {form.pooling}, these {self.pooling}"
            )
        return FirstHeads(standing, "going on from the heads of the base model")

    def load(self) -> MultiHeadModel:
        """The model on the CPU, in float32, with the weights that are not trained frozen.

        Raises:
            ModelError: it cannot be loaded.
        """
        folder = self._folder()
        backbone = folder.load_body(torch.float32)
        form = read_form(folder.path)
        template = form.template if isinstance(form, OwnForm) else None
        opened = Opened((), lambda dtype: (backbone, nn.Identity()), template=template, adds_bos=True)
        conversations = open_conversations(folder, opened, LoadOptions(max_length=self.max_length))
        if self.lora_rank is not None:
            add_lora(backbone, rank=self.lora_rank, alpha=self.lora_alpha, seed=self.seed)
        heads = PooledHeads(self._heads(folder), pooling=self.pooling)
        plain = RuleSet(map(regressed_rule, self.rules))  # no link: losses are about what goes into it
        model = MultiHeadModel(backbone, heads=heads, rules=plain, conversations=conversations, dtype=torch.float32)
        model.eval()
        if self.gradient_checkpointing:
            _checkpoint_layers(backbone)
        return model

    def save(self, place: Path, weights: dict[str, Tensor], *, scale: Sequence[tuple[float, float]]) -> RuleSet:
        """Write the trained model in our own form, adapters merged; returns its rules.

        Args:
            place: folder, made if it is not there.
            weights: those that were trained, whole, by their names in the model.
            scale: range of each head's outputs, which of pairwise objectives nothing else declares.

        Raises:
            ConfigError: it cannot be written.
        """
        model = self.load()
        _, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected, unexpected
        backbone = merged(model.backbone) if self.lora_rank is not None else model.backbone
        heads = model.heads.outputs
        assert isinstance(heads, LinearHeads)
        rules = self._saved_rules(scale)
        if self.objective == "regression":
            into_rule_units(heads, rules)
        folder = self._folder()
        with writing(place):
            save_multihead(
                place,
                backbone=backbone.to(getattr(torch, self.dtype)),
                tokenizer=folder.tokenizer,
                heads=heads,
                rules=rules,
                pooling=self.pooling,
                template=model.conversations.template,
            )
        return rules

    def _saved_rules(self, scale: Sequence[tuple[float, float]]) -> RuleSet:
        if self.objective == "regression":
            return RuleSet(map(regressed_rule, self.rules))
        if self.objective == "multilabel":
            return RuleSet(
                Rule(rule.name, rule.text, "better", Scale(0.0, 1.0), "sigmoid", rule.out_of_range)
                for rule in self.rules
            )
        scales = [Scale(lo, hi) if lo < hi else Scale(lo - 1, lo + 1) for lo, hi in scale]
        # A veto is a score on the ratings' scale, which these heads do not have.
        return RuleSet(
            replace(regressed_rule(rule), scale=own, veto=None) for rule, own in zip(self.rules, scales, strict=True)
        )

    def _folder(self) -> ModelFolder:
        return ModelFolder(self.base.at(fetch_only_member(self.base)))

    def _heads(self, folder: ModelFolder) -> LinearHeads:
        standing = self.first_heads.rules
        if standing is None:
            return LinearHeads(torch.zeros(len(self.rules), folder.hidden_size), torch.tensor(self.bias))
        heads = read_heads(folder.path)
        if self.objective == "regression":
            out_of_rule_units(heads, standing)  # in which they were saved, whatever the range of the new ratings is
        return heads


def share_out(model: MultiHeadModel, workers: Workers, *, dtype: TrainDtype) -> MultiHeadModel:
    """The model where it is trained: as it is for a single worker in float32, else by FSDP over all workers.

    A device is given its parts of the layers one by one, so that it need not hold the whole model.
    """
    if workers.num == 1 and dtype == "float32":
        return model.to(workers.device)
    mesh = init_device_mesh(workers.device.type, (workers.num,))
    # Gradients are added up in float32; the heads, which are small, compute in it, too.
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == "float32" else getattr(torch, dtype), reduce_dtype=torch.float32
    )
    # Parts are put away after each forward, also by the outermost module: the optimiser and the state know them only.
    for layer in [*body_layers(model.backbone), model.backbone]:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    fully_shard(model.heads, mesh=mesh, reshard_after_forward=True)
    keep_no_copies(model.backbone)
    return model


def trained_weights(model: MultiHeadModel) -> dict[str, nn.Parameter]:
    """The weights that are not frozen, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def local_weights(model: MultiHeadModel) -> dict[str, Tensor]:
    """This worker's parts of the weights that are trained, by name; they are the weights themselves, no copies."""
    return {name: local(weight.detach()) for name, weight in trained_weights(model).items()}


def whole_weights(model: MultiHeadModel, *, keep: bool) -> dict[str, Tensor]:
    """The weights that are trained, on the CPU; every worker must ask, those that do not keep them get none."""
    whole = {}
    for name, weight in trained_weights(model).items():
        full = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if keep:
            whole[name] = full.detach().cpu()
    return whole


def local(tensor: Tensor) -> Tensor:
    """A worker's part of a tensor that may be shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _checkpoint_layers(backbone: PreTrainedModel) -> None:
    """Compute layers again in the backward pass.

    transformers' own switch works on layers in training only, of which some drop out their outputs themselves.
    """
    for module in backbone.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = partial(_computed_again, module.forward)


def _computed_again(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a layer's own forward returns."""
    return checkpoint(partial(forward, **kwargs), *args, use_reentrant=False)
