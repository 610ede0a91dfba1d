"""A node that leaves in the middle of a job: its work is done again elsewhere, and nobody can tell."""

import os
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.faults.plans import CommandPlan
from tests.faults.runs import Reference, Setup, judge, start_command
from tests.passes import jobs

NUM_UNITS = 24


def test_a_node_that_dies_in_the_middle_is_not_missed(
    setup: Setup, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = setup.folder / "node-died", setup.job("node-died")
    plan = CommandPlan(pace_s=0.4)
    for name, value in plan.write(tmp_path / "faults", run).items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        address = ["--set", f"cluster.address={cluster.address}"]
        process, output = start_command(job, plan, run=run, folder=tmp_path / "faults", more=address)
        end = time.monotonic() + 120
        while len(jobs.commit_times(run, "scores")) < 3:
            assert process.poll() is None and time.monotonic() < end, output.read_text()
            time.sleep(0.02)
        cluster.remove_node(nodes[0], allow_graceful=False)
        at_death = len(jobs.commit_times(run, "scores"))
        assert process.wait(120) == 0, output.read_text()
        assert at_death < NUM_UNITS
        assert "Traceback" not in output.read_text()
        verdict = judge(run, reference)
        assert verdict.survived, verdict
    finally:
        cluster.shutdown()
        os.environ.pop("RAY_ADDRESS", None)
