"""What a model is: a digest over the files that decide its scores, the same wherever and by whomever they are read.

The driver plans with a digest; every process that loads the model compares, and looks at the files again after each
unit, since weights may be mapped from them: scores are those of the digest, or they are not kept.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from encore_ray.errors import ModelError
from encore_ray.models.files.digests import Stamp, file_digest
from encore_ray.models.loading.fetch import deciding_files, fetch_members, fetch_model
from encore_ray.models.spec.source import ModelSource

_DIGITS = 12  # of a digest, for people


@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, for fingerprints.

    Attributes:
        source: the path or hub id as given.
        revision: commit of the hub snapshot; None for a local folder.
        digest: SHA-256 over names and contents of the files that decide a score; of all members, where it has some.
        members: folders of the members in order, or its own.
        stamps: of those files, as they were when they were read.
    """

    source: str
    revision: str | None
    digest: str
    members: tuple[Path, ...]
    stamps: Mapping[Path, Stamp]

    def check(self) -> None:
        """Make sure that the files are still those that were read.

        Raises:
            ModelError: one was changed, added or deleted; names it and the node.
        """
        now = {file: _stamp(file) for member in self.members for file in deciding_files(member)}
        changed = [file for file in sorted(now.keys() | self.stamps.keys()) if now.get(file) != self.stamps.get(file)]
        if changed:
            raise ModelError(
                f"{changed[0]} on node {os.uname().nodename} was changed while the model was in use. What was made "
                "since is not kept. Give each version of a model a folder of its own, and start again."
            )


def identify_model(source: ModelSource) -> ModelIdentity:
    """Path or id, commit, and a digest of the weights, configuration and tokenizer.

    Every byte is read once a machine (about a second a gigabyte), see `file_digest`.
    """
    folder, members = fetch_model(source), fetch_members(source)
    stamps: dict[Path, Stamp] = {}
    digests = [_digest(member, stamps) for member in members]
    if members != [folder]:  # where the members lie decides no score: their digests stand for them
        digests = [hashlib.sha256("\n".join(digests).encode()).hexdigest()]
    commit = folder.name if folder.parent.name == "snapshots" else None
    return ModelIdentity(str(source.path), commit, digests[0], tuple(members), stamps)


def require_model(source: ModelSource, digest: str, *, name: str) -> ModelIdentity:
    """The model as it lies on this node, which must be the one that was planned.

    Args:
        source: where it is read from here.
        digest: of the plan.
        name: as the user names it.

    Raises:
        ModelError: it is another one here; names the node and both digests.
    """
    found = identify_model(source)
    if found.digest != digest:
        raise ModelError(
            f"{name} on node {os.uname().nodename} is not the model that the job was planned with: the digest of its "
            f"files is {found.digest[:_DIGITS]}, not {digest[:_DIGITS]}. Put the same files on every node, or start "
            "again with the new ones in another run folder."
        )
    return found


def _digest(folder: Path, stamps: dict[Path, Stamp]) -> str:
    sha = hashlib.sha256()
    for file in deciding_files(folder):
        digest, stamps[file] = file_digest(file)
        sha.update(f"{file.name}\0{digest}\n".encode())
    return sha.hexdigest()


def _stamp(file: Path) -> Stamp | None:
    try:
        return Stamp.of(file)
    except OSError:
        return None
