"""encore.json: what makes a folder a model in our own form, or several models that act as one.

{"schema_version": 1, "pooling": "last", "template": "chat"}
{"schema_version": 1, "members": ["../reward", "owner/model@revision"]}
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encore_ray.errors import ModelError
from encore_ray.models.spec.conversation import TEMPLATES, Template
from encore_ray.models.spec.files import FORM_FILE
from encore_ray.models.spec.forward import POOLINGS, Pooling

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class OwnForm:
    """A backbone with our heads beside it."""

    pooling: Pooling
    template: Template


@dataclass(frozen=True)
class Ensemble:
    """Models whose rules follow each other; paths count from the folder, and a hub id may name an @revision."""

    members: tuple[str, ...]


def read_form(folder: Path) -> OwnForm | Ensemble | None:
    """What a folder's encore.json says; None where there is none, ModelError if it is wrong."""
    file = folder / FORM_FILE
    if not file.exists():
        return None
    try:
        form = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON: {error}") from None
    if isinstance(form, dict) and set(form) == {"schema_version", "members"}:
        _check_choices(file, form, {"schema_version": (SCHEMA_VERSION,)})
        members = form["members"]
        if not isinstance(members, list) or not members or not all(isinstance(m, str) and m for m in members):
            raise ModelError(f"{file}: members must be a list of folders or hub ids; found {members!r:.200}.")
        return Ensemble(tuple(members))
    allowed = {"schema_version": (SCHEMA_VERSION,), "pooling": POOLINGS, "template": TEMPLATES}
    if not isinstance(form, dict) or set(form) != set(allowed):
        raise ModelError(
            f"{file}: expected the keys {', '.join(allowed)}, or schema_version, members; found {form!r:.200}."
        )
    _check_choices(file, form, allowed)
    return OwnForm(form["pooling"], form["template"])


def write_form(folder: Path, form: OwnForm | Ensemble) -> None:
    """Write encore.json: last of all files, for a folder is recognised by it."""
    if isinstance(form, Ensemble):
        content: dict[str, Any] = {"members": list(form.members)}
    else:
        content = {"pooling": form.pooling, "template": form.template}
    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, ensure_ascii=False)
    (folder / FORM_FILE).write_text(text + "\n", encoding="utf-8")


def _check_choices(file: Path, form: dict[str, Any], allowed: dict[str, tuple[Any, ...]]) -> None:
    for key, values in allowed.items():
        if form[key] not in values:
            raise ModelError(f"{file}: {key} must be one of {', '.join(map(str, values))}; found {form[key]!r}.")
