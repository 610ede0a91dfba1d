"""A cluster that has no GPU when the job begins starts one when actors wait for it."""

import subprocess
import sys

import pytest

from tests.passes.ray_head import ray_head
from tests.patience import PATIENCE_S

GPU_WORKERS = {"gpu": {"resources": {"CPU": 2, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2}}

# In a process of its own: the test's own session has a Ray already. The GPU is a number; no code here looks for it.
SCRIPT = """
import sys
import ray
from encore_ray.config import ClusterOptions, ScoreOptions
from encore_ray.engine.on_ray.cluster import cluster
from encore_ray.engine.on_ray.units import map_units
from encore_ray.engine.pools import score_pool

class Place:
    def __call__(self, unit):
        return unit, ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()

with cluster(ClusterOptions(address=sys.argv[1], autoscaling=True, no_progress_timeout_s=300)) as resources:
    print("at first", resources.gpus)
    pool = score_pool(ScoreOptions(actors="1,2", cpus_per_actor=0.5, gpus_per_actor=1), resources, num_units=4)
    found = list(map_units(Place, range(4), pool=pool))
    here = ray.get_runtime_context().get_node_id()
    print("units", sorted(unit for unit, _, _ in found), "elsewhere", all(node != here for _, node, _ in found))
    print("gpus", {tuple(gpus) for _, _, gpus in found})
"""


@pytest.mark.ray
def test_gpu_workers_start_from_zero_when_actors_wait_for_them() -> None:
    with ray_head(workers=GPU_WORKERS) as (address, _):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, address], capture_output=True, text=True, timeout=PATIENCE_S
        )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("[")]
    assert lines == ["at first 0.0", "units [0, 1, 2, 3] elsewhere True", "gpus {(0,)}"]
