"""The supervision of Ray Train: which worker died, whatever the others say of it."""

import ray.exceptions
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from encore_ray.passes.train.supervise import death_among


def test_a_death_is_known_among_the_failures_that_it_brings_about() -> None:
    death = ray.exceptions.ActorDiedError()
    lost = RuntimeError("gloo: connection closed by peer")
    assert death_among({0: lost, 1: WorkerHealthCheckFailedError("no health", death)}) is death
    assert death_among({0: death}) is death
    assert death_among({0: lost, 1: ValueError("ours")}) is None
    assert death_among({0: WorkerHealthCheckFailedError("no health", lost)}) is None
    assert death_among({}) is None
