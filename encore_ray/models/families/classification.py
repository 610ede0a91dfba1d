"""AutoModelForSequenceClassification as a backbone and float32 heads."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from encore_ray.errors import ModelError
from encore_ray.models.families.family import Family
from encore_ray.models.families.linear_head import NAMES
from encore_ray.models.families.loaders import refuse_missing
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.files.ledger import Account, shown
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
        if folder.config.is_encoder_decoder:
            raise ModelError(
                f"{folder.path} is an encoder-decoder ({folder.config.model_type}), which is not supported."
            )
        folder.refuse_steps()
        num_labels = _counted_labels(folder) if folder.tensors and not folder.is_quantised else None
        if num_labels is not None:
            folder.set_num_labels(num_labels)
        heads = tuple(Head(str(label)) for label in (folder.config.id2label or {}).values())
        return Opened(
            heads,
            partial(_load, folder, num_labels=num_labels),
            auto_class=AutoModelForSequenceClassification,
            skips_pad="score.weight" in folder.tensors,  # the decoders, all of which pool alike
        )


def _counted_labels(folder: ModelFolder) -> int | None:
    """How many outputs the head in the files has, where config.json leaves it to a default; None where it says so.

    Raises:
        ModelError: no head that is known here, or one of another size than config.json says.
    """
    if type(folder.config) not in AutoModelForSequenceClassification._model_mapping and not _has_own_class(folder):
        raise headless(folder, folder.account(AutoModel))
    account = folder.account(AutoModelForSequenceClassification)
    if account.missing or account.beside():
        raise headless(folder, account)
    stated = folder.config.num_labels
    counts = {
        found[0] if found[1:] == expected[1:] and expected[0] == stated else None
        for _, found, expected in account.mismatched
    }
    if len(counts) != 1 or None in counts:
        return None
    num_labels = counts.pop()
    if "id2label" in folder.stated or "num_labels" in folder.stated:
        raise ModelError(
            f"{folder.path}: {'; '.join(account.problems)}, for config.json says {stated} labels. Write num_labels "
            f"{num_labels} and as many names into its id2label."
        )
    return num_labels


def _has_own_class(folder: ModelFolder) -> bool:
    return "AutoModelForSequenceClassification" in (folder.stated.get("auto_map") or {})


def headless(folder: ModelFolder, account: Account) -> ModelError:
    """For a model without a head that is known here: what it lacks, what in it might be one, and what to do."""
    folder.refuse_wrapped()
    kinds = folder.config.architectures or []
    beside = [name for name in account.beside() if folder.shapes[name] is None or len(folder.shapes[name] or ()) < 3]
    if beside:
        advice = (
            f"These of its tensors may be a head: {shown([_described(folder, name) for name in beside])}. Heads are "
            f"known as {', '.join(NAMES)}: rename it in the files, or save backbone and head in our own form "
            "(save_multihead)."
        )
    elif any("CausalLM" in kind or "LMHead" in kind for kind in kinds) and not account.is_of_another:
        advice = (
            "It is a language model without a head for scores: let it judge (--judge, or `encore-ray rate`), or give "
            "a checkpoint with trained heads, not a base model."
        )
    else:
        advice = None
    problems = account.problems or ["a head is missing"]
    return refuse_missing(folder.path, account.class_name, problems, advice, of_another=account.is_of_another)


def _described(folder: ModelFolder, name: str) -> str:
    shape = folder.shapes[name]
    return name if shape is None else f"{name} {list(shape)}"


def _load(
    folder: ModelFolder, dtype: torch.dtype, *, num_labels: int | None = None
) -> tuple[PreTrainedModel, nn.Module]:
    """Backbone and heads of a sequence-classification model; the heads in float32 from float32 weights.

    A decoder's `score` is taken off and applied to the last real token, found by its place: its own forward
    searches for the pad token, which fails where pad is eos or does not exist. Another model keeps its own
    classification module, made float32 with all that feeds it.

    Raises:
        ModelError: missing weights, or a module that pools by searching for the pad token.
    """
    model = folder.load(AutoModelForSequenceClassification, dtype, num_labels=num_labels).eval()
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
