"""Model files on this machine: local folders and hub snapshots, and which of them decide a score."""

import fnmatch
import json
from dataclasses import replace
from pathlib import Path

from encore_ray.errors import ModelError
from encore_ray.files.named import meant
from encore_ray.models.families.form import Ensemble, read_form
from encore_ray.models.spec.files import ADAPTER_FILE, FAMILY_FILES, RULES_FILE
from encore_ray.models.spec.source import ModelSource

_FILES = (
    "*.safetensors",
    "*.json",
    "*.yaml",
    "*.txt",
    "*.model",
    "*.jinja",
    "*.py",
    "*.tiktoken",
)
_PICKLES = ("*.bin",)
_NAMED_TEMPLATES = "additional_chat_templates/*.jinja"
# What trainers and people leave beside a model, and nobody reads with it.
_BESIDE = (
    RULES_FILE,
    "README*",
    "LICENSE*",
    "requirements*.txt",
    "training_args*",
    "trainer_state.json",
    "*_results.json",
    "optimizer.bin",
    "scheduler.bin",
)


def fetch_model(source: ModelSource) -> Path:
    """The local folder of a model: a folder as it is, a hub id downloaded once a node, under locks.

    Weights stored as pickles (*.bin) are fetched where the source allows them.

    Raises:
        ModelError: no such folder, or the hub does not give it.
    """
    folder = Path(source.path).expanduser()
    if folder.is_dir():
        return folder.resolve()
    name = str(source.path)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or folder.exists():
        raise ModelError(
            f"The model {name} is not a folder on this machine. Give a model folder or a hub id.{meant(name)}"
        )
    return _download(name, revision=source.revision, allow_pickle=source.allow_pickle)


def fetch_members(source: ModelSource) -> list[Path]:
    """The local folders of all members of a model, in order; the folder of the model itself where it has no members.

    Of a LoRA adapter it is the folder of its base with the adapter merged, see `adapters`. The revision of the source
    is that of the model; a member's own stands behind its name.

    Raises:
        ModelError: a member is not there, or has members itself.
    """
    folder = fetch_model(source)
    form = read_form(folder)
    if not isinstance(form, Ensemble):
        return [_whole(folder, source)]
    members = [_fetch_member(folder, member, allow_pickle=source.allow_pickle) for member in form.members]
    for member in members:
        if isinstance(read_form(member), Ensemble):
            raise ModelError(f"{folder}: its member {member} has members itself. Name those here instead.")
    return [_whole(member, source) for member in members]


def _whole(folder: Path, source: ModelSource) -> Path:
    if not (folder / ADAPTER_FILE).exists():
        return folder
    from encore_ray.models.files.adapters import merged_folder

    def fetch(name: str, revision: str | None) -> Path:
        return fetch_model(replace(source, path=name, revision=revision))

    return merged_folder(folder, fetch=fetch, allow_pickle=source.allow_pickle)


def fetch_only_member(source: ModelSource) -> Path:
    """The local folder of a model that is one body; ModelError where it is several."""
    members = fetch_members(source)
    if len(members) != 1:
        raise ModelError(f"{source.path} has {len(members)} members, each with a body of its own. Name one of them.")
    return members[0]


def _fetch_member(folder: Path, member: str, *, allow_pickle: bool) -> Path:
    local = folder / Path(member).expanduser()
    if local.is_dir():
        return local.resolve()
    name, _, revision = member.partition("@")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            f"{folder}: its member {member} is neither a folder ({local}) nor a hub id. Paths count from {folder}."
        )
    return _download(name, revision=revision or None, allow_pickle=allow_pickle)


def wanted_files(*, allow_pickle: bool) -> list[str]:
    """Patterns of the names of those files of a model that are fetched."""
    return [*_patterns(), *(_PICKLES if allow_pickle else ())]


def deciding_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide its scores, in order."""
    patterns = (*_patterns(), *_PICKLES, _NAMED_TEMPLATES)
    found = {file for pattern in patterns for file in folder.glob(pattern)}
    found |= {folder / name for index in folder.glob("*.index.json") for name in _shards(index)}
    return sorted(file for file in found if file.is_file() and not _decides_nothing(file.name))


def _decides_nothing(name: str) -> bool:
    return name.startswith(".") or any(fnmatch.fnmatch(name, pattern) for pattern in _BESIDE)


def _shards(index: Path) -> set[str]:
    """The files that an index of weights names, in subfolders too; none of one that cannot be read."""
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in named if isinstance(name, str)}


def _patterns() -> list[str]:
    """Of the names of files that decide scores, pickles aside."""
    return [*_FILES, *FAMILY_FILES]


def _download(name: str, *, revision: str | None, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = wanted_files(allow_pickle=allow_pickle)
    try:
        # It holds a lock a file, so that the actors that start on a node together download each file once.
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns)).resolve()
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"Cannot fetch the model {name}{f' at {revision}' if revision else ''}: {_first_line(error)} "
            "Check the id, the network and HF_TOKEN, or give a folder that holds the model."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
