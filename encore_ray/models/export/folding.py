"""Folding of linear heads: a composed reward as one model, a single-label checkpoint that others load.

reward = constant + sum_k factor_k (w_k · h + b_k) = (sum_k factor_k w_k) · h + offset, with h the hidden state of the
last token. AutoModelForSequenceClassification reads that token by one linear layer without bias: the offset, the same
for every conversation, is left out, and margins are those of the composed rewards, where nothing is truncated: we keep
the BOS when we cut a conversation's start, transformers does not.
"""

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.files import durable
from encore_ray.models.export.export_tokenizer import make_export_tokenizer, probe_ids
from encore_ray.models.families.families import open_model
from encore_ray.models.families.loaders import no_progress_bar
from encore_ray.models.families.model_folder import ModelFolder
from encore_ray.models.files.legible import make_legible
from encore_ray.models.forward.heads import LinearHeads, Paths, PooledHeads, num_outputs
from encore_ray.models.loading.checkpoint import open_conversations
from encore_ray.models.loading.fetch import fetch_members
from encore_ray.models.spec.files import FACTS, RULES_FILE
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import Rule, RuleSet, Scale

REWARD = "reward"
# Over the sum of |factor_k score_k|: a wrong token or a part left out makes a difference of about 1, the order of
# float32 sums one of 1e-4 in the widest bodies.
CHECK_TOLERANCE = 1e-2


@dataclass(frozen=True)
class FoldedModel:
    """What was written.

    Attributes:
        folder: the checkpoint.
        class_name: that AutoModelForSequenceClassification makes of it.
        num_rules: folded into it, those of weight 0 not counted.
        offset: what its rewards are lower by than the composed ones.
        max_length: most tokens of a conversation.
        pad_token: what fills up a batch; `is_new` if the tokenizer had none that can be told from a last token.
    """

    folder: Path
    class_name: str
    num_rules: int
    offset: float
    max_length: int
    pad_token: str
    is_new: bool

    def __str__(self) -> str:
        made = "added, since the tokenizer had none that never ends a conversation" if self.is_new else "as it was"
        return (
            f"{self.num_rules} rules folded into {self.folder}, one {self.class_name}. Margins of conversations of up "
            f"to {self.max_length:,} tokens are the composed ones; rewards are lower by {self.offset:.6g}, for the "
            f"class has no bias. Pad token: {self.pad_token} ({made})."
        )


def fold_model(
    source: ModelSource,
    *,
    rules: RuleSet,
    factor_K: Sequence[float],
    constant: float,
    scale: Scale,
    text: str,
    folder: Path,
    facts: Mapping[str, Any],
    options: LoadOptions | None = None,
) -> FoldedModel:
    """Write a model whose one output is a linear function of another model's scores.

    The body keeps the dtype that it is stored in, the new head is float32. A rules.yaml with the one rule lies beside,
    so that the model can be scored with again.

    Args:
        source: the multi-head model.
        rules: K rules of its heads.
        factor_K, constant: reward = constant + sum_k factor_k score_k, with a factor that is not 0.
        scale: of the rewards.
        text: what the reward is, in words.
        folder: where the checkpoint goes, config.json last; made if it is not there. It may hold another such model.
        facts: what the reward is made from, JSON values for config.json, under the key `encore_ray`.
        options: how the multi-head model read conversations: its longest, its template, BOS and last token.

    Raises:
        ModelError: several members, a rule whose score is no linear output, heads that see more than the last token,
            or a body without a transformers classifier of that kind.
    """
    path, members = source.path, fetch_members(source)
    if len(members) != 1:
        raise _refusal(path, f"it has {len(members)} members, each with a body of its own")
    multihead = ModelFolder(source.at(members[0]))
    opened = open_model(multihead)
    body, heads = opened.load(_stored_dtype(multihead.config))
    linear, factor_O = _linear_outputs(path, heads), _by_output(path, rules, factor_K)
    if opened.template == "response-v1":
        raise _refusal(path, "it reads responses without their prompts, which no trainer does")
    if opened.ends_with is not None:
        raise _refusal(path, "it reads a token of its own behind every conversation, which no trainer writes")
    conversations = open_conversations(multihead, opened, options or LoadOptions())
    exported = make_export_tokenizer(conversations)
    model = _classifier(path, body, factor_O @ linear.weight.detach().to(torch.float64))
    _set_pad_token(model, exported.tokenizer.pad_token_id, num_tokens=len(exported.tokenizer))
    offset = 0.0 if linear.bias is None else float(factor_O @ linear.bias.detach().to(torch.float64))
    _check(path, model, heads, probe_ids(conversations), factor_O=factor_O, offset=offset)
    offset += constant
    setattr(model.config, FACTS, {**facts, "offset": offset})
    shifted = Scale(scale.lo - offset, scale.hi - offset)
    reward = RuleSet([Rule(REWARD, text, "better", shifted, out_of_range="clip")])
    with durable.replacing_folder(str(folder)) as unfinished, no_progress_bar():
        model.save_pretrained(unfinished)
        exported.tokenizer.save_pretrained(unfinished)
        make_legible(Path(unfinished))
        (Path(unfinished) / RULES_FILE).write_text(reward.to_yaml(), encoding="utf-8")
        _keep_others(folder, Path(unfinished))
    num_rules = sum(factor != 0 for factor in factor_K)
    return FoldedModel(
        folder,
        type(model).__name__,
        num_rules=num_rules,
        offset=offset,
        max_length=conversations.max_length,
        pad_token=exported.tokenizer.pad_token,
        is_new=exported.has_new_pad,
    )


def _keep_others(folder: Path, unfinished: Path) -> None:
    """What lies beside a model that is replaced stays there; its own weights do not."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.match("model*.safetensors*") or (unfinished / entry.name).exists():
            continue
        if entry.is_dir():
            shutil.copytree(entry, unfinished / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, unfinished / entry.name, follow_symlinks=False)


def _refusal(path: str | Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} cannot be folded into one single-label model: {reason}. Export the rewards as a dataset instead "
        "(--output), and train on that."
    )


def _stored_dtype(config: PretrainedConfig) -> torch.dtype:
    """The dtype that a configuration states, as a dtype or by its name; float32 where it states none."""
    stated = config.dtype or torch.float32
    return stated if isinstance(stated, torch.dtype) else getattr(torch, stated)


def _linear_outputs(path: str | Path, heads: nn.Module) -> LinearHeads | nn.Linear:
    if not isinstance(heads, PooledHeads) or not isinstance(heads.outputs, LinearHeads | nn.Linear):
        raise _refusal(path, "its heads are more than one linear layer on a pooled hidden state")
    if heads.pooling != "last":
        raise _refusal(path, f"its heads read pooling {heads.pooling}, a classifier of transformers the last token")
    return heads.outputs


def _by_output(path: str | Path, rules: RuleSet, factor_K: Sequence[float]) -> Tensor:
    """The factor of each raw output [O], float64."""
    factor_O: list[float] = []
    for rule, factor in zip(rules, factor_K, strict=True):
        if factor and rule.link != "identity":
            raise _refusal(path, f"rule {rule.name} has a weight and the link {rule.link}, which is not linear")
        factor_O += [factor] * num_outputs(RuleSet([rule]))
    return torch.tensor(factor_O, dtype=torch.float64)


def _classifier(path: str | Path, body: PreTrainedModel, weight_D: Tensor) -> PreTrainedModel:
    """transformers' classifier around the body, with one label of the given weight."""
    config = _config(body.config)
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise _refusal(path, f"transformers has no classifier for {type(body).__name__}") from error
    score = getattr(model, "score", None)
    name = model.base_model_prefix
    if not isinstance(score, nn.Linear) or score.bias is not None or type(getattr(model, name, None)) is not type(body):
        raise _refusal(path, f"{type(model).__name__} is no {type(body).__name__} with one linear layer behind it")
    setattr(model, name, body)
    model.score = nn.Linear(len(weight_D), 1, bias=False)  # type: ignore[assignment]
    model.score.weight.data = weight_D.unsqueeze(0).to(torch.float32)
    left = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if left:
        raise _refusal(path, f"{type(model).__name__} has further parts: {', '.join(left[:5])}")
    return model.eval()


def _config(body: PretrainedConfig) -> PretrainedConfig:
    """The body's configuration with one label, and nothing of the code that came with the multi-head model."""
    config = copy.deepcopy(body)
    config.num_labels = 1
    config.id2label, config.label2id = {0: REWARD}, {REWARD: 0}
    vars(config).pop("auto_map", None)
    return config


def _set_pad_token(model: PreTrainedModel, pad_id: int, *, num_tokens: int) -> None:
    """Tell the model which token is padding; a token beyond its embeddings gets a row of zeros.

    The classifier reads the rightmost token that is not padding, whichever side is filled up.
    """
    embeddings: Any = model.get_input_embeddings()
    num_rows = len(embeddings.weight)
    if num_tokens > num_rows:
        resized: Any = model.resize_token_embeddings(num_tokens, mean_resizing=False)
        resized.weight.data[num_rows:] = 0
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = pad_id


@torch.inference_mode()
def _check(
    path: str | Path, model: PreTrainedModel, heads: nn.Module, ids: list[list[int]], *, factor_O: Tensor, offset: float
) -> None:
    """Compare the classifier's own forward on a padded batch with the heads on the same hidden states."""
    pad_id = model.config.get_text_config().pad_token_id
    width = max(map(len, ids))
    ids_BT = torch.tensor([row + [pad_id] * (width - len(row)) for row in ids])
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    hidden_ND = model.base_model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state.flatten(0, 1)
    raw_BO = heads(hidden_ND, Paths.padded(mask_BT)).to(torch.float64)
    score: Any = model.score
    in_float32 = score.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    found_B = model(input_ids=ids_BT, attention_mask=mask_BT).logits[:, 0].to(torch.float64) + offset
    in_float32.remove()
    difference = float((found_B - raw_BO @ factor_O).abs().max() / (raw_BO.abs() @ factor_O.abs()).max())
    if not difference <= CHECK_TOLERANCE:
        raise _refusal(
            path,
            f"{type(model).__name__} gives other rewards than the heads, by {difference:.2g} of the size of the scores",
        )
