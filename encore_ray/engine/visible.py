"""What every node must see before it works: the run folder, the inputs and the model."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from encore_ray.errors import ClusterError, ConfigError
from encore_ray.files.remote import file_system
from encore_ray.schema import NONCE_FILE
from encore_ray.storage import Folder


@dataclass(frozen=True)
class Visible:
    """What every node must see before it may work: the run folder's nonce, and the paths of inputs and model.

    Attributes:
        run, nonce: the run folder and what its nonce must be.
        paths: of files that all nodes share.
        asked: all paths, with URLs, which are not looked at.
    """

    run: Folder
    nonce: str
    paths: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What the calling process does not see; empty when all is well."""
        found = []
        try:
            if self.run.read_bytes(NONCE_FILE).decode() != self.nonce:
                found.append(f"{self.run.uri} (another folder of that name)")
        except OSError:
            found.append(self.run.uri)
        except ConfigError as error:
            found.append(f"{self.run.uri} ({error})")
        for path in self.paths:
            fs, inner = file_system(path)
            if not fs.exists(inner):
                found.append(path)
        return found

    def forget(self) -> None:
        """Delete the nonce, unless another driver has replaced it since."""
        with contextlib.suppress(FileNotFoundError):
            if self.run.read_bytes(NONCE_FILE).decode() == self.nonce:
                self.run.delete(NONCE_FILE)

    def check(self) -> None:
        """Raise ClusterError when the calling process does not see everything."""
        problems = self.problems()
        if problems:
            raise ClusterError(unseen_message(os.uname().nodename, problems))


def unseen_message(node: str, paths: Sequence[str]) -> str:
    return (
        f"Node {node} does not see {', '.join(paths)}. Put them on storage that all nodes share (NFS, s3://...), "
        "or at the same path on every node."
    )
