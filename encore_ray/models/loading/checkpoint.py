"""Multi-head reward models from disk or from the hub, and their rules.

A folder or a hub repository holds, told apart by what is in it (`families`):

- our own form: a transformers backbone and tokenizer, `heads.safetensors` (weight [O, D], bias [O], float32),
  `rules.yaml`, and `encore.json` (schema_version, pooling, template);
- `AutoModelForSequenceClassification` with K labels, ArmoRM, QRM, LDL, or a score model of Safe RLHF, with a
  `rules.yaml` beside it or given; none of their remote code is needed;
- several of these as one: an `encore.json` that lists its `members`, and the `rules.yaml` of all, in member order.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from encore_ray.errors import ModelError
from encore_ray.models.families.devices import find_dtype, take_device
from encore_ray.models.families.families import open_model
from encore_ray.models.families.model_folder import ModelFolder, Opened
from encore_ray.models.forward.body_model import BodyModel
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.loading.fetch import fetch_members, fetch_model
from encore_ray.models.loading.member_rules import rules_by_member
from encore_ray.models.spec.conversation import Reading
from encore_ray.models.spec.load_options import Device, Dtype, LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.rules import RuleSet

Member = tuple[ModelFolder, Opened]


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
        path, revision, trust_remote_code, allow_pickle: of the model, see `ModelSource`.
        dtype, device, max_length, split: how it is run, see `LoadOptions`.
        rules: of all members, instead of the rules.yaml in the folder.

    Returns:
        Models whose rules, one after the other, are those of `load_rules`.

    Raises:
        ModelError: one cannot be loaded, any of its weights is missing, or its heads do not fit its rules.
    """
    source = ModelSource(path, revision, trust_remote_code, allow_pickle)
    options = LoadOptions(dtype=dtype, device=device, max_length=max_length, split=split)
    return load_models(source, options, rules=rules)


def load_models(source: ModelSource, options: LoadOptions, *, rules: RuleSet | None = None) -> list[MultiHeadModel]:
    """What `load_members` does, of a model and options that are objects already."""
    members = open_members(source, options.reading, split=options.split)
    parts = rules_by_member(fetch_model(source), [opened for _, opened in members], rules)
    return [
        load_opened(folder, opened, options, rules=part) for (folder, opened), part in zip(members, parts, strict=True)
    ]


def load_rules(source: ModelSource, *, rules: RuleSet | None = None, reading: Reading | None = None) -> RuleSet:
    """The rules of a model, checked against its heads without loading its body: what a driver needs to plan a job.

    Args:
        rules: instead of the rules.yaml in the folder.
        reading: how conversations will be read.

    Raises:
        ModelError, DataError: as of `rules_by_member`.
    """
    return rules_of(source, open_members(source, reading), rules=rules)


def rules_of(source: ModelSource, members: Sequence[Member], *, rules: RuleSet | None = None) -> RuleSet:
    """What `load_rules` does, of members that are open already."""
    parts = rules_by_member(fetch_model(source), [opened for _, opened in members], rules)
    return RuleSet(rule for part in parts for rule in part)


def load_opened(folder: ModelFolder, opened: Opened, options: LoadOptions, *, rules: RuleSet) -> MultiHeadModel:
    """Load one model of which is known how, ready to score."""
    device = take_device(options)
    dtype = find_dtype(options.dtype, device)
    backbone, heads = opened.load(dtype)
    conversations = open_conversations(folder, opened, options)
    model = MultiHeadModel(backbone, heads=heads, rules=rules, conversations=conversations, dtype=dtype).eval()
    if folder.split:
        _move_heads(model)
    else:
        model.to(device)
    compile_body(model, options)
    return model


def compile_body(model: BodyModel, options: LoadOptions) -> None:
    """Have torch compile the body at its first forward pass, if that is asked for."""
    if options.compile:
        model.backbone.compile(dynamic=True)


def open_conversations(folder: ModelFolder, opened: Opened, options: LoadOptions) -> ConversationTokenizer:
    """How a model reads conversations, as the options say or else itself, up to the options' length."""
    tokenizer, reading = folder.tokenizer, options.reading
    tokenizer.chat_template = tokenizer.chat_template or opened.chat_template
    skips_pad = opened.skips_pad and reading.ending == "transformers"
    closes = reading.ending == "eos" and opened.ends_with is None
    if closes and tokenizer.eos_token_id is None:
        raise ModelError(f"{folder.path}: score.ending is eos, and its tokenizer has no EOS token. Leave it out.")
    return ConversationTokenizer(
        tokenizer,
        folder.config,
        template=opened.template,
        reading=reading,
        max_length=options.max_length,
        bos="tokenizer" if opened.adds_bos and reading.bos == "template" else reading.bos,
        skips=folder.config.get_text_config().pad_token_id if skips_pad else None,
        ends_with=tokenizer.eos_token_id if closes else opened.ends_with,
        closes=closes,
    )


def open_members(source: ModelSource, reading: Reading | None = None, *, split: bool = False) -> list[Member]:
    """All members of a model with what they hold, every tensor and the vocabulary accounted for; no weight is read.

    Args:
        reading: how conversations will be read; None: as the model says.
    """
    options = LoadOptions(reading=reading or Reading())
    folders = [ModelFolder(source.at(path), split=split) for path in fetch_members(source)]
    members = [(folder, open_model(folder)) for folder in folders]
    for folder, opened in members:
        folder.check_tensors(opened)
        open_conversations(folder, opened, options).check_vocabulary()
    return members


@torch.inference_mode()
def _move_heads(model: MultiHeadModel) -> None:
    """Put the heads of a model whose body lies where its device map says to where the hidden states come out."""
    hidden_1TD = model.backbone(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.device)).last_hidden_state
    model.heads.to(hidden_1TD.device)
