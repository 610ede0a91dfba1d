"""Units in this process: results and errors come as they are, memory is bounded, and Ctrl-C ends it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from encore_ray.engine.local import LocalEngine
from encore_ray.engine.pools import ActorPool, Node, Resources, TaskPool
from encore_ray.errors import ClusterError, DataError
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.storage import Folder
from tests.patience import PATIENCE_S

TASKS = TaskPool(3, 0.9)
ACTORS = ActorPool(1, 1, 0.9, 0.0, calls_at_a_time=2)
ALONE = LocalEngine(Resources((Node(1, 0),)))
THREADS = LocalEngine(Resources((Node(3, 0),)))


def double() -> Callable[[int], int]:
    return lambda unit: 2 * unit


def fails(error: Exception) -> Callable[[int], int]:
    def work(unit: int) -> int:
        if unit == 3:
            raise error
        return unit

    return work


@pytest.mark.parametrize("pool", [None, TASKS, ACTORS])
@pytest.mark.parametrize("engine", [ALONE, THREADS])
def test_every_unit_is_answered_once(engine: LocalEngine, pool: ActorPool | TaskPool | None) -> None:
    assert sorted(engine.map_units(double, range(30), pool=pool)) == list(range(0, 60, 2))
    assert list(engine.map_units(double, [], pool=pool)) == []


def blas_threads(_: int = 0) -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


@pytest.mark.parametrize("engine", [ALONE, THREADS])
def test_each_unit_at_work_has_one_thread_for_matrix_products(engine: LocalEngine) -> None:
    with threadpool_limits(2, "blas"):
        assert list(engine.map_units(lambda: blas_threads, range(6), pool=TASKS)) == [{1}] * 6
        assert blas_threads() == {2}


@pytest.mark.parametrize("engine", [ALONE, THREADS])
def test_an_error_keeps_its_type_and_is_the_one_that_was_raised(engine: LocalEngine) -> None:
    for error in (DataError("unit 3 is bad"), KeyError("our own")):
        with pytest.raises(type(error)) as raised:
            list(engine.map_units(partial(fails, error), range(10)))
        assert raised.value is error

    def unbuildable() -> Callable[[int], int]:
        raise DataError("no model here")

    with pytest.raises(DataError, match="no model here"):
        list(engine.map_units(unbuildable, range(10)))


def test_what_an_actor_keeps_is_made_once_and_plain_work_once_a_thread() -> None:
    made: list[str] = []

    def factory() -> Callable[[int], str]:
        made.append(threading.current_thread().name)

        def work(unit: int) -> str:
            time.sleep(0.005)
            return threading.current_thread().name

        return work

    names = set(THREADS.map_units(factory, range(30), pool=ACTORS))
    assert len(made) == 1 and 1 <= len(names) <= ACTORS.calls_at_a_time
    made.clear()
    names = set(THREADS.map_units(factory, range(30)))
    assert names == set(made) and len(made) <= 3


def test_units_wait_for_whoever_takes_the_results() -> None:
    """Two units a thread are begun ahead: a table's results are never all in memory."""
    begun: list[int] = []

    def factory() -> Callable[[int], int]:
        return lambda unit: begun.append(unit) or unit

    results = THREADS.map_units(factory, range(100))
    next(results)
    time.sleep(0.1)
    ahead = len(begun)
    assert ahead <= 2 * 3 + 3  # what a batch of finished ones let follow
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= ahead + 3


def test_ctrl_c_ends_it_with_most_units_not_begun() -> None:
    begun: list[int] = []

    def factory() -> Callable[[int], int]:
        def work(unit: int) -> int:
            begun.append(unit)
            if unit == 5:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.02)
            return unit

        return work

    with pytest.raises(KeyboardInterrupt):
        list(THREADS.map_units(factory, range(200)))
    assert len(begun) < 50
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encore-ray-unit")]


@pytest.mark.parametrize("engine", [ALONE, THREADS])
def test_a_unit_is_marked_while_it_is_in_work_and_only_then(engine: LocalEngine, tmp_path: Path) -> None:
    in_flight = InFlight(Folder(str(tmp_path / "attempts")))
    in_flight.begin("unit-of-a-process-that-died")

    def factory() -> Callable[[str], list[str]]:
        return lambda unit: in_flight.standing()

    found = list(engine.try_units(factory, ["a", "b", "c"], pool=TASKS, in_flight=in_flight, timeout_s=9))
    assert all(1 <= len(standing) <= 3 for standing in found if isinstance(standing, list))
    assert {name for standing in found if isinstance(standing, list) for name in standing} == {
        f"unit-{number:08d}" for number in range(3)
    }
    assert in_flight.standing() == []
    with pytest.raises(DataError):
        list(engine.try_units(partial(fails, DataError("")), [3], pool=TASKS, in_flight=in_flight, timeout_s=9))
    assert in_flight.standing() == []  # an error is no death


HANGS = """
import sys, time
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.pools import Node, Resources, TaskPool
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.storage import Folder
def factory():
    return culprit
def culprit(unit):
    time.sleep(60 if unit == 5 else .01)
engine = LocalEngine(Resources((Node({cpus}, 0),)), unit_timeout_s=1.5)
marks = InFlight(Folder(sys.argv[1]))
for _ in {units}: pass
"""
UNITS = {
    "added up": "engine.map_units(factory, range(9))",
    "marked": "engine.try_units(factory, range(9), pool=TaskPool(2, 1), in_flight=marks, timeout_s=1.5)",
    "one": "engine.map_units(factory, [5])",
}


@pytest.mark.parametrize("cpus", [1, 3])
@pytest.mark.parametrize("units", UNITS)
def test_a_hang_ends_the_process_with_the_units_and_the_stacks(units: str, cpus: int, tmp_path: Path) -> None:
    code = HANGS.format(cpus=cpus, units=UNITS[units])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "marks")], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == ClusterError.exit_code
    assert "No unit has finished in this process for 1.5 s (cluster.unit_timeout_s)." in ended.stderr or (
        units == "marked" and "(cluster.unit_timeout_s). In work is 5. The stacks" in ended.stderr
    )
    assert ("The same command hands what was in work to Ray" in ended.stderr) is (units == "marked")
    assert "in culprit" in ended.stderr
    if units == "marked":
        assert InFlight(Folder(str(tmp_path / "marks"))).standing() == ["unit-00000005"]


def test_where_the_process_belongs_to_somebody_else_a_unit_may_take_its_time() -> None:
    assert THREADS.unit_timeout_s == float("inf")
    seen: list[str] = []

    def factory() -> Callable[[int], None]:
        return lambda unit: seen.extend(thread.name for thread in threading.enumerate())

    list(THREADS.map_units(factory, range(3)))
    assert "encore-ray-watchdog" not in seen


def test_a_single_worker_and_a_long_call_are_this_process() -> None:
    with ALONE.single_worker(double, pool=TASKS, timeout_s=9) as worker:
        assert worker.attempt(4) == 8
    heard: list[str] = []

    def work(say: Callable[[str], object]) -> int:
        say("so far")
        return threading.get_ident()

    assert ALONE.call(work, heard.append) == threading.get_ident()
    assert heard == ["so far"]
    with pytest.raises(ClusterError, match=r"asks for a worker with 9 CPUs.* --cpus or --gpus"):
        ALONE.call(work, heard.append, cpus=9)


def test_a_model_has_as_many_threads_as_in_a_worker_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over other numbers of threads have other last bits: the engine shall not be seen in a score."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    seen: list[int] = []

    def factory() -> Callable[[int], None]:
        return lambda unit: seen.append(torch.get_num_threads())

    try:
        for cpus in (0.9, 2.0):
            list(THREADS.map_units(factory, range(4), pool=replace(ACTORS, cpus=cpus)))
        assert seen == [1] * 4 + [2] * 4
        THREADS.call(lambda say: seen.append(torch.get_num_threads()), print)  # all CPUs of the node
        THREADS.call(lambda say: seen.append(torch.get_num_threads()), print, cpus=1)
        assert seen[8:] == [3, 1]
        assert torch.get_num_threads() == before
        assert "OMP_NUM_THREADS" not in os.environ  # a Ray that starts later would hand it to its workers
        monkeypatch.setenv("OMP_NUM_THREADS", "3")  # the user's word, for workers of Ray too
        list(THREADS.map_units(factory, range(1), pool=replace(ACTORS, cpus=1)))
        assert seen[10:] == [before]
    finally:
        torch.set_num_threads(before)
