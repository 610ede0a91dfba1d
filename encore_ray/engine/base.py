"""Two engines, one interface: what a pass may ask for, whether units are done in this process or over a cluster.

A pass gives a picklable factory and its units, and gets the results in the order in which units finish. What it makes
of them does not depend on the engine, to the last bit.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeVar

from encore_ray.engine.outcomes import Death, Lost
from encore_ray.engine.pools import ActorPool, Resources, TaskPool
from encore_ray.folder.protocol.in_flight import InFlight

EngineName = Literal["local", "ray"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Send = Callable[[Any], object]


class SingleWorker(Protocol):
    """A worker for one unit at a time, whose death tells of that unit."""

    def attempt(self, unit: Any) -> Any | Death:
        """The result of a unit, or Death."""
        ...


class Engine(Protocol):
    """How units get done.

    Attributes:
        resources: for workers.
        unit_timeout_s: after which a worker in which no unit finishes is taken to hang.
    """

    @property
    def name(self) -> EngineName: ...

    @property
    def resources(self) -> Resources: ...

    @property
    def unit_timeout_s(self) -> float: ...

    def map_units(
        self,
        factory: Callable[[], Callable[[Unit], Result]],
        units: Sequence[Unit],
        *,
        pool: ActorPool | TaskPool | None = None,
    ) -> Iterator[Result]:
        """Run the work on every unit; yields results as units finish, in no particular order.

        Args:
            factory: makes the work inside each worker; picklable.
            units: picklable descriptions.
            pool: actors that keep what the factory made, or plain tasks, which are the default: one a CPU.

        Raises:
            EncoreError: what the work raised, as it raised it. ClusterError: units' workers kept dying, or none ended.
            WorkerError: anything else that a worker raised; in this process, that itself.
        """
        ...

    def try_units(
        self,
        factory: Callable[[], Callable[[Unit], Result]],
        units: Sequence[Unit],
        *,
        pool: ActorPool | TaskPool,
        in_flight: InFlight,
        timeout_s: float,
    ) -> Generator[Result | Lost, None, None]:
        """As `map_units`, yet a unit whose worker dies is yielded as Lost, at its first such death.

        Args:
            in_flight: where units in work are marked; cleared first.
            timeout_s: a worker in which no unit finishes for so long ends itself.
        """
        ...

    def single_worker(
        self, factory: Callable[[], Callable[[Any], Any]], *, pool: ActorPool | TaskPool, timeout_s: float
    ) -> AbstractContextManager[SingleWorker]:
        """A worker for one unit at a time, replaced when it dies; the context ends it.

        Args:
            factory: makes the work; picklable.
            pool: what a worker of the pass holds.
            timeout_s: seconds that a unit may take.
        """
        ...

    def call(
        self, work: Callable[[Send], Result], receive: Send, *, cpus: float | None = None, gpus: float | None = None
    ) -> Result:
        """Do one long piece of work by one worker, which says how it gets on.

        Args:
            work: picklable; is given what it says things by.
            receive: told of what is said. Answers True to a word after which work that dies goes on from there.
            cpus, gpus: that the worker holds; None: all CPUs of a node, or up to two beside one GPU.
        """
        ...
