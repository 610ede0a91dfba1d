"""Work reaches workers, results and errors come back as they are, and nothing waits for ever."""

from functools import partial
from pathlib import Path

import pytest
from ray.data import DataContext

from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.on_ray.nodes import check_nodes
from encore_ray.engine.on_ray.units import TRIES, map_units
from encore_ray.engine.outcomes import WorkerError
from encore_ray.engine.pools import ActorPool, TaskPool, task_pool
from encore_ray.engine.visible import Visible
from encore_ray.errors import ClusterError, DataError
from encore_ray.storage import Folder
from tests.engine.chores import DieOnce, Double, Stumble, Unbuildable

TASKS = TaskPool(2, 0.5)
ACTORS = ActorPool(1, 1, 0.5, 0.0, calls_at_a_time=2)

pytestmark = pytest.mark.usefixtures("ray_engine")


@pytest.mark.parametrize("pool", [TASKS, ACTORS])
def test_every_unit_is_answered_once(pool: ActorPool | TaskPool) -> None:
    assert sorted(map_units(Double, range(30), pool=pool)) == list(range(0, 60, 2))
    assert list(map_units(Double, [], pool=pool)) == []


@pytest.mark.parametrize("pool", [TASKS, ACTORS])
def test_a_users_mistake_in_a_worker_keeps_its_type_and_words(pool: ActorPool | TaskPool) -> None:
    with pytest.raises(DataError, match=r"^unit 7 is bad$"):
        list(map_units(partial(Stumble, "mistake"), [7], pool=pool))
    with pytest.raises(DataError, match="no model here"):
        list(map_units(Unbuildable, [7], pool=pool))


def test_our_own_defect_brings_the_workers_traceback() -> None:
    with pytest.raises(WorkerError, match=r"(?s)Traceback.*KeyError: 'our own'"):
        list(map_units(partial(Stumble, "defect"), [1], pool=TASKS))


def test_work_that_kills_its_worker_each_time_ends_the_pass_by_its_name() -> None:
    with pytest.raises(ClusterError, match=rf"^{TRIES} workers died of the same unit of work, shard-7\. Ray says: "):
        list(map_units(partial(Stumble, "crash"), ["shard-7"], pool=TASKS))


def test_a_unit_whose_worker_died_by_chance_is_done_again(tmp_path: Path) -> None:
    assert sorted(map_units(partial(DieOnce, tmp_path), range(3), pool=TASKS)) == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_hang_ends_with_the_option_to_raise(ray_engine: RayEngine) -> None:
    context = DataContext.get_current()
    usual = context.execution_no_progress_timeout_s
    context.execution_no_progress_timeout_s = 2
    try:
        with pytest.raises(ClusterError, match="no_progress_timeout_s"):
            list(map_units(partial(Stumble, "hang"), [1], pool=TASKS))
    finally:
        context.execution_no_progress_timeout_s = usual
    # Another CPU goes on meanwhile.
    assert sorted(map_units(Double, range(4), pool=task_pool(ray_engine.resources))) == [0, 2, 4, 6]


@pytest.mark.parametrize("pool", [TASKS, ACTORS])
def test_a_worker_that_does_not_see_the_files_does_nothing(pool: ActorPool | TaskPool, tmp_path: object) -> None:
    run = Folder(str(tmp_path))
    visible = check_nodes(run, [str(tmp_path)])
    assert list(map_units(Double, [1], pool=pool, visible=visible)) == [2]
    with pytest.raises(ClusterError, match=f"does not see {run.uri}/model"):
        list(map_units(Double, [1], pool=pool, visible=Visible(run, visible.nonce, (f"{run.uri}/model",))))
    with pytest.raises(ClusterError, match="another folder of that name"):
        list(map_units(Double, [1], pool=pool, visible=Visible(run, "stale")))
