"""The time with and without a forward pass, on a clock that a test moves by hand."""

import pytest
import torch

from encore_ray.models.forward import occupancy
from encore_ray.models.forward.occupancy import Occupancy, Occupied


class Clock:
    """Seconds that pass only when they are told to; binary fractions, so that sums are exact."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(occupancy, "time", clock)
    return clock


def run(watched: Occupancy, clock: Clock, seconds: float) -> None:
    with watched.forward():
        clock.now += seconds


def test_the_time_before_the_first_forward_counts_as_nothing(clock: Clock) -> None:
    watched = Occupancy(torch.device("cpu"))
    clock.now += 5
    assert watched.take() == Occupied(0, 0)
    clock.now += 7
    run(watched, clock, 2)
    clock.now += 9  # and what follows the last one is not known to be a gap yet
    assert watched.take() == Occupied(2, 0)


def test_a_gap_counts_from_the_end_of_one_forward_to_the_start_of_the_next_also_across_units(clock: Clock) -> None:
    watched = Occupancy(torch.device("cpu"))
    run(watched, clock, 2)
    clock.now += 0.5
    run(watched, clock, 4)
    assert watched.take() == Occupied(2 + 4, 0.5)
    clock.now += 1
    assert watched.take() == Occupied(0, 0)  # nothing ran since: the gap is still open
    clock.now += 2
    run(watched, clock, 8)
    clock.now += 0.25
    run(watched, clock, 1)
    assert watched.take() == Occupied(8 + 1, (1 + 2) + 0.25)


def test_a_forward_that_fails_has_kept_the_device_busy(clock: Clock) -> None:
    watched = Occupancy(torch.device("cpu"))

    def fail() -> None:
        with watched.forward():
            clock.now += 3
            raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        fail()
    assert watched.take() == Occupied(3, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_timed_by_its_own_queue() -> None:
    device = torch.device("cuda")
    watched = Occupancy(device)
    matrix = torch.randn(4096, 4096, device=device)
    for _ in range(3):
        with watched.forward():
            for _ in range(20):
                torch.matmul(matrix, matrix)
    taken = watched.take()
    assert taken.busy_s > 1e-3  # 60 products of 137 GFLOP: far more than what it takes to queue them
    assert taken.idle_s < 0.2 * taken.busy_s
