"""What a model is: a digest over the files that decide its scores, the same wherever and by whomever they are read.

The driver plans with a digest; every process that loads the model compares, and looks at the files again after each
unit, since weights may be mapped from them: scores are those of the digest, or they are not kept.
"""

import hashlib
import os
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
        folder: where it lies here.
        members: folders of the members in order, or its own.
        files: the digest of each, and its stamp when it was last looked at.
    """

    source: str
    revision: str | None
    digest: str
    folder: Path
    members: tuple[Path, ...]
    files: dict[Path, tuple[str, Stamp]]

    def check(self) -> None:
        """Make sure that the files are still those that were read; one whose stamp has changed is read again.

        Raises:
            ModelError: one was changed, added or deleted, or its folder is a link to another by now; names it and the
                node.
        """
        place = Path(self.source).expanduser()
        if place.is_dir() and place.resolve() != self.folder:
            raise _changed(place)
        now = {file for member in self.members for file in deciding_files(member)}
        for file in sorted(now ^ self.files.keys()):
            raise _changed(file)
        for file, (digest, stamp) in list(self.files.items()):
            if _stamp(file) != stamp:
                found = file_digest(file)
                if found[0] != digest:
                    raise _changed(file)
                self.files[file] = found


def identify_model(source: ModelSource) -> ModelIdentity:
    """Path or id, commit, and a digest of the weights, configuration and tokenizer.

    Every byte is read once a machine (about a second a gigabyte), see `file_digest`.
    """
    folder, members = fetch_model(source), fetch_members(source)
    files: dict[Path, tuple[str, Stamp]] = {}
    digests = [_digest(member, files) for member in members]
    if members != [folder]:  # where the members lie decides no score: their digests stand for them
        digests = [hashlib.sha256("\n".join(digests).encode()).hexdigest()]
    commit = folder.name if folder.parent.name == "snapshots" else None
    return ModelIdentity(str(source.path), commit, digests[0], folder, tuple(members), files)


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


def _digest(folder: Path, files: dict[Path, tuple[str, Stamp]]) -> str:
    sha = hashlib.sha256()
    for file in deciding_files(folder):
        files[file] = file_digest(file)
        sha.update(f"{file.relative_to(folder).as_posix()}\0{files[file][0]}\n".encode(errors="surrogateescape"))
    return sha.hexdigest()


def _changed(path: Path) -> ModelError:
    return ModelError(
        f"{path} on node {os.uname().nodename} was changed while the model was in use. What was made since is not "
        "kept. Give each version of a model a folder of its own, and start again."
    )


def _stamp(file: Path) -> Stamp | None:
    try:
        return Stamp.of(file)
    except OSError:
        return None
