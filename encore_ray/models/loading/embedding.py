"""Sentence embeddings by a frozen backbone, and saving of the linear probes that were fitted to them.

An embedder takes its forward passes as a multi-head model does: strategies, budgets and the check against one-by-one
scoring hold for it too.
"""

import fnmatch
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from encore_ray.models.families.devices import find_dtype, take_device
from encore_ray.models.families.form import OwnForm
from encore_ray.models.families.loaders import load_tokenizer
from encore_ray.models.families.model_folder import ModelFolder
from encore_ray.models.files.legible import make_legible
from encore_ray.models.forward.embedder import Embedder
from encore_ray.models.forward.heads import LinearHeads, regressed_rule
from encore_ray.models.loading.checkpoint import compile_body
from encore_ray.models.loading.ensemble_scorer import EnsembleScorer
from encore_ray.models.loading.fetch import fetch_only_member, wanted_files
from encore_ray.models.loading.saving import write_heads
from encore_ray.models.spec.conversation import Reading, Reads, Template
from encore_ray.models.spec.files import FIT_FILE, FORM_FILE, HEADS_FILE, RULES_FILE, TRAIN_FILE
from encore_ray.models.spec.forward import Pooling, Strategy
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer, default_template
from encore_ray.rules import RuleSet

_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
_HEADS_FILES = (HEADS_FILE, RULES_FILE, FORM_FILE, FIT_FILE, TRAIN_FILE)


def load_embedder(
    source: ModelSource, options: LoadOptions, *, strategy: Strategy, pooling: Pooling, reads: Reads
) -> EnsembleScorer:
    """Load a backbone that gives of each response its embedding [D], float32, and no scores.

    Args:
        source: any transformers model with a tokenizer; heads that it has are left out.
        options: how it is run.
        strategy: exact for it, see `choose_strategy`.
        pooling: which tokens make the embedding.
        reads: the whole conversation, or the response alone.

    Raises:
        ModelError: it cannot be loaded, or is several models in one.
    """
    folder = ModelFolder(source.at(fetch_only_member(source)), split=options.split)
    device = take_device(options)
    dtype = find_dtype(options.dtype, device)
    backbone = folder.load_body(dtype)
    conversations = ConversationTokenizer(
        folder.tokenizer,
        folder.config,
        template=_template(reads),
        reading=options.reading if reads == "conversation" else Reading(),
        max_length=options.max_length,
    )
    model = Embedder(backbone, pooling=pooling, conversations=conversations, dtype=dtype).eval()
    if not folder.split:
        model.to(device)
    compile_body(model, options)
    return EnsembleScorer([model], strategies=[strategy], batch_tokens=options.batch_tokens)


def embedding_size(source: ModelSource) -> int:
    """How many numbers an embedding of a backbone has, without loading its weights; errors as of `load_embedder`."""
    return ModelFolder(source.at(fetch_only_member(source))).hidden_size


def save_fitted(
    folder: Path,
    *,
    backbone: ModelSource,
    weight_KD: np.ndarray,
    bias_K: np.ndarray,
    rules: RuleSet,
    pooling: Pooling,
    reads: Reads,
    stale: Iterable[str] = (),
) -> RuleSet:
    """Write a model in our own form: the backbone's files as they are, and linear heads that were fitted to it.

    Args:
        folder: made if it is not there; a model in it is replaced, and encore.json is written last.
        backbone: as given to `load_embedder`.
        weight_KD, bias_K: one head a rule.
        rules: K rules, with the link of each head.
        pooling, reads: of the embeddings that the heads were fitted to.
        stale: files of the model that is replaced, see `backbone_files`; what else is in the folder stays.

    Returns:
        The rules as saved: those that ratings were regressed for are continuous, and clip.
    """
    place = fetch_only_member(backbone)
    folder.mkdir(parents=True, exist_ok=True)
    assert folder.resolve() != place.resolve(), folder
    (folder / FORM_FILE).unlink(missing_ok=True)
    _delete(folder, stale)
    for file in _model_files(place, allow_pickle=backbone.allow_pickle):
        shutil.copyfile(file, folder / file.name)
    make_legible(folder)
    saved = RuleSet(rule if rule.link == "sigmoid" else regressed_rule(rule) for rule in rules)
    heads = LinearHeads(torch.from_numpy(weight_KD), torch.from_numpy(bias_K))
    template = _template(reads) or default_template(load_tokenizer(backbone.at(place)))
    write_heads(folder, heads=heads, rules=saved, form=OwnForm(pooling, template))
    return saved


def delete_model(folder: Path, names: Iterable[str]) -> None:
    """Delete a model in our own form, encore.json first; what else is in the folder stays.

    Args:
        folder: of the model, where it is there.
        names: of its files, those of its heads may be left out.
    """
    _delete(folder, (FORM_FILE, *_HEADS_FILES, *names))


def backbone_files(backbone: ModelSource) -> list[str]:
    """Names of the files that `save_fitted` copies."""
    place = fetch_only_member(backbone)
    return [file.name for file in _model_files(place, allow_pickle=backbone.allow_pickle)]


def _delete(folder: Path, names: Iterable[str]) -> None:
    """Delete files, and weights as transformers names them: a model that is written later would be read with them."""
    weights = [file.name for pattern in _WEIGHTS for file in folder.glob(pattern)]
    for name in (*names, *weights):
        file = folder / name
        if file.resolve().is_relative_to(folder.resolve()):
            file.unlink(missing_ok=True)


def _model_files(folder: Path, *, allow_pickle: bool) -> list[Path]:
    """The files of a backbone and its tokenizer."""
    patterns = wanted_files(allow_pickle=allow_pickle)
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and file.name not in _HEADS_FILES
        and any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns)
    ]


def _template(reads: Reads) -> Template | None:
    return "response-v1" if reads == "response" else None
