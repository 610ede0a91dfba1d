"""AutoModelForSequenceClassification as a backbone and float32 heads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.heads import Pooling
from encore_ray.models.loading import read_tensor


def load_classifier(
    folder: Path,
    config: PretrainedConfig,
    *,
    load: Callable[[Any, Path], PreTrainedModel],
) -> tuple[PreTrainedModel, nn.Module | None, Pooling | None]:
    """Backbone, heads and pooling of a sequence-classification model; the heads in float32 from float32 weights.

    A decoder's `score` is taken off and applied to the last real token, found by the mask: its own forward
    searches for the pad token, which fails where pad is eos or does not exist. Another model keeps its own
    classification module (heads and pooling None), made float32 with all that feeds it.

    Args:
        folder: the model's folder.
        config: its configuration.
        load: auto class and folder to a model with all its weights, heads included, in the body's dtype.

    Raises:
        ModelError: missing weights, an encoder-decoder, or a module that pools by searching for the pad token.
    """
    if config.is_encoder_decoder:
        raise ModelError(f"{folder} is an encoder-decoder ({config.model_type}), which is not supported.")
    model = load(AutoModelForSequenceClassification, folder)
    body = model.base_model
    if body is model or not isinstance(body, PreTrainedModel):
        raise ModelError(f"{folder}: {type(model).__name__} has no backbone apart from its head; not supported.")
    _keep_heads_in_float32(model, body, folder)
    score = getattr(model, "score", None)
    if isinstance(score, nn.Module):
        return body, score, "last"
    body.register_forward_hook(_output_in_float32)
    _check_pooling(model.eval(), folder)
    return model, None, None


def _keep_heads_in_float32(model: PreTrainedModel, body: PreTrainedModel, folder: Path) -> None:
    """Give everything after the body, and its pooler, the weights of the files in float32."""
    inside = {id(parameter) for parameter in body.parameters()}
    pooler = getattr(body, "pooler", None)
    if isinstance(pooler, nn.Module):
        inside -= {id(parameter) for parameter in pooler.parameters()}
        pooler.register_forward_pre_hook(lambda _, inputs: tuple(value.float() for value in inputs))
    for name, parameter in model.named_parameters():
        if id(parameter) not in inside and parameter.dtype != torch.float32:
            parameter.data = read_tensor(folder, name).to(torch.float32)


def _output_in_float32(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    for key, value in output.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            output[key] = value.float()
    return output


@torch.inference_mode()
def _check_pooling(model: PreTrainedModel, folder: Path) -> None:
    """Refuse a module whose score of a masked sequence depends on which id fills the padding."""
    pad = model.config.pad_token_id or 0
    ids_BT = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 9]])
    other_BT = ids_BT.clone()
    ids_BT[1, 3:], other_BT[1, 3:] = pad, 8
    mask_BT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    try:
        same = torch.equal(model(ids_BT, attention_mask=mask_BT).logits, model(other_BT, attention_mask=mask_BT).logits)
    except ValueError as error:
        raise ModelError(f"{folder}: {type(model).__name__} cannot score a padded batch: {error}") from error
    if not same:
        raise ModelError(
            f"{folder}: {type(model).__name__} finds the token it scores by searching for the pad token, or ignores "
            "the attention mask, so its scores would depend on the batch. Save its backbone and heads in our own form."
        )
