"""Long work in a process of its own: what it says, what it raises, and what becomes of it when the process ends."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ray.data import DataContext

from encore_ray.engine.on_ray.remote_call import RemoteCall
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError, DataError
from encore_ray.storage import Folder
from tests.passes.long_work import dies, dies_twice, finds_bad_data, says_nothing

if TYPE_CHECKING:
    from encore_ray.engine.on_ray.engine import RayEngine


def apart(engine: "RayEngine", **options: Any) -> RemoteCall:
    return RemoteCall(engine.resources, **{"cpus": 0.5, "tries": 2, **options})


def test_work_that_kills_its_processes_ends_with_their_number(ray_engine: "RayEngine") -> None:
    with pytest.raises(ClusterError, match=r"^2 workers died of the same work\. Ray says at last: .*larger nodes"):
        apart(ray_engine)(dies, lambda message: None)


def test_an_error_keeps_its_type_and_its_words(ray_engine: "RayEngine") -> None:
    with pytest.raises(DataError, match=r"^row 7 is bad$"):
        apart(ray_engine)(finds_bad_data, lambda message: None)


def test_a_node_that_does_not_see_the_run_is_refused(ray_engine: "RayEngine", tmp_path: Path) -> None:
    blind = apart(ray_engine, visible=Visible(Folder(str(tmp_path / "elsewhere")), "nonce"))
    with pytest.raises(ClusterError, match="does not see"):
        blind(dies, lambda message: None)


def test_silence_ends_it(ray_engine: "RayEngine", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataContext.get_current(), "execution_no_progress_timeout_s", 2.0)
    with pytest.raises(ClusterError, match=r"told of no progress for \d s \(cluster.no_progress_timeout_s\)"):
        apart(ray_engine)(says_nothing, lambda message: None)


def test_work_that_dies_is_begun_again_as_often_as_it_gets_on(ray_engine: "RayEngine", tmp_path: Path) -> None:
    kept: list[int] = []

    def hear(number: int) -> bool:
        kept.append(number)
        return True

    assert apart(ray_engine)(partial(dies_twice, tmp_path), hear) == 2
    assert kept == [0, 1, 2]


def test_more_than_the_cluster_has_is_refused_with_what_to_ask_less_of(ray_engine: "RayEngine") -> None:
    with pytest.raises(ClusterError, match=r"asks for a worker with 99 CPUs; the cluster has .* --cpus or --gpus"):
        apart(ray_engine, cpus=99)(dies, lambda message: None)


def test_a_cluster_without_room_is_waited_for_and_named(
    ray_engine: "RayEngine", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(DataContext.get_current(), "execution_no_progress_timeout_s", 1.0)
    monkeypatch.setattr("encore_ray.engine.on_ray.remote_call.ROOM_S", 0.5)
    monkeypatch.setattr("encore_ray.engine.on_ray.remote_call.START_S", 1.0)
    grows = replace(ray_engine, resources=replace(ray_engine.resources, grows=True))
    with pytest.raises(ClusterError, match=r"^The cluster had no room for a worker with 99 CPUs for \d s"):
        apart(grows, cpus=99)(dies, lambda message: None)
    assert "Waiting for a worker with 99 CPUs: it starts, or there is no room on 1 node" in caplog.text
