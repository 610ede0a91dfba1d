"""Exactness analysis: which forward strategy a model allows, seen in a dry run on the meta device."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig

from encore_ray.errors import ModelError
from encore_ray.models.forward.attention.prefix import ATTENTION, Sight
from encore_ray.models.spec.forward import StrategyChoice
from encore_ray.models.text.positions import max_conversation, ropes

_LAYER_TYPES = {"full_attention", "sliding_attention"}
_ROPES_BY_LENGTH = {"dynamic", "longrope"}


def strategy_of(
    config: PretrainedConfig, max_length: int | None = None, trust_remote_code: bool = False
) -> StrategyChoice:
    """The fastest strategy that is exact for a model of this configuration; see `choose_strategy`."""
    by_length = _rope_by_length(config, max_length)
    if by_length:
        return StrategyChoice("one_by_one", by_length)
    try:
        sights = _dry_run(config, trust_remote_code)
        _check_layers(config, sights, longest=max_conversation(config, max_length))
    except ModelError as error:
        return StrategyChoice("padded", str(error))
    if all(sight.causal for sight in sights):
        return StrategyChoice("tree", "its attention is causal: a prompt is computed once for all that follow it")
    if not any(sight.causal for sight in sights):
        return StrategyChoice("packed", "its attention looks both ways: a prompt sees the response")
    return StrategyChoice("padded", "some of its layers are causal and some look both ways")


class _DryRun:
    """A layout that computes nothing and remembers what each layer asked for."""

    def __init__(self) -> None:
        self.sights: list[Sight] = []

    def attend(self, query_1HTD: Tensor, _key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight) -> Tensor:
        self.sights.append(sight)
        return query_1HTD.new_empty(1, query_1HTD.shape[2], query_1HTD.shape[1], value_1GTD.shape[-1])


@torch.inference_mode()
def _dry_run(config: PretrainedConfig, trust_remote_code: bool) -> list[Sight]:
    """What each layer's attention asks for, from a forward on the meta device.

    Raises:
        ModelError: the model cannot hand its attention over, or something beside attention mixes tokens.
    """
    seen = _DryRun()
    config = deepcopy(config)  # it takes note of the attention of the model that is made from it
    for rope in ropes(getattr(config.get_text_config(), "rope_parameters", None)):
        if rope["rope_type"] == "dynamic":
            rope["rope_type"] = "default"  # it looks at positions, of which a dry run has none
    try:
        with torch.device("meta"):
            model = AutoModel.from_config(
                config,
                trust_remote_code=trust_remote_code,
                attn_implementation=ATTENTION,
                experts_implementation="batched_mm",  # the others look at values, of which a dry run has none
            ).eval()
            _check_mixing(model)
            ids_1T = torch.zeros(1, 4, dtype=torch.long)
            model(input_ids=ids_1T, position_ids=ids_1T, layout=seen)
    except ModelError:
        raise
    except Exception as error:  # a model that does not know the interface fails in ways of its own
        kind = config.model_type
        raise ModelError(f"{kind} has no exchangeable attention ({type(error).__name__})") from error
    return seen.sights


def _check_mixing(model: nn.Module) -> None:
    if getattr(model, "_is_stateful", False) or any(isinstance(module, nn.Conv1d) for module in model.modules()):
        raise ModelError(f"{type(model).__name__} carries a state from token to token besides its attention")


def _check_layers(config: PretrainedConfig, sights: list[Sight], *, longest: int) -> None:
    text_config = config.get_text_config()
    kinds = getattr(text_config, "layer_types", None)
    if len(sights) != text_config.num_hidden_layers:
        raise ModelError(f"only {len(sights)} of its {text_config.num_hidden_layers} layers use exchangeable attention")
    if not kinds:
        # One window for all layers, if any: phimoe's masks have it, its attention does not hear of it.
        window = getattr(text_config, "use_sliding_window", True) and getattr(text_config, "sliding_window", None)
        if window and window < longest and any(sight.window is None for sight in sights):
            raise ModelError("the windows of its layers are in its masks alone")
        return
    other = sorted(set(kinds) - _LAYER_TYPES)
    if other:
        raise ModelError(f"it has layers of the kind {', '.join(other)}")
    if [kind == "sliding_attention" for kind in kinds] != [sight.window is not None for sight in sights]:
        raise ModelError("the windows of its layers are in its masks alone")


def _rope_by_length(config: PretrainedConfig, max_length: int | None) -> str | None:
    """Why scores depend on the longest sequence of a forward, or None if they do not."""
    text_config = config.get_text_config()
    for rope in ropes(getattr(text_config, "rope_parameters", None)):
        kind = rope.get("rope_type")
        if kind in _ROPES_BY_LENGTH:
            original = rope.get("original_max_position_embeddings") or getattr(
                text_config, "original_max_position_embeddings", None
            )
            original = original or text_config.max_position_embeddings
            if max_conversation(config, max_length) > original:
                return (
                    f"its {kind} position embeddings change with the longest sequence of a forward beyond {original} "
                    f"tokens (max_tokens {original} would allow a faster one)"
                )
    return None
