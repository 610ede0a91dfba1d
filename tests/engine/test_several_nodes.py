"""Three nodes share a pass, a fourth one that joins is used, and what a lost one had begun is done elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

# In a process of its own: the test's own session has a Ray already.
SCRIPT = """
import json, logging, sys, time
from pathlib import Path
import pyarrow as pa
import ray
from ray.cluster_utils import Cluster
from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray.cluster import cluster
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.pools import ActorPool
from encore_ray.engine.progress import ignore_progress
from encore_ray.engine.work.run_units import run_units
from encore_ray.engine.work.unit_work import Task
from encore_ray.folder.pass_table import PassTable
from encore_ray.storage import Folder

UNITS = 300
JOINED, USED = (Path(sys.argv[1]).parent / name for name in ("joined", "used"))  # of the node that joins


class Work:
    def __init__(self):
        self._node = ray.get_runtime_context().get_node_id()

    def __call__(self, number, attempt):
        if JOINED.exists() and JOINED.read_text() == self._node:
            USED.touch()
        time.sleep(0.01 if USED.exists() else 0.25)
        attempt.notes["node"] = self._node
        attempt.write(pa.table({"number": [number]}))
        return {"rows": 1}


nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second, third = (nodes.add_node(num_cpus=1) for _ in range(2))
nodes.wait_for_nodes()
ray.init(address=nodes.address, logging_level=logging.ERROR, log_to_driver=False)
run = Folder(sys.argv[1])
table = PassTable(run.child("scores"), run, "score").open({})
seen = {"nodes": {}, "lost": None, "joined": None}


def on_commit(commit):
    of_node = seen["nodes"]
    of_node[commit.notes["node"]] = of_node.get(commit.notes["node"], 0) + 1
    if seen["lost"] is None and len(of_node) == 3 and min(of_node.values()) >= 2:
        here = ray.get_runtime_context().get_node_id()
        victim = next(node for node in (second, third) if node.node_id != here)
        seen["lost"] = victim.node_id
        nodes.remove_node(victim, allow_graceful=False)
        seen["joined"] = nodes.add_node(num_cpus=1).node_id
        JOINED.write_text(seen["joined"])


with cluster(ClusterOptions(no_progress_timeout_s=300)) as resources:
    tasks = [Task(f"{n:03d}", "d", 1, n, "numbers") for n in range(UNITS)]
    pool = ActorPool(3, 3, 0.9, 0.0, calls_at_a_time=1)
    engine = RayEngine(resources, visible=None)
    commits = run_units(
        table, tasks, Work, engine=lambda: engine, watch=ignore_progress, pool=lambda _: pool, on_commit=on_commit
    )
    table.seal([task.unit for task in tasks], commits, {"rows": UNITS})
rows = sorted(
    row["number"]
    for name in table.folder.names("data")
    for row in table.folder.child("data").read_table(name).to_pylist()
)
(Path(sys.argv[1]).parent / "seen.json").write_text(json.dumps({"rows": rows, **seen}))  # Ray prints, too
ray.shutdown()
nodes.shutdown()
"""


@pytest.mark.ray
def test_work_spreads_over_nodes_moves_to_one_that_joins_and_is_redone_when_one_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "RAY_BACKEND_LOG_LEVEL": "fatal"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / "seen.json").read_text())
    assert found["rows"] == list(range(300))  # no unit is lost, none is there twice
    assert found["lost"] is not None, "all three nodes were used before one was lost"
    assert found["nodes"].get(found["joined"], 0) > 0
