"""How a Ray of one's own starts on this machine: quietly, unreachable from others, and with what a job needs of it.

Ray has no arguments for these.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from ray._private import ray_constants
from ray._private.node import Node

# Parts of a head node: they start nodes, bring workers' logs to drivers, and answer the dashboard's and submission's
# clients. A job alone on its machine has none of that; together they take a third of the start's processor time.
_UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")


@contextlib.contextmanager
def of_ones_own() -> Iterator[None]:
    """What is to hold while a local Ray starts."""
    with _without_banner(), _on_this_machine(), _without_unused_parts():
        yield


@contextlib.contextmanager
def _without_unused_parts() -> Iterator[None]:
    """Start neither the autoscaler, nor the monitor of logs, nor the dashboard's server.

    Metrics for Prometheus remain: each node's agent has them.
    """
    parts = {name: getattr(Node, name) for name in _UNUSED if hasattr(Node, name)}
    for name in parts:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, start in parts.items():
            setattr(Node, name, start)


def _start_nothing(node: Node, **options: Any) -> None:
    pass


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Let a Ray that starts now listen to this machine only, unless RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER says otherwise.

    It refuses 127.0.0.1 as its address, but takes it by itself where there are no clusters. Its hook for `uv run`, too,
    is kept from uploading the folder that workers on this machine stand in.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER, ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in os.environ and before[0]
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before


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
