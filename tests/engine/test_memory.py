"""What Ray kills for want of memory on a node is waited for, said, and ended; no unit is blamed."""

import logging
import subprocess
import sys
import time

import pytest

from encore_ray.engine.on_ray import memory
from encore_ray.engine.on_ray.memory import MemoryPatience, died_of_memory
from encore_ray.errors import ClusterError
from tests.patience import PATIENCE_S

Killed = dict[bytes, tuple[int, str]]
DETAIL = "1 worker(s) were killed. Memory on the node (IP: 10.0.0.1, ID: ab) was 4.27GB used / 23.54GB limit (0.18)"


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Killed:
    """What Ray's table of workers says; the test adds to it."""
    table: Killed = {b"before": (1, DETAIL)}
    monkeypatch.setattr(memory, "killed_for_memory", lambda: dict(table))
    monkeypatch.setattr(memory, "PATIENCE_S", 0.3)
    monkeypatch.setattr(memory, "RELIEF_S", 0.2)
    return table


def test_kills_without_anything_finished_end_the_work_after_a_while_and_are_said_once(
    killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    patience = MemoryPatience()
    with caplog.at_level(logging.WARNING, "encore_ray"):
        for number in range(3):
            killed[bytes([number])] = (10 + number, DETAIL)
            patience.check()
    assert caplog.text.count("their node has no memory left (4.27GB used / 23.54GB limit)") == 1
    time.sleep(0.35)
    killed[b"last"] = (20, DETAIL)
    with pytest.raises(ClusterError, match=r"has no memory left \(4\.27GB used.* No row is blamed") as caught:
        patience.check()
    assert caught.value.exit_code == 4


def test_what_was_in_work_is_named_when_the_work_ends(killed: Killed) -> None:
    patience = MemoryPatience(lambda: [f"unit u{n} of /pairs" for n in (1, 2, 1, 3, 4, 5)])
    killed[b"new"] = (10, DETAIL)
    patience.check()
    time.sleep(0.35)
    killed[b"last"] = (20, DETAIL)
    named = "unit u1 of /pairs, unit u2 of /pairs, unit u3 of /pairs and 2 more"
    with pytest.raises(ClusterError, match=rf"nothing was finished of what was in work \({named}\)\. End what"):
        patience.check()


def test_who_finishes_units_or_is_no_longer_killed_goes_on(killed: Killed) -> None:
    patience = MemoryPatience()
    for number in range(4):
        killed[bytes([number])] = (number, DETAIL)
        patience.check()
        time.sleep(0.15)
        patience.progressed()
    killed[b"again"] = (9, DETAIL)
    patience.check()
    time.sleep(0.25)  # without a kill: memory is there again
    patience.check()
    time.sleep(0.1)
    killed[b"later"] = (10, DETAIL)
    patience.check()


def test_kills_of_earlier_work_do_not_count(killed: Killed) -> None:
    patience = MemoryPatience()
    patience.check()
    time.sleep(0.35)
    patience.check()


def test_a_block_that_waits_for_ray_is_ended(killed: Killed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "POLL_S", 0.05)
    monkeypatch.setattr(memory, "RELIEF_S", 60.0)
    patience = MemoryPatience()
    killed[b"new"] = (2, DETAIL)
    with pytest.raises(ClusterError, match="no memory left"), patience.watching():
        time.sleep(30)
    with patience.watching():  # and one that does not wait is not
        pass


def test_a_mark_of_a_process_that_was_killed_for_memory_is_known(killed: Killed) -> None:
    killed[b"new"] = (123, DETAIL)
    assert died_of_memory("process 123 on vm, log /tmp/x")
    assert not died_of_memory("process 124 on vm, log /tmp/x")
    assert not died_of_memory("a process that has ended since")


SHORT = """
import time
from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray import memory
from encore_ray.engine.on_ray.cluster import cluster
from encore_ray.engine.on_ray.units import map_units, try_units
from encore_ray.engine.pools import ActorPool, TaskPool
from encore_ray.errors import ClusterError
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.storage import Folder
import sys

memory.PATIENCE_S, memory.PAUSE_S = 8.0, 0.5

def factory():
    def work(unit):
        time.sleep(30)
    return work

with cluster(ClusterOptions()) as resources:
    units = ["unit u of /pairs"]
    actors = ActorPool(cpus=1, gpus=0, min_actors=1, max_actors=1, calls_at_a_time=1)
    in_flight = InFlight(Folder(sys.argv[1]))
    for name, start in {
        "tasks": lambda: map_units(factory, units, pool=TaskPool(cpus=1, size=1)),
        "actors": lambda: try_units(factory, units, pool=actors, visible=None, in_flight=in_flight, timeout_s=60),
    }.items():
        try:
            print(name, list(start()))
        except ClusterError as error:
            print(name, error)
"""


@pytest.mark.ray
def test_a_node_without_memory_ends_tasks_and_actors_with_a_word_of_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")  # whatever runs is killed
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path_factory.mktemp("marks")
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(folder)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    for name in ("tasks", "actors"):  # among what Ray itself prints
        said = [line for line in done.stdout.splitlines() if line.startswith(f"{name} ")]
        assert len(said) == 1, done.stdout + done.stderr
        assert "has no memory left (" in said[0]
        # Actors are killed before they have a unit: none is in work.
        assert ("of what was in work (unit u of /pairs)" in said[0]) == (name == "tasks")
