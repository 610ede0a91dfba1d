"""Multi-head reward models from disk or from the hub, and their rules.

A folder or a hub repository holds, told apart by what is in it (`families`):

- our own form: a transformers backbone and tokenizer, `heads.safetensors` (weight [O, D], bias [O], float32),
  `rules.yaml`, and `encore.json` (schema_version, pooling, template);
- `AutoModelForSequenceClassification` with K labels, ArmoRM, QRM, LDL, or a score model of Safe RLHF, with a
  `rules.yaml` beside it or given; none of their remote code is needed;
- several of these as one: an `encore.json` that lists its `members`, and the `rules.yaml` of all, in member order.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.families.devices import Device, Dtype, find_device, find_dtype
from encore_ray.models.families.families import HEADS_FILE, open_model
from encore_ray.models.families.form import Ensemble, OwnForm, write_form
from encore_ray.models.families.loaders import load_tokenizer, no_progress_bar
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, Pooling, num_outputs
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.loading.fetch import RULES_FILE, fetch_members, fetch_model
from encore_ray.models.text.conversations import ConversationTokenizer, Template, default_template
from encore_ray.rules import RuleSet, slug


def load_rules(
    path: str | Path,
    *,
    revision: str | None = None,
    rules: RuleSet | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> RuleSet:
    """The rules of a model, checked against its heads without loading its body: what a driver needs to plan a job.

    Args:
        path, revision, trust_remote_code, allow_pickle: as `load_members` takes them.
        rules: instead of the rules.yaml in the folder.

    Raises:
        ModelError: it has no rules (the message holds a rules.yaml to complete), or not one head a rule.
        DataError: its rules.yaml is wrong.
    """
    folder = fetch_model(path, revision=revision, allow_pickle=allow_pickle)
    members = _open_members(folder, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
    parts = _rules_by_member(folder, [opened for _, opened in members], rules)
    return RuleSet(rule for part in parts for rule in part)


def load_model(
    path: str | Path,
    *,
    revision: str | None = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    rules: RuleSet | None = None,
    max_length: int | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> MultiHeadModel:
    """Load a multi-head reward model, ready to score. See `load_members`, which also loads several as one.

    Raises:
        ModelError: as `load_members`, or it has members.
    """
    models = load_members(
        path,
        revision=revision,
        dtype=dtype,
        device=device,
        rules=rules,
        max_length=max_length,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )
    if len(models) != 1:
        raise ModelError(f"{path} has {len(models)} members, which are no single model. Load it with load_members.")
    return models[0]


def load_members(
    path: str | Path,
    *,
    revision: str | None = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    rules: RuleSet | None = None,
    max_length: int | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    split: bool = False,
) -> list[MultiHeadModel]:
    """Load all members of a model, ready to score; a model without members is its only one.

    Args:
        path: a folder, or a hub id that is fetched once a node.
        revision: branch, tag or commit on the hub.
        dtype: of the backbones; `auto` is bfloat16 on CUDA and float32 elsewhere. Heads are float32 always.
        device: `auto` is CUDA where there is one.
        rules: of all members, instead of the rules.yaml in the folder.
        max_length: longest conversation in tokens; None: what a model allows, at most 8192.
        trust_remote_code: run Python code that comes with a model.
        allow_pickle: load weights stored as pickles, which can run code.
        split: spread each body over all GPUs that this process sees; needs accelerate.

    Returns:
        Models whose rules, one after the other, are those of `load_rules`.

    Raises:
        ModelError: one cannot be loaded, any of its weights is missing, or its heads do not fit its rules.
    """
    folder = fetch_model(path, revision=revision, allow_pickle=allow_pickle)
    members = _open_members(folder, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle, split=split)
    parts = _rules_by_member(folder, [opened for _, opened in members], rules)
    return [
        load_opened(member, opened, rules=part, dtype=dtype, device=device, max_length=max_length)
        for (member, opened), part in zip(members, parts, strict=True)
    ]


def load_opened(
    folder: ModelFolder, opened: Opened, *, rules: RuleSet, dtype: Dtype, device: Device, max_length: int | None
) -> MultiHeadModel:
    """Load one model of which is known how, ready to score; dtype, device and max_length as of `load_members`."""
    place = find_device(device)
    found_dtype = find_dtype(dtype, place)
    backbone, heads = opened.load(found_dtype)
    if hasattr(backbone.config, "use_cache"):
        backbone.config.use_cache = False  # one forward has no use for a cache, which would cost its memory
    conversations = open_conversations(folder, opened, max_length=max_length)
    model = MultiHeadModel(backbone, heads=heads, rules=rules, conversations=conversations, dtype=found_dtype)
    return _placed_by_map(model) if folder.split else model.to(place).eval()


def save_multihead(
    folder: str | Path,
    *,
    backbone: PreTrainedModel,
    tokenizer: Any,
    heads: LinearHeads,
    rules: RuleSet,
    pooling: Pooling,
    template: Template | None = None,
) -> None:
    """Write a model in our own form.

    Args:
        folder: made if it is not there.
        backbone: a transformers model whose output has `last_hidden_state`.
        tokenizer: its transformers tokenizer; with a chat template, conversations are rendered by it.
        heads: outputs in rule order on the pooled hidden state.
        rules: the rules of the heads.
        pooling: which tokens the heads see.
        template: how it reads conversations; None: as its tokenizer is used by default.
    """
    folder = Path(folder)
    assert heads.weight.shape == (num_outputs(rules), backbone.config.get_text_config().hidden_size)
    folder.mkdir(parents=True, exist_ok=True)
    with no_progress_bar():
        backbone.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_heads(folder, heads=heads, rules=rules, form=OwnForm(pooling, template or default_template(tokenizer)))


def write_heads(folder: Path, *, heads: LinearHeads, rules: RuleSet, form: OwnForm) -> None:
    """Put heads and their rules beside a backbone and a tokenizer: a model in our own form."""
    save_file(
        {"weight": heads.weight.detach().cpu().contiguous(), "bias": heads.bias.detach().cpu()}, folder / HEADS_FILE
    )
    (folder / RULES_FILE).write_text(rules.to_yaml(), encoding="utf-8")
    write_form(folder, form)


def save_ensemble(folder: str | Path, *, members: Sequence[str | Path], rules: RuleSet) -> None:
    """Write several models as one: their rules follow each other, and each keeps its tokenizer and template.

    Args:
        folder: made if it is not there.
        members: folders, which are noted relative to `folder` so that all can be moved together, or hub ids, with
            an @revision if wanted.
        rules: of all members, in their order.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RULES_FILE).write_text(rules.to_yaml(), encoding="utf-8")
    start = folder.resolve()
    names = [os.path.relpath(Path(m).resolve(), start) if Path(m).is_dir() else str(m) for m in members]
    write_form(folder, Ensemble(tuple(names)))


def open_conversations(folder: ModelFolder, opened: Opened, *, max_length: int | None) -> ConversationTokenizer:
    """How a model reads conversations; None for the length that it allows, at most 8192 tokens."""
    tokenizer = load_tokenizer(folder.path, trust_remote_code=folder.trust_remote_code)
    tokenizer.chat_template = tokenizer.chat_template or opened.chat_template
    return ConversationTokenizer(tokenizer, folder.config, template=opened.template, max_length=max_length)


def _open_members(
    folder: Path, *, trust_remote_code: bool, allow_pickle: bool, split: bool = False
) -> list[tuple[ModelFolder, Opened]]:
    members = [
        ModelFolder(path, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle, split=split)
        for path in fetch_members(folder, allow_pickle=allow_pickle)
    ]
    return [(member, open_model(member)) for member in members]


@torch.inference_mode()
def _placed_by_map(model: MultiHeadModel) -> MultiHeadModel:
    """A model whose body lies where its device map says, with its heads where the body's hidden states come out."""
    model.eval()
    hidden_1TD = model.backbone(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.device)).last_hidden_state
    model.heads.to(hidden_1TD.device)
    return model


def _rules_by_member(folder: Path, members: list[Opened], rules: RuleSet | None) -> list[RuleSet]:
    """The rules of each member: those that follow, as many as its heads are outputs of."""
    if rules is None and (folder / RULES_FILE).exists():
        rules = RuleSet.load(folder / RULES_FILE)
    if rules is None:
        raise ModelError(_ask_for_rules(folder, [head for opened in members for head in opened.heads]))
    parts: list[RuleSet] = []
    rest = list(rules)
    for opened in members:
        size = 1
        while size < len(rest) and num_outputs(RuleSet(rest[:size])) < len(opened.heads):
            size += 1
        if rest:
            parts.append(RuleSet(rest[:size]))
        rest = rest[size:]
    if rest or [num_outputs(part) for part in parts] != [len(opened.heads) for opened in members]:
        counts = [str(len(opened.heads)) for opened in members]
        raise ModelError(
            f"{folder} has {' + '.join(counts)} head outputs, but its {len(rules)} rules need {num_outputs(rules)} "
            "(one a rule; one a level for link expected_level). Give one rule a head, in the order of the heads."
        )
    return parts


def _ask_for_rules(folder: Path, heads: list[Head]) -> str:
    lines: list[str] = []
    names: list[str] = []
    for head in heads:
        names.append(slug(head.label, names))
        lo, hi = head.scale or ("?", "?")
        lines += [
            f"- name: {json.dumps(names[-1])}",
            f"  text: {json.dumps(head.label, ensure_ascii=False)}",
            f"  higher_is: {head.higher_is or '?   # better or worse'}",
            f"  scale: {{lo: {lo}, hi: {hi}}}",
        ]
    return (
        f"{folder} has no {RULES_FILE}, so what its {len(heads)} heads mean is not known. Complete this, and "
        "put it there or give it as the rules:\n\n" + "\n".join(lines)
    )
