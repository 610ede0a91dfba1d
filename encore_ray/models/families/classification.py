"""AutoModelForSequenceClassification as a backbone and float32 heads."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from encore_ray.errors import ModelError
from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import Paths, PooledHeads


class ClassifierHeads(nn.Module):
    """The classification module of an encoder, run on hidden states that are already there.

    The model keeps its own code for everything after its body; in the body's place stands one that answers with the
    hidden states of each sequence, unpacked.
    """

    def __init__(self, model: PreTrainedModel, pooler: nn.Module | None):
        super().__init__()
        self._given = _GivenHidden(pooler)
        setattr(model, model.base_model_prefix, self._given)
        self.module = model

    def forward(self, hidden_ND: Tensor, paths: Paths) -> Tensor:
        # Ids are of no use to a classification module, except for their shape; `_check_pooling` made sure.
        return self.classify(hidden_ND[paths.index_SL], paths.mask_SL.long(), ids_SL=paths.index_SL)

    def classify(self, hidden_SLD: Tensor, mask_SL: Tensor, *, ids_SL: Tensor) -> Tensor:
        """Raw outputs [S, O], float32, of right-padded hidden states."""
        self._given.hidden_SLD = hidden_SLD.float()
        return self.module(input_ids=ids_SL, attention_mask=mask_SL).logits


class _GivenHidden(nn.Module):
    hidden_SLD: Tensor

    def __init__(self, pooler: nn.Module | None):
        super().__init__()
        self.pooler = pooler

    def forward(self, *_args: Any, **_kwargs: Any) -> BaseModelOutputWithPoolingAndCrossAttentions:
        pooled_SD = None if self.pooler is None else self.pooler(self.hidden_SLD)
        return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=self.hidden_SLD, pooler_output=pooled_SD)  # type: ignore[arg-type]


class Classifiers(Family):
    """Any other: a sequence-classification model with one label a raw output; the labels name them."""

    def has(self, folder: ModelFolder) -> bool:
        return True  # asked last: what no other family is

    def open(self, folder: ModelFolder) -> Opened:
        heads = tuple(Head(str(label)) for label in (folder.config.id2label or {}).values())
        return Opened(heads, partial(_load, folder))


def _load(folder: ModelFolder, dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
    """Backbone and heads of a sequence-classification model; the heads in float32 from float32 weights.

    A decoder's `score` is taken off and applied to the last real token, found by its place: its own forward
    searches for the pad token, which fails where pad is eos or does not exist. Another model keeps its own
    classification module, made float32 with all that feeds it.

    Raises:
        ModelError: missing weights, an encoder-decoder, or a module that pools by searching for the pad token.
    """
    if folder.config.is_encoder_decoder:
        raise ModelError(f"{folder.path} is an encoder-decoder ({folder.config.model_type}), which is not supported.")
    model = folder.load(AutoModelForSequenceClassification, dtype).eval()
    body = model.base_model
    if body is model or not isinstance(body, PreTrainedModel):
        raise ModelError(f"{folder.path}: {type(model).__name__} has no backbone apart from its head; not supported.")
    pooler = _pooler(body)
    _keep_heads_in_float32(model, body, pooler, folder)
    score = getattr(model, "score", None)
    if isinstance(score, nn.Module):
        return body, PooledHeads(score, pooling="last")
    if pooler is not None:
        body._modules["pooler"] = None
    heads = ClassifierHeads(model, pooler)
    _check_pooling(body, heads, folder)
    return body, heads


class _FirstToken(nn.Module):
    def forward(self, hidden_SLD: Tensor) -> Tensor:
        return hidden_SLD[:, 0]


def _pooler(body: PreTrainedModel) -> nn.Module | None:
    """What makes a body's pooled output of its hidden states; None where it has none."""
    pooler = getattr(body, "pooler", None)
    activation = getattr(body, "pooler_activation", None)
    if pooler is None or activation is None:
        return pooler
    return nn.Sequential(_FirstToken(), pooler, activation)  # ALBERT does this in its forward


def _keep_heads_in_float32(
    model: PreTrainedModel, body: PreTrainedModel, pooler: nn.Module | None, folder: ModelFolder
) -> None:
    """Give everything after the body, and its pooler, the weights of the files in float32."""
    inside = {id(parameter) for parameter in body.parameters()}
    inside -= {id(parameter) for parameter in (pooler.parameters() if pooler is not None else ())}
    for name, parameter in model.named_parameters():
        if id(parameter) not in inside and parameter.dtype != torch.float32:
            if name not in folder.tensors:
                raise ModelError(
                    f"The head weight {name} is not in the files of {folder.path} under this name, so it cannot be "
                    "kept in float32 beside a half-precision body. Score with dtype float32."
                )
            parameter.data = folder.read(name).to(torch.float32)


@torch.inference_mode()
def _check_pooling(body: PreTrainedModel, heads: ClassifierHeads, folder: ModelFolder) -> None:
    """Refuse a module whose score of a masked sequence depends on what fills the padding."""
    name = type(heads.module).__name__
    mask_BT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    outputs = []
    for filling in (8, body.config.pad_token_id or 0):
        ids_BT = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, filling, filling]])
        try:
            hidden_BTD = body(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
            outputs.append(heads.classify(hidden_BTD, mask_BT, ids_SL=ids_BT))
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise ModelError(
                f"{folder.path}: {name} does not classify from the hidden states of its backbone alone: {error}. Save "
                "its backbone and heads in our own form."
            ) from error
    if not torch.equal(*outputs):
        raise ModelError(
            f"{folder.path}: {name} finds the token it scores by searching for the pad token, or ignores the attention "
            "mask, so its scores would depend on the batch. Save its backbone and heads in our own form."
        )
