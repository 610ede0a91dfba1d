"""The Ray session of a job: joining a cluster or starting a local one, quietly, and leaving it."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import ray
import ray.exceptions
from ray._private import ray_constants
from ray.data import DataContext

from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray.lifelines import watching
from encore_ray.engine.on_ray.nodes import live_nodes
from encore_ray.engine.on_ray.of_ones_own import of_ones_own
from encore_ray.engine.pools import Node, Resources
from encore_ray.engine.probes import cluster_address, require_ray
from encore_ray.engine.process.interrupts import signals_interrupt
from encore_ray.errors import ClusterError

WORKER_ENV = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads on busy cores cost a factor of twenty
    "TOKENIZERS_PARALLELISM": "false",
    # Arrow gives memory back to the system 10 ms after it is freed: a quarter of reading tables was clearing it again.
    "MIMALLOC_PURGE_DELAY": "10000",  # ms
}

_UNIT_TIMEOUT = "encore_ray.unit_timeout_s"  # in Ray Data's context, beside the limit of its own that it resembles


@contextlib.contextmanager
def cluster(options: ClusterOptions, *, lost: Callable[[ClusterError], object] | None = None) -> Iterator[Resources]:
    """Join the Ray cluster, or start a local one, for the duration of the block.

    A Ray session that the process already has is used and left alone.

    Args:
        options: the section of the configuration.
        lost: called from a thread when this node's raylet or the GCS is gone, see `lifelines`; None: Ray's own affair.

    Raises:
        ConfigError: the address is none, or Ray's temporary folder does not do. ClusterError: the cluster cannot be
            reached, or Ray does not start.
    """
    ours = not ray.is_initialized()
    address = _connect(options) if ours else ""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = options.no_progress_timeout_s
    context.set_config(_UNIT_TIMEOUT, options.unit_timeout)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with contextlib.ExitStack() as watched:
            watched.enter_context(signals_interrupt())
            if lost is not None:
                watched.enter_context(watching(address == "local", lost))
            yield resources(grows=options.autoscaling)
    finally:
        if ours:
            ray.shutdown()


def unit_timeout_s() -> float:
    """Seconds without a finished unit after which a worker ends itself, as configured."""
    return DataContext.get_current().get_config(_UNIT_TIMEOUT)


def resources(*, grows: bool = False) -> Resources:
    """What the cluster has now, and whether more comes on demand."""
    found = [node["Resources"] for node in live_nodes()]
    nodes = tuple(Node(of_node.get("CPU", 0.0), of_node.get("GPU", 0.0)) for of_node in found)
    return Resources(nodes, grows)


def _connect(options: ClusterOptions) -> str:
    """Join or start Ray; returns its address, or "local" for one of our own."""
    # Ray's core tells the driver's terminal about actors of Ray Data that restart fine (ray-project/ray#53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = cluster_address(options) or "local"
    require_ray(options)
    try:
        if address == "local":
            # Local workers inherit our environment; a runtime environment would keep Ray from starting them ahead.
            for name, value in WORKER_ENV.items():
                os.environ.setdefault(name, value)
            with of_ones_own():
                ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, runtime_env={"env_vars": dict(WORKER_ENV)}, **quiet)
    except Exception as error:  # of a node that starts too slowly Ray raises just that
        raise ClusterError(_not_joined(address, error)) from None
    return address


def _not_joined(address: str, error: Exception) -> str:
    if address == "local":
        return f"Ray does not start on this machine: {error}"
    said = f"Cannot join the Ray cluster at {address}: {error}"
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError) and ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV:
        said += " Under `uv run` Ray uploads the whole folder: RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 keeps it from that."
    return said
