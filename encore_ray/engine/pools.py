"""How many workers, of which size: actor pools and tasks that fit the cluster, or a refusal with the figures."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encore_ray.config import ScoreOptions
from encore_ray.errors import ClusterError

# A little less than a CPU for each worker, so that Ray's own short tasks always find room.
CPU_SHARE = 0.9
GPU_WORKER_CPUS = 2.0


@dataclass(frozen=True)
class Node:
    """What one node has for workers."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Resources:
    """What the cluster has, node by node: a worker must fit on one of them.

    Attributes:
        nodes: those that are up.
        grows: whether more come when workers wait for them.
    """

    nodes: tuple[Node, ...]
    grows: bool = False

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    def __str__(self) -> str:
        kinds = Counter(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in self.nodes)
        each = ", ".join(f"{count} with {kind}" for kind, count in kinds.items())
        return f"{len(self.nodes)} node{'s' if len(self.nodes) != 1 else ''} ({each})"

    def room(self, *, cpus: float, gpus: float = 0.0) -> int:
        """How many workers of a size fit at a time, each on one node."""
        return sum(_room_on(node, cpus, gpus) for node in self.nodes)


# What workers may have, once a cluster is there; asked for with the facts of a pass that are known before.
FindResources = Callable[[Mapping[str, Any]], Resources]


@dataclass(frozen=True)
class ActorPool:
    """Actors that fit the cluster; each may run two calls at a time, to overlap its device with reading."""

    min_actors: int
    max_actors: int
    cpus: float
    gpus: float
    calls_at_a_time: int = 1

    def __str__(self) -> str:
        most = "" if self.max_actors == self.min_actors else f" to {self.max_actors}"
        beside = f" and {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.min_actors}{most} actor{'s' if self.max_actors > 1 else ''} with {self.cpus:g} CPUs{beside} each"


@dataclass(frozen=True)
class TaskPool:
    """Plain tasks that fit the cluster: so many at a time, with so many CPUs each."""

    size: int
    cpus: float


@dataclass(frozen=True)
class Crew:
    """The workers of a training and what each holds."""

    num: int
    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    def __str__(self) -> str:
        beside = f" and {self.gpus:g} GPU" if self.gpus else ""
        size = f"{self.cpus:g} CPU{'s' if self.cpus != 1 else ''}{beside}"
        return f"{self.num} workers with {size} each" if self.num > 1 else f"a worker with {size}"


def score_pool(options: ScoreOptions, resources: Resources, *, num_units: int) -> ActorPool:
    """The scoring actors: as asked for, else one a GPU, else one a CPU; never more than there are units.

    A cluster that grows is taken at its word where the number of actors is given: they wait for their nodes.

    Raises:
        ClusterError: the cluster cannot hold the (smallest) pool asked for; states what is asked and what is there.
    """
    gpus = options.gpus_per_actor if options.gpus_per_actor is not None else float(resources.gpus > 0)
    cpus = options.cpus_per_actor
    if cpus is None:
        cpus = cpus_beside_gpu(resources, gpus) if gpus else CPU_SHARE
    room = resources.room(cpus=cpus, gpus=gpus)
    low, high = options.actor_range or (1, max(room, 1))
    if options.actor_range is None and room:
        low = high = max(1, min(room, num_units))
    if low > room and not (resources.grows and options.actor_range):
        raise ClusterError(
            f"The score pass asks for {low} actor{'s' if low > 1 else ''} with {cpus:g} CPUs and {gpus:g} GPUs each; "
            f"the cluster has {resources}, room for {room}. Ask for less with --actors, --cpus-per-actor or "
            "--gpus-per-actor; or, where nodes come on demand, set cluster.autoscaling and --actors MIN,MAX."
        )
    return ActorPool(min(low, num_units) or 1, max(1, min(high, num_units)), cpus, gpus, calls_at_a_time=2)


def task_pool(resources: Resources) -> TaskPool:
    """Tasks for the passes that only read, count and write: one a CPU."""
    if resources.cpus <= 0:
        raise ClusterError(f"The cluster has {resources}: at least one CPU is needed.")
    cpus = min(CPU_SHARE, max(node.cpus for node in resources.nodes))
    return TaskPool(resources.room(cpus=cpus), cpus)


def keeping_pool(resources: Resources, *, num_units: int) -> ActorPool:
    """Actors for work that first loads something and keeps it: one a CPU, never more than there are units."""
    tasks = task_pool(resources)
    size = max(1, min(tasks.size, num_units))
    return ActorPool(size, size, tasks.cpus, 0.0)


def find_crew(
    resources: Resources,
    *,
    num: int | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    remedy: str = "--workers or --cpus-per-worker",
) -> Crew:
    """The workers of a training: so many, else one a GPU, else one.

    Args:
        cpus: that each holds; None: its share of a node's, up to two beside a GPU.
        gpus: that each holds; None: one where there are any.
        remedy: flags by which less can be asked for.

    Raises:
        ClusterError: there is no room for them, and none will come.
    """
    gpus = float(resources.gpus > 0) if gpus is None else gpus
    num = num or max(int(resources.gpus), 1)
    if cpus is None:
        on_node = -(-num // max(len(resources.nodes), 1))
        most = max((node.cpus for node in resources.nodes), default=0.0)
        cpus = cpus_beside_gpu(resources, gpus) if gpus else float(max(most // on_node, 1))
    room = resources.room(cpus=cpus, gpus=gpus)
    if num > room and not resources.grows:
        raise ClusterError(
            f"The training asks for {Crew(num, cpus, gpus)}; the cluster has {resources}, room for {room}. Ask for "
            f"less with {remedy}; or, where nodes come on demand, set cluster.autoscaling."
        )
    return Crew(num, cpus, gpus)


def _room_on(node: Node, cpus: float, gpus: float) -> int:
    fits = [math.floor(node.cpus / cpus + 1e-9)]
    if gpus:
        fits.append(math.floor(node.gpus / gpus + 1e-9))
    return min(fits)


def cpus_beside_gpu(resources: Resources, gpus: float) -> float:
    """Up to two CPUs for tokenising beside each GPU worker, less on nodes that have fewer a GPU."""
    shares = [node.cpus * gpus / node.gpus for node in resources.nodes if node.gpus >= gpus]
    return max(min([GPU_WORKER_CPUS, *shares]), 0.1)
