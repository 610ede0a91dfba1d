"""Shared fixtures: one Ray session for everything that needs a cluster, and the optional real corpora.

Commands and jobs do their work in this process, unless a test is about Ray: then it asks for `ray_engine`, or bears
the mark `ray` where it starts a Ray of its own.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.interrupts import heed_interrupts

if TYPE_CHECKING:
    from encore_ray.engine.on_ray.engine import RayEngine
    from tests.object_store import Store

# Read by libraries when they are imported, and by every process that a test starts.
os.environ.update(
    OMP_WAIT_POLICY="PASSIVE",
    RAY_AUTH_MODE="disabled",
    RAY_metrics_report_interval_ms="1000",
    ENCORE_RAY_CLUSTER_ENGINE="local",
)

heed_interrupts()

# Fixtures that start a cluster: the session's, that of submitted jobs, and those of the jobs that faults strike.
CLUSTERS = frozenset({"ray_engine", "head", "reference"})

# The same examples every time, and no time limit an example: the machine may be busy.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests about Ray wait a third of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for a cluster is about Ray; it comes first, since it takes longest.

    Several processes share the tests by groups: those that use the session's Ray, those that start a Ray of their own,
    and each other file.
    """
    order = {"session's Ray": 0, "Rays of their own": 1}
    groups: dict[pytest.Item, str] = {}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if CLUSTERS.intersection(fixtures):
            item.add_marker("ray")
        own, shared = (item.get_closest_marker("ray"), "ray_engine" in fixtures)
        groups[item] = "session's Ray" if shared else "Rays of their own" if own else str(item.path)
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: order.get(groups[item], 2))


@pytest.fixture(autouse=True)
def _engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let all passes of a test that is about Ray run on it, the small ones too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("ray"):
            patch.setenv("ENCORE_RAY_CLUSTER_ENGINE", "ray")
        yield


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
def ray_engine() -> "Iterator[RayEngine]":
    """A real local Ray of two CPUs, shared by all tests that need a cluster."""
    from encore_ray.config import ClusterOptions
    from encore_ray.engine.on_ray.cluster import cluster
    from encore_ray.engine.on_ray.engine import RayEngine

    with cluster(ClusterOptions(no_progress_timeout_s=120)) as resources:
        yield RayEngine(resources, visible=None)
