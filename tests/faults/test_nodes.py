"""A node that leaves in the middle of a job: its work is done again elsewhere, and nobody can tell."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from encore_ray.storage import Folder
from encore_ray.tracking.journal import Journal, Position
from tests.faults.plans import CommandPlan, Fault
from tests.faults.runs import Reference, Setup, judge, run_command, start_command
from tests.passes import jobs
from tests.patience import PATIENCE_S

NUM_UNITS = 24

# In a process of its own, since a Ray of the tests' own would lend it an address that no other process reaches.
THREE_NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
print("address", cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(nodes[0], allow_graceful=False)
print("removed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@contextlib.contextmanager
def three_nodes() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A cluster's address, and its process: a line of input kills a node of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", THREE_NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    try:
        yield wait_for("address", process), process
    finally:
        with contextlib.suppress(OSError):
            process.stdin.write("\n\n")
            process.stdin.close()
        process.wait(PATIENCE_S)


def wait_for(word: str, process: "subprocess.Popen[str]") -> str:
    """The rest of the next line of output that begins so; Ray prints lines of its own."""
    assert process.stdout
    return next(line.removeprefix(word).strip() for line in process.stdout if line.startswith(word))


def test_a_node_that_dies_in_the_middle_is_not_missed(
    setup: Setup, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = setup.folder / "node-died"
    plan = CommandPlan(pace_s=0.4)
    for name, value in plan.write(tmp_path / "faults", str(run)).items():
        monkeypatch.setenv(name, value)
    with three_nodes() as (address, cluster):
        assert cluster.stdin
        process, output = start_command(
            setup, run.name, plan, folder=tmp_path / "faults", more=["--set", f"cluster.address={address}"]
        )
        with contextlib.ExitStack() as at_the_end:
            at_the_end.callback(process.kill)
            end = time.monotonic() + PATIENCE_S
            while len(jobs.commit_times(run, "scores")) < 3:
                assert process.poll() is None and time.monotonic() < end, output.read_text()
                time.sleep(0.02)
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            wait_for("removed", cluster)
            at_death = len(jobs.commit_times(run, "scores"))
            assert process.wait(PATIENCE_S) == 0, output.read_text()
    assert at_death < NUM_UNITS
    assert "Traceback" not in output.read_text()
    verdict = judge(run, reference)
    assert verdict.survived, verdict


@pytest.mark.parametrize(("action", "said"), [("kill_node", "The raylet of this node"), ("kill_gcs", "The GCS")])
def test_a_driver_whose_ray_is_killed_says_so_and_the_same_command_resumes(
    setup: Setup, reference: Reference, action: str, said: str
) -> None:
    run = setup.folder / action
    fault = Fault(0, "worker", "score", "before", 6, action)
    tracked = ["--set", "tracking.enabled=true"]
    ended = run_command(setup, run.name, CommandPlan([fault]), folder=setup.folder / f"{action}-0", more=tracked)
    assert ended.fired == [fault] and not ended.problems, ended.output
    assert ended.code == 4
    (line,) = [line for line in ended.output.splitlines() if line.startswith("encore-ray:")]
    assert said in line and "the same command resumes the job" in line
    ends = [event for _, event in Journal(Folder(str(run))).read(Position()) if event.kind == "end"]
    assert [(event.pass_name, event.body["status"]) for event in ends[-2:]] == [("score", "FAILED"), ("", "FAILED")]
    kept = jobs.commit_times(run, "scores")
    again = run_command(setup, run.name, CommandPlan(), folder=setup.folder / f"{action}-1", more=tracked)
    assert again.code == 0, again.output
    assert jobs.commit_times(run, "scores").items() >= kept.items()
    verdict = judge(run, reference)
    assert verdict.survived, verdict
