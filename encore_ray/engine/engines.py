"""Which engine does a pass: this process at once where the work is small, Ray otherwise, as asked for where asked."""

import contextlib
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from encore_ray.config import ClusterOptions
from encore_ray.engine.base import Engine
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.probes import cluster_address
from encore_ray.engine.process.ending import end_process, say_last
from encore_ray.engine.process.interrupts import signals_interrupt
from encore_ray.engine.progress import Progress
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.redaction import redact
from encore_ray.storage import Folder

if TYPE_CHECKING:
    from encore_ray.engine.on_ray.meters import Meters
    from encore_ray.engine.pools import Resources

# Numbers that a pass may read in this process: about ten seconds' work, the time that a Ray of one's own takes to start
# and to end. Measured by benchmarks/start.py.
LOCAL_NUMBERS = 50_000_000
NUMBERS_PER_S = LOCAL_NUMBERS / 10


def needs_ray(options: ClusterOptions, numbers: int | None, in_flight: InFlight | None = None) -> bool:
    """Whether a pass is done by Ray; arguments as of `Engines.choose`."""
    if options.engine != "auto":
        return options.engine == "ray"
    is_named = options.address is not None or os.environ.get("RAY_ADDRESS")
    is_small = numbers is not None and numbers <= LOCAL_NUMBERS and not is_named
    return not (is_small and (in_flight is None or not in_flight.standing()))


class Engines:
    """The engines of one command; a context manager that leaves the cluster it has joined.

    Ray starts when the first pass needs it, and every node is then made to see what the pass reads and writes.

    Args:
        options: which engine, which cluster.
        run: the run folder; of a command with explicit paths, where its results go.
        ends_process: whether a hang in this process, or the loss of its Ray, may end it: it is the command's own.
        before_end: told of the loss; it is not waited for longer than it takes.
        say: told that Ray starts, which takes a while.
    """

    def __init__(
        self,
        options: ClusterOptions,
        run: Folder,
        *,
        ends_process: bool = False,
        before_end: Callable[[ClusterError], object] = lambda error: None,
        say: Callable[[str], object] = lambda text: None,
    ):
        self._options = options
        self._ends_process = ends_process
        self._before_end = before_end
        self._say = say
        self._unit_timeout_s = options.unit_timeout if ends_process else float("inf")
        self._run = run
        self._held = contextlib.ExitStack()
        self._resources: Resources | None = None
        self._visible: Visible | None = None
        self._meters: Meters | None = None

    def __enter__(self) -> Self:
        self._held.enter_context(signals_interrupt())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._held.__exit__(kind, error, _)
        finally:
            if self._visible is not None:
                self._visible.forget()

    def choose(self, *, numbers: int | None, paths: Sequence[str] = (), in_flight: InFlight | None = None) -> Engine:
        """The engine for a pass.

        Args:
            numbers: that it reads; None for a pass with a model, which takes Ray where it is not told otherwise.
            paths: that its workers must see, beside the run folder.
            in_flight: marks of its units. Units that ended this process before are handed to Ray, where a death can be
                told from the end of the command.
        """
        if needs_ray(self._options, numbers, in_flight):
            return self.ray(paths)
        return LocalEngine(unit_timeout_s=self._unit_timeout_s)

    def ray(self, paths: Sequence[str] = ()) -> Engine:
        """The cluster, joined or started now, all of whose nodes see the run folder and the paths.

        Raises:
            ConfigError: the command was told to do without. ClusterError: it cannot be joined, or a node does not see.
        """
        if self._options.engine == "local":
            raise ConfigError("This needs Ray, and engine: local was asked for (--engine). Leave that out.")
        from encore_ray.engine.on_ray.cluster import cluster
        from encore_ray.engine.on_ray.engine import RayEngine
        from encore_ray.engine.on_ray.meters import Meters
        from encore_ray.engine.on_ray.nodes import check_nodes

        if self._resources is None:
            address = cluster_address(self._options)
            self._say(f"joins the Ray at {redact(address)}" if address else "starts a Ray of its own")
            self._resources = self._held.enter_context(
                cluster(self._options, lost=self._end if self._ends_process else None)
            )
            self._meters = Meters(self._run.name)
        if self._visible is None or not set(paths).issubset(self._visible.asked):
            before = self._visible.asked if self._visible else ()
            self._visible = check_nodes(self._run, tuple(dict.fromkeys([*before, *paths])))
        return RayEngine(self._resources, self._visible)

    @property
    def resources(self) -> "Resources":
        """What workers of a pass with a model may have."""
        if self._options.engine == "local":
            return LocalEngine().resources
        return self.ray().resources

    def measure(self, progress: Progress) -> None:
        """Tell Prometheus, by Ray's exporter, where there is one."""
        if self._meters is not None:
            self._meters(progress)

    def _end(self, error: ClusterError) -> None:
        """End the command, from a thread: whatever the main one did now could wait for Ray, or be ended by it."""
        say_last(str(error))
        try:
            self._before_end(error)
        finally:
            end_process()
