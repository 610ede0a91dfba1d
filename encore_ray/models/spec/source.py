"""Which model is read, and what reading it may do."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class ModelSource:
    """A model by name, and what its files may do here.

    Attributes:
        path: a folder, or a hub id (`owner/name`) that is fetched once a node.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run Python code that comes with the model.
        allow_pickle: load weights stored as pickles, which can run code.
    """

    path: str | Path
    revision: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False

    def at(self, path: str | Path) -> "ModelSource":
        """The same model where its files lie on this machine."""
        return replace(self, path=path)
