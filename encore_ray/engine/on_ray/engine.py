"""The engine that does units over a Ray cluster."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from encore_ray.engine.base import EngineName, Send
from encore_ray.engine.on_ray.cluster import unit_timeout_s
from encore_ray.engine.on_ray.remote_call import RemoteCall
from encore_ray.engine.on_ray.single_worker import RaySingleWorker
from encore_ray.engine.on_ray.units import map_units, try_units
from encore_ray.engine.outcomes import Lost
from encore_ray.engine.pools import ActorPool, Resources, TaskPool, task_pool
from encore_ray.engine.visible import Visible
from encore_ray.folder.protocol.in_flight import InFlight

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RayEngine:
    """Units over the cluster that this process has joined; see `Engine`.

    Attributes:
        resources: of the cluster.
        visible: what each node must see before it works, those that join later too; None only where no node has
            anything to see.
    """

    resources: Resources
    visible: Visible | None

    @property
    def name(self) -> EngineName:
        return "ray"

    @property
    def unit_timeout_s(self) -> float:
        return unit_timeout_s()

    def map_units(
        self,
        factory: Callable[[], Callable[[Unit], Result]],
        units: Sequence[Unit],
        *,
        pool: ActorPool | TaskPool | None = None,
    ) -> Iterator[Result]:
        return map_units(factory, units, pool=pool or task_pool(self.resources), visible=self.visible)

    def try_units(
        self,
        factory: Callable[[], Callable[[Unit], Result]],
        units: Sequence[Unit],
        *,
        pool: ActorPool | TaskPool,
        in_flight: InFlight,
        timeout_s: float,
    ) -> Generator[Result | Lost, None, None]:
        return try_units(factory, units, pool=pool, visible=self.visible, in_flight=in_flight, timeout_s=timeout_s)

    def single_worker(
        self, factory: Callable[[], Callable[[Any], Any]], *, pool: ActorPool | TaskPool, timeout_s: float
    ) -> RaySingleWorker:
        return RaySingleWorker(factory, pool=pool, visible=self.visible, timeout_s=timeout_s)

    def call(
        self, work: Callable[[Send], Result], receive: Send, *, cpus: float | None = None, gpus: float | None = None
    ) -> Result:
        return RemoteCall(self.resources, cpus, gpus, self.visible)(work, receive)
