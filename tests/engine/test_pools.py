"""Pools fit the cluster, or are refused with what was asked and what is there."""

import pytest

from encore_ray.config import ScoreOptions
from encore_ray.engine.pools import CPU_SHARE, ActorPool, Node, Resources, keeping_pool, score_pool, task_pool
from encore_ray.errors import ClusterError

LAPTOP = Resources((Node(2, 0),))
# A CPU head, and workers of 8 GPUs with 4 CPUs each GPU.
FARM = Resources((Node(16, 0), *[Node(32, 8)] * 12, Node(32, 4)))


def test_without_gpus_there_is_an_actor_a_cpu() -> None:
    assert score_pool(ScoreOptions(), LAPTOP, num_units=100) == ActorPool(2, 2, CPU_SHARE, 0.0, 2)


def test_with_gpus_there_is_an_actor_a_gpu_with_two_cpus_for_tokenising() -> None:
    assert score_pool(ScoreOptions(), FARM, num_units=10_000) == ActorPool(100, 100, 2.0, 1.0, 2)


def test_a_gpu_node_with_few_cpus_still_gets_all_its_actors() -> None:
    assert score_pool(ScoreOptions(), Resources((Node(4, 8),)), num_units=99) == ActorPool(8, 8, 0.5, 1.0, 2)


def test_there_are_never_more_actors_than_units() -> None:
    assert score_pool(ScoreOptions(), FARM, num_units=3).max_actors == 3
    assert score_pool(ScoreOptions(actors="2,50"), FARM, num_units=1) == ActorPool(1, 1, 2.0, 1.0, 2)


def test_a_range_of_actors_is_kept() -> None:
    assert score_pool(ScoreOptions(actors="2,50"), FARM, num_units=200) == ActorPool(2, 50, 2.0, 1.0, 2)


@pytest.mark.parametrize(
    ("options", "resources"),
    [
        (ScoreOptions(actors="3"), LAPTOP),
        (ScoreOptions(gpus_per_actor=1), LAPTOP),
        (ScoreOptions(actors="101"), FARM),
        # 4 CPUs in all, but no single node holds 3: such an actor would wait for ever.
        (ScoreOptions(cpus_per_actor=3), Resources((Node(2, 0), Node(2, 0)))),
        (ScoreOptions(gpus_per_actor=2), Resources((Node(8, 1), Node(8, 1)))),
    ],
)
def test_what_no_node_can_hold_is_refused_with_the_figures(options: ScoreOptions, resources: Resources) -> None:
    with pytest.raises(ClusterError, match=r"asks for \d+ actors? with .* each; the cluster has .*room for"):
        score_pool(options, resources, num_units=1000)


def test_a_cluster_that_grows_takes_a_number_of_actors_at_its_word() -> None:
    from_zero = Resources((Node(8, 0),), grows=True)
    asked = ScoreOptions(actors="1,8", gpus_per_actor=1)
    assert score_pool(asked, from_zero, num_units=100) == ActorPool(1, 8, 2.0, 1.0, 2)
    with pytest.raises(ClusterError, match=r"set cluster\.autoscaling and --actors MIN,MAX"):
        score_pool(ScoreOptions(gpus_per_actor=1), from_zero, num_units=100)


def test_two_small_nodes_hold_what_their_sum_would_promise_wrongly() -> None:
    # floor(3 / 2) + floor(3 / 2) = 2, not floor(6 / 2) = 3.
    assert Resources((Node(3, 0), Node(3, 0))).room(cpus=2) == 2


def test_work_that_loads_something_gets_an_actor_a_cpu_and_no_more_than_there_are_units() -> None:
    assert keeping_pool(LAPTOP, num_units=100) == ActorPool(2, 2, CPU_SHARE, 0.0)
    assert keeping_pool(LAPTOP, num_units=1) == ActorPool(1, 1, CPU_SHARE, 0.0)
    with pytest.raises(ClusterError, match="at least one CPU"):
        keeping_pool(Resources((Node(0, 1),)), num_units=1)


def test_tasks_take_every_cpu_of_every_node() -> None:
    assert task_pool(Resources((Node(2, 0), Node(4, 0)))).size == 2 + 4
    with pytest.raises(ClusterError, match="at least one CPU"):
        task_pool(Resources((Node(0, 8),)))
