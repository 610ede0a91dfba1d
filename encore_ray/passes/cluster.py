"""The Ray cluster a job runs on: joining it, sizing actor pools to it, and making sure every node sees the files."""

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
from ray.data import DataContext
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from encore_ray.config import ClusterOptions, ScoreOptions
from encore_ray.errors import ClusterError
from encore_ray.storage import Folder, file_system, is_remote

NONCE_FILE = ".encore-ray-nonce"
NODE_CHECK_TIMEOUT_S = 120.0
# A local cluster's actors take a little less than a CPU each, so that Ray's own short tasks always find room.
CPU_ACTOR_SHARE = 0.9
WORKER_ENV = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads on busy cores cost a factor of twenty
    "TOKENIZERS_PARALLELISM": "false",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM: handled as an interrupt, so that the job ends cleanly; exit code 143 instead of 130."""


@dataclass(frozen=True)
class Resources:
    """What the whole cluster has."""

    cpus: float
    gpus: float
    num_nodes: int

    def __str__(self) -> str:
        nodes = "1 node" if self.num_nodes == 1 else f"{self.num_nodes} nodes"
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs on {nodes}"


@dataclass(frozen=True)
class ActorPool:
    """Actors that fit the cluster; each may run two calls at a time, to overlap its device with reading."""

    min_actors: int
    max_actors: int
    cpus: float
    gpus: float
    calls_at_a_time: int = 1

    def __str__(self) -> str:
        count = (
            f"{self.min_actors}" if self.min_actors == self.max_actors else f"{self.min_actors} to {self.max_actors}"
        )
        device = f"{self.gpus:g} GPU and {self.cpus:g} CPUs" if self.gpus else f"{self.cpus:g} CPUs"
        return f"{count} actor{'s' if self.max_actors > 1 else ''} with {device} each"


@dataclass(frozen=True)
class TaskPool:
    """Plain tasks that fit the cluster: so many at a time, with so many CPUs each."""

    size: int
    cpus: float


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


@contextlib.contextmanager
def cluster(options: ClusterOptions) -> Iterator[Resources]:
    """Join the Ray cluster, or start a local one, for the duration of the block.

    A Ray session that the process already has is used and left alone.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    ours = not ray.is_initialized()
    if ours:
        _connect(options)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = options.no_progress_timeout_s
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with _sigterm_interrupts():
            yield resources()
    finally:
        if ours:
            ray.shutdown()


def resources() -> Resources:
    """The totals of the cluster as it is now."""
    totals = ray.cluster_resources()
    return Resources(totals.get("CPU", 0.0), totals.get("GPU", 0.0), len(_live_nodes()))


def score_pool(options: ScoreOptions, have: Resources, *, num_units: int) -> ActorPool:
    """The scoring actors: as asked for, else one a GPU, else one a CPU; never more than there are units.

    Raises:
        ClusterError: the cluster cannot hold the (smallest) pool asked for; states what is asked and what is there.
    """
    gpus = options.gpus_per_actor if options.gpus_per_actor is not None else float(have.gpus > 0)
    cpus = options.cpus_per_actor
    if cpus is None:
        cpus = min(2.0, max(have.cpus / max(have.gpus, 1), 0.1)) if gpus else CPU_ACTOR_SHARE
    room = _room(have, cpus=cpus, gpus=gpus)
    low, high = options.actor_range or (1, max(room, 1))
    if options.actor_range is None and room:
        low = high = max(1, min(room, num_units))
    if low > room:
        wanted = f"{low} actor{'s' if low > 1 else ''} with {cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise ClusterError(
            f"The score pass asks for {wanted} each, {low * cpus:g} CPUs and {low * gpus:g} GPUs in all; "
            f"the cluster has {have}, room for {room}. Ask for less "
            "with --actors, --cpus-per-actor or --gpus-per-actor."
        )
    return ActorPool(min(low, num_units) or 1, max(1, min(high, num_units)), cpus, gpus, calls_at_a_time=2)


def task_pool(have: Resources) -> TaskPool:
    """Tasks for the passes that only read, count and write: one a CPU."""
    if have.cpus <= 0:
        raise ClusterError(f"The cluster has {have}: at least one CPU is needed.")
    cpus = min(CPU_ACTOR_SHARE, have.cpus)
    return TaskPool(max(1, _room(have, cpus=cpus, gpus=0)), cpus)


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
    for node in _live_nodes():
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


def _connect(options: ClusterOptions) -> None:
    # Ray's core tells the driver's terminal about actors of Ray Data that restart fine (ray-project/ray#53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if options.address in (None, "local") and not os.environ.get("RAY_ADDRESS"):
            # Local workers inherit our environment; a runtime environment would keep Ray from starting them ahead.
            for name, value in WORKER_ENV.items():
                os.environ.setdefault(name, value)
            with _without_banner():
                ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=options.address, runtime_env={"env_vars": dict(WORKER_ENV)}, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Cannot join the Ray cluster at {options.address or 'local'}: {error}") from None


@contextlib.contextmanager
def _without_banner() -> Iterator[None]:
    """Keep what Ray's core writes straight to the process's stderr while it starts from the user's terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _room(have: Resources, *, cpus: float, gpus: float) -> int:
    fits = [math.floor(have.cpus / cpus + 1e-9)]
    if gpus:
        fits.append(math.floor(have.gpus / gpus + 1e-9))
    return min(fits)


def _live_nodes() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Turn SIGTERM into Terminated; installed after ray.init, which installs a handler of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
