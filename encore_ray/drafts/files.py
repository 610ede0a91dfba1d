"""Drafted files, and how they are written: beside each other, and never over what a person has changed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from encore_ray.errors import ConfigError
from encore_ray.files.drafted import read_draft
from encore_ray.schema import RULES_FILE
from encore_ray.shell import near, to_paste
from encore_ray.storage import Folder, is_remote

JOB_NAME, CHAIN_NAME = "job.yaml", "chain.yaml"
_REMEDY = "Run what is there, name another file, or replace it with --overwrite."


@dataclass(frozen=True)
class Draft:
    """Files to be written beside each other.

    Attributes:
        files: their texts by their names; the first is the one to run.
        found, guessed: sentences without an end.
        verb: of the command that runs it.
        inputs: files that it was made from, none of which is ever replaced.
        allowing: the prepare.max_bad_fraction that the rows seen need; None where the usual one will do.
    """

    files: Mapping[str, str]
    found: tuple[str, ...]
    guessed: tuple[str, ...]
    verb: str = "run"
    inputs: tuple[str, ...] = ()
    allowing: float | None = None

    @property
    def name(self) -> str:
        """Of the file to run."""
        return next(iter(self.files))

    def write(self, folder: str, *, overwrite: bool = False) -> None:
        """Write the files; one that is there with another text is only replaced where that is asked for.

        Rules that were drafted of scores are replaced where nobody has changed them, and never once somebody has.

        Raises:
            ConfigError: as of `refuse_others`, or it cannot be written.
        """
        place = Folder(folder)
        self.refuse_others(folder, overwrite=overwrite)
        for name, text in self.files.items():
            place.write_atomic(name, text.encode())

    def refuse_others(self, folder: str, *, overwrite: bool = False) -> None:
        """Raise ConfigError where a file is there with another text, or would replace one that it was made from."""
        place = Folder(folder)
        own = [name for name in self.files if place.path(name) in self.inputs]
        if own:
            raise ConfigError(
                f"{place.path(own[0])} is what the draft is made from, and would be replaced by it: name another file, "
                "or another run folder, whose name the draft bears."
            )
        standing = {name: _text_of(place, name) for name in self.files}
        others = {name: was for name, was in standing.items() if was is not None and was != self.files[name]}
        drafts = {name: read_draft(was) for name, was in others.items()}
        for name, draft in drafts.items():
            if draft is not None and draft.is_edited:
                raise ConfigError(
                    f"{place.path(name)} was {draft}, and would be replaced. Take it as it is, or move it away"
                    f"{to_paste(rules=near(place.path(name)))}"
                )
        kept = [place.path(name) for name, draft in drafts.items() if draft is None]
        if kept and not overwrite:
            are = "are" if len(kept) > 1 else "is"
            raise ConfigError(f"{' and '.join(kept)} {are} there already, with another content. {_REMEDY}")


@dataclass(frozen=True)
class Names:
    """Where a draft goes.

    Attributes:
        folder: local; paths below it are written relative to it.
        job: the name of the file to run; None: as is usual for what it is.
    """

    folder: str
    job: str | None = None

    @property
    def rules(self) -> str:
        """Of the rules beside the file to run."""
        stem = os.path.splitext(self.job or JOB_NAME)[0]
        return RULES_FILE if self.job in (None, JOB_NAME, CHAIN_NAME) else f"{stem}-{RULES_FILE}"

    def near(self, path: str) -> str:
        """A path as a file there names it: relative where it lies below."""
        if is_remote(path) or not path.startswith("/"):
            return path
        relative = os.path.relpath(path, self.folder)
        return path if relative.startswith("..") else relative


def _text_of(folder: Folder, name: str) -> str | None:
    try:
        return folder.read_bytes(name).decode(errors="replace")
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return ""
