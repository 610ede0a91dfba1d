"""The Ray session of a job: joining a cluster or starting a local one, quietly, and leaving it."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import ray_constants
from ray.data import DataContext

from encore_ray.config import ClusterOptions
from encore_ray.engine.interrupts import sigterm_interrupts
from encore_ray.engine.on_ray.nodes import live_nodes
from encore_ray.engine.pools import Node, Resources
from encore_ray.errors import ClusterError

WORKER_ENV = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads on busy cores cost a factor of twenty
    "TOKENIZERS_PARALLELISM": "false",
    # Arrow gives memory back to the system 10 ms after it is freed: a quarter of reading tables was clearing it again.
    "MIMALLOC_PURGE_DELAY": "10000",  # ms
}

_UNIT_TIMEOUT = "encore_ray.unit_timeout_s"  # in Ray Data's context, beside the limit of its own that it resembles


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
    context.set_config(_UNIT_TIMEOUT, options.unit_timeout)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with sigterm_interrupts():
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


def _connect(options: ClusterOptions) -> None:
    # Ray's core tells the driver's terminal about actors of Ray Data that restart fine (ray-project/ray#53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if options.address in (None, "local") and not os.environ.get("RAY_ADDRESS"):
            # Local workers inherit our environment; a runtime environment would keep Ray from starting them ahead.
            for name, value in WORKER_ENV.items():
                os.environ.setdefault(name, value)
            with _without_banner(), _on_loopback():
                ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=options.address, runtime_env={"env_vars": dict(WORKER_ENV)}, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Cannot join the Ray cluster at {options.address or 'local'}: {error}") from None


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts now listen to this machine only, unless RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER says otherwise.

    Ray has no argument for it: it refuses 127.0.0.1 as its address, but takes it by itself where there are no clusters.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in os.environ and before
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


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
