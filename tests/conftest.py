"""Shared fixtures: one Ray session for everything that needs a cluster, and the optional real corpora.

Commands and jobs do their work in this process, unless a test is about Ray: then it asks for `ray_engine`, or bears
the mark `ray` where it starts a Ray of its own. They keep nothing in MLflow, unless it asks for `tracked`.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.interrupts import heed_interrupts

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

    from encore_ray.engine.on_ray.engine import RayEngine
    from tests.object_store import Store

# Read by libraries when they are imported, and by every process that a test starts.
os.environ.update(
    OMP_WAIT_POLICY="PASSIVE",
    RAY_AUTH_MODE="disabled",
    RAY_metrics_report_interval_ms="4000",
    ENCORE_RAY_CLUSTER_ENGINE="local",
    ENCORE_RAY_TRACKING_ENABLED="false",
)

heed_interrupts()

# Fixtures that start a cluster: the session's, that of submitted jobs, and those of the jobs that faults strike.
CLUSTERS = frozenset({"ray_engine", "head", "reference"})

# The same examples every time, and no time limit an example: the machine may be busy.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


OWN_RAY, SESSIONS_RAY = "Rays of their own", "the session's Ray"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests about Ray wait a third of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """Several processes share the tests by groups."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(config.rootpath / nodeid.partition("::")[0])

    return ByGroups(config, log)


@cache
def group(file: Path) -> str:
    """What a file's tests run with, in one process: its folder's that start a Ray, or use the session's, or none."""
    text = file.read_text(encoding="utf-8")
    if "ray_engine" in text:
        return f"{SESSIONS_RAY} in {file.parent}"
    if re.search(rf"mark\.ray|\b({'|'.join(CLUSTERS)}): [A-Z]", text):
        return f"{OWN_RAY} in {file.parent}"
    return str(file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for a cluster is about Ray; it comes first, since it takes longest."""
    for item in items:
        if CLUSTERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("ray")
    items.sort(key=lambda item: (group(item.path) == str(item.path), not group(item.path).startswith(OWN_RAY)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the session's Ray after the last test that uses it: idle, it takes a fortieth of a core from all others."""
    if nextitem is not None and not group(nextitem.path).startswith(SESSIONS_RAY):
        for fixture in item.session._fixturemanager.getfixturedefs("ray_engine", item) or ():
            fixture.finish(item._request)


@pytest.fixture(autouse=True)
def _engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let all passes of a test that is about Ray run on it, the small ones too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("ray"):
            patch.setenv("ENCORE_RAY_CLUSTER_ENGINE", "ray")
        yield


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs in MLflow, as commands do: each then waits for a process that imports it."""
    monkeypatch.delenv("ENCORE_RAY_TRACKING_ENABLED")


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

    with cluster(ClusterOptions(no_progress_timeout_s=300)) as resources:
        yield RayEngine(resources, visible=None)
