"""Model files on this machine: local folders and hub snapshots, and the digest that identifies them."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from encore_ray.errors import ModelError
from encore_ray.models.families.form import Ensemble, read_form
from encore_ray.models.spec.files import ADAPTER_FILE, RULES_FILE
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


@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, for fingerprints.

    Attributes:
        source: the path or hub id as given.
        revision: commit of the hub snapshot; None for a local folder.
        digest: SHA-256 over names and contents of the files that decide a score; of all members, where it has some.
    """

    source: str
    revision: str | None
    digest: str


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
        raise ModelError(f"The model {name} is not a folder on this machine. Give a model folder or a hub id.")
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
    return [*_deciding_files(), *(_PICKLES if allow_pickle else ())]


def _deciding_files() -> list[str]:
    """Patterns of the files that decide scores; those of the families load torch."""
    from encore_ray.models.families.families import family_files

    return [*_FILES, *family_files()]


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


def identify_model(source: ModelSource) -> ModelIdentity:
    """Path or id, commit, and a digest of the weights, configuration and tokenizer.

    It reads every byte (about a second a gigabyte): call it once a job, not once an actor.
    """
    folder, members = fetch_model(source), fetch_members(source)
    digests = [_digest(member) for member in members]
    if members != [folder]:  # where the members lie decides no score: their digests stand for them
        digests = [hashlib.sha256("\n".join(digests).encode()).hexdigest()]
    commit = folder.name if folder.parent.name == "snapshots" else None
    return ModelIdentity(str(source.path), commit, digests[0])


def _digest(folder: Path) -> str:
    sha = hashlib.sha256()
    patterns = (*_deciding_files(), *_PICKLES)
    for file in sorted({file for pattern in patterns for file in folder.glob(pattern) if file.name != RULES_FILE}):
        with file.open("rb") as handle:
            sha.update(f"{file.name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return sha.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
