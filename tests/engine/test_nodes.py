"""A node that does not see the job's files is refused by name, before any work."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

# A second node in a mount namespace of its own, where an empty file system hides the job's folder.
SCRIPT = """
import json, subprocess, sys
import ray
from encore_ray.errors import ClusterError
from encore_ray.engine.on_ray.nodes import check_nodes
from encore_ray.storage import Folder

folder = sys.argv[1]
context = ray.init(address="local", num_cpus=1, include_dashboard=False)
run, corpus = Folder(folder + "/run"), folder + "/corpus.jsonl"
check_nodes(run, [corpus])
print("one node sees all", flush=True)
address = context.address_info["address"]
start = f"mount -t tmpfs none {folder} && exec ray start --address={address} --num-cpus=1 --block"
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
blind = subprocess.Popen(["unshare", "--mount", "sh", "-c", start], **quiet)
try:
    while len([node for node in ray.nodes() if node["Alive"]]) < 2:
        assert blind.poll() is None, "the second node did not start"
    check_nodes(run, [corpus])
    print("not refused")
except ClusterError as error:
    other = [node for node in ray.nodes() if node["NodeID"] != ray.get_runtime_context().get_node_id()]
    print(json.dumps({"error": str(error), "blind": other[0]["NodeID"][:8], "code": error.exit_code}))
finally:
    blind.terminate()
    blind.wait(PATIENCE_S)
    ray.shutdown()
"""


@pytest.mark.ray
def test_a_node_that_does_not_see_the_files_is_refused_by_name(tmp_path: Path) -> None:
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs the right to make a mount namespace (root)")
    (tmp_path / "corpus.jsonl").write_text("{}\n")
    path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={"PATH": path, "RAY_AUTH_MODE": "disabled", "RAY_DEDUP_LOGS": "0", "HOME": str(Path.home())},
    )
    lines = done.stdout.strip().splitlines()
    assert lines[:1] == ["one node sees all"], done.stderr
    found = json.loads(lines[-1])
    assert found["code"] == 4
    assert f"({found['blind']}) does not see {tmp_path}/run, {tmp_path}/corpus.jsonl" in found["error"]
    assert found["error"].count("does not see") == 1  # the node that sees all is not blamed
