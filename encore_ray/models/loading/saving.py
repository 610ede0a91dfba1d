"""Multi-head reward models to disk: in our own form, or several of them as one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import PreTrainedModel

from encore_ray.models.families.form import Ensemble, OwnForm, write_form
from encore_ray.models.families.loaders import no_progress_bar
from encore_ray.models.files.legible import make_legible
from encore_ray.models.forward.heads import LinearHeads, num_outputs
from encore_ray.models.spec.conversation import Template
from encore_ray.models.spec.files import FORM_FILE, HEADS_FILE, RULES_FILE
from encore_ray.models.spec.forward import Pooling
from encore_ray.models.text.conversations import default_template
from encore_ray.rules import RuleSet


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
    # Written last: a writer that is killed over another model leaves none, and no mixture.
    (folder / FORM_FILE).unlink(missing_ok=True)
    with no_progress_bar():
        backbone.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_legible(folder)
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
