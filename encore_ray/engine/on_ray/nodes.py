"""Making sure that every node sees the run folder, the inputs and the model before it works."""

import uuid
from collections.abc import Sequence
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from encore_ray.engine.on_ray.memory import MemoryPatience
from encore_ray.engine.visible import Visible, unseen_message
from encore_ray.errors import ClusterError
from encore_ray.schema import NONCE_FILE
from encore_ray.storage import Folder, is_remote

NODE_CHECK_TIMEOUT_S = 120.0


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
    visible = Visible(run, nonce, tuple(path for path in paths if not is_remote(path)), tuple(paths))
    try:
        _ask_nodes(visible)
    except BaseException:
        visible.forget()
        raise
    return visible


def _ask_nodes(visible: Visible) -> None:
    # Tried again by us: Ray's own retries have no end where memory is short.
    look = ray.remote(num_cpus=0, max_retries=0)(Visible.problems)
    found: dict[str, Any] = {}
    memory = MemoryPatience()
    for node in live_nodes():
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        found[f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"] = look.options(scheduling_strategy=strategy)
    blind = []
    references = {name: asked.remote(visible) for name, asked in found.items()}
    for name, asked in found.items():
        try:
            problems = _answer(asked, references[name], visible, memory)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayError) as error:
            raise ClusterError(f"Node {name} did not answer within {NODE_CHECK_TIMEOUT_S:g} s: {error}") from None
        if problems:
            blind.append(unseen_message(name, problems))
    if blind:
        raise ClusterError("\n".join(blind))


def _answer(asked: Any, reference: Any, visible: Visible, memory: MemoryPatience) -> Any:
    """What a node answers; asked once more where its worker died, and again where the node has no memory."""
    has_died = False
    while True:
        try:
            with memory.watching():
                return ray.get(reference, timeout=NODE_CHECK_TIMEOUT_S)
        except ray.exceptions.OutOfMemoryError:
            memory.pause()
        except ray.exceptions.WorkerCrashedError:
            if has_died:
                raise
            has_died = True
        reference = asked.remote(visible)


def live_nodes() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]
