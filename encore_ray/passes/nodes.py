"""Making sure that every node sees the run folder, the inputs and the model before it works."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from encore_ray.errors import ClusterError, ConfigError
from encore_ray.remote import file_system
from encore_ray.schema import NONCE_FILE
from encore_ray.storage import Folder, is_remote

NODE_CHECK_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Visible:
    """What every node must see before it may work: the run folder's nonce, and the paths of inputs and model."""

    run: Folder
    nonce: str
    paths: tuple[str, ...] = ()

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

    def check(self) -> None:
        """Raise ClusterError when the calling process does not see everything."""
        problems = self.problems()
        if problems:
            raise ClusterError(unseen_message(os.uname().nodename, problems))


def check_nodes(run: Folder, paths: Sequence[str]) -> Visible:
    """Make sure that every node of the cluster sees the run folder, the inputs and the model.

    Args:
        run: the run folder; a nonce is written into it.
        paths: inputs and model; names on a hub are each node's own affair and are skipped by the caller.

    Raises:
        ClusterError: naming every node with what it does not see.
    """
    nonce = uuid.uuid4().hex
    run.write_atomic(NONCE_FILE, nonce.encode())
    visible = Visible(run, nonce, tuple(path for path in paths if not is_remote(path)))
    look = ray.remote(num_cpus=0, max_retries=1)(Visible.problems)
    found: dict[str, Any] = {}
    for node in live_nodes():
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        found[f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"] = look.options(
            scheduling_strategy=strategy
        ).remote(visible)
    blind = []
    for name, reference in found.items():
        try:
            problems = ray.get(reference, timeout=NODE_CHECK_TIMEOUT_S)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayError) as error:
            raise ClusterError(f"Node {name} did not answer within {NODE_CHECK_TIMEOUT_S:g} s: {error}") from None
        if problems:
            blind.append(unseen_message(name, problems))
    if blind:
        raise ClusterError("\n".join(blind))
    return visible


def unseen_message(node: str, paths: Sequence[str]) -> str:
    return (
        f"Node {node} does not see {', '.join(paths)}. Put them on storage that all nodes share (NFS, s3://...), "
        "or at the same path on every node."
    )


def live_nodes() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]
