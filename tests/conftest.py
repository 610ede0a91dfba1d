"""Shared fixtures: one Ray session for everything that needs a cluster, and the optional real corpora."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.interrupts import heed_interrupts

if TYPE_CHECKING:
    from encore_ray.engine.pools import Resources
    from tests.object_store import Store

# Read by libraries when they are imported, and by every process that a test starts.
os.environ.update(OMP_WAIT_POLICY="PASSIVE", RAY_AUTH_MODE="disabled", RAY_metrics_report_interval_ms="1000")

heed_interrupts()

# The same examples every time, and no time limit an example: the machine may be busy.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora named by ENCORE_RAY_CORPORA; the test is skipped where it is not set."""
    folder = os.environ.get("ENCORE_RAY_CORPORA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ENCORE_RAY_CORPORA does not name a folder of corpora")
    return Path(folder)


@pytest.fixture(scope="session")
def store() -> "Iterator[Store]":
    """A server that speaks S3, in a process of its own."""
    from tests.object_store import store_server

    with store_server() as server:
        yield server


@pytest.fixture
def s3(store: "Store", monkeypatch: pytest.MonkeyPatch) -> "Iterator[Store]":
    """The server, as this process's environment names it, with an empty bucket `runs`."""
    import fsspec

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    store.empty("runs")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield store
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="session")
def have() -> "Iterator[Resources]":
    """A real local Ray of two CPUs, shared by all tests that need a cluster."""
    from encore_ray.config import ClusterOptions
    from encore_ray.engine.on_ray.cluster import cluster

    with cluster(ClusterOptions(no_progress_timeout_s=120)) as resources:
        yield resources
