"""How many workers, of which size: actor pools and tasks that fit the cluster, or a refusal with the figures."""

import math
from dataclasses import dataclass

from encore_ray.config import ScoreOptions
from encore_ray.errors import ClusterError

# A little less than a CPU for each worker, so that Ray's own short tasks always find room.
CPU_SHARE = 0.9


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


def score_pool(options: ScoreOptions, have: Resources, *, num_units: int) -> ActorPool:
    """The scoring actors: as asked for, else one a GPU, else one a CPU; never more than there are units.

    Raises:
        ClusterError: the cluster cannot hold the (smallest) pool asked for; states what is asked and what is there.
    """
    gpus = options.gpus_per_actor if options.gpus_per_actor is not None else float(have.gpus > 0)
    cpus = options.cpus_per_actor
    if cpus is None:
        cpus = min(2.0, max(have.cpus / max(have.gpus, 1), 0.1)) if gpus else CPU_SHARE
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
    cpus = min(CPU_SHARE, have.cpus)
    return TaskPool(max(1, _room(have, cpus=cpus, gpus=0)), cpus)


def _room(have: Resources, *, cpus: float, gpus: float) -> int:
    fits = [math.floor(have.cpus / cpus + 1e-9)]
    if gpus:
        fits.append(math.floor(have.gpus / gpus + 1e-9))
    return min(fits)
