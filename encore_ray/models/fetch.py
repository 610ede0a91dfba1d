"""Where a model's files are on this machine, and what exactly they are."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from encore_ray.errors import ModelError

_FILES = ("*.safetensors", "*.json", "*.yaml", "*.txt", "*.model", "*.jinja", "*.py", "*.tiktoken")
_PICKLES = ("*.bin",)
RULES_FILE = "rules.yaml"  # what scores mean, not what they are: a corrected scale or direction needs no new scores


@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, for fingerprints.

    Attributes:
        source: the path or hub id as given.
        revision: commit of the hub snapshot; None for a local folder.
        digest: SHA-256 over names and contents of the files that decide a score.
    """

    source: str
    revision: str | None
    digest: str


def fetch_model(path: str | Path, *, revision: str | None = None, allow_pickle: bool = False) -> Path:
    """The local folder of a model: a folder as it is, a hub id downloaded once a node, under locks.

    Args:
        path: a local folder or a Hugging Face hub id (`owner/name`).
        revision: branch, tag or commit on the hub.
        allow_pickle: also fetch weights stored as pickles (*.bin).

    Raises:
        ModelError: no such folder, or the hub does not give it.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder.resolve()
    name = str(path)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or folder.exists():
        raise ModelError(f"The model {name} is not a folder on this machine. Give a model folder or a hub id.")
    patterns = [*_FILES, *(_PICKLES if allow_pickle else ())]
    try:
        # It holds a lock a file, so that the actors that start on a node together download each file once.
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns)).resolve()
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"Cannot fetch the model {name}{f' at {revision}' if revision else ''}: {_first_line(error)} "
            "Check the id, the network and HF_TOKEN, or give a folder that holds the model."
        ) from error


def identify_model(path: str | Path, *, revision: str | None = None, allow_pickle: bool = False) -> ModelIdentity:
    """Path or id, commit, and a digest of the weights, configuration and tokenizer.

    It reads every byte (about a second a gigabyte): call it once a job, not once an actor.
    """
    folder = fetch_model(path, revision=revision, allow_pickle=allow_pickle)
    sha = hashlib.sha256()
    deciding = (file for pattern in (*_FILES, *_PICKLES) for file in folder.glob(pattern) if file.name != RULES_FILE)
    for file in sorted(deciding):
        with file.open("rb") as handle:
            sha.update(f"{file.name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    commit = folder.name if folder.parent.name == "snapshots" else None
    return ModelIdentity(str(path), commit, sha.hexdigest())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
