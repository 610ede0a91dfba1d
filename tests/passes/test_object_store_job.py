"""A whole job whose corpus, model and run folder are on an object store that fails requests, killed on its way."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from encore_ray.config import JobConfig
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.job import run_job
from encore_ray.storage import Folder
from tests.object_store import Store, fault_proxy, random_faults
from tests.passes import jobs
from tests.patience import PATIENCE_S

NUM_PAIRS = 40
UNIT_PAIRS = 8
OPTIONS = {"prepare": {"unit_pairs": UNIT_PAIRS}, "score": {"actors": 1}}

# One Ray for all commands: a command uses the one that its process has.
COMMANDS = """
import json, sys
from encore_ray.cli import main
from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray.cluster import cluster

with cluster(ClusterOptions(no_progress_timeout_s=300)):
    for words in json.loads(sys.argv[1]):
        try:
            main(words)
        except SystemExit as ended:
            if ended.code:
                sys.exit(f"{words}: {ended.code}")
"""


def tables(run: Folder) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, in order."""
    found = {}
    for name in ("pairs", "scores", "rewards"):
        place = run.child(name)
        read = [place.read_table(file.file).replace_schema_metadata() for file in read_manifest(place)]
        found[name] = pa.concat_tables(read).to_pylist()
    return found


def upload(store: Store, folder: Path, prefix: str) -> None:
    for file in folder.iterdir():
        store.client.upload_file(str(file), "runs", f"{prefix}/{file.name}")


def num_commits(store: Store) -> int:
    found = store.client.list_objects_v2(Bucket="runs", Prefix="run/scores/commits/")
    return int(found["KeyCount"])


@pytest.mark.ray
@pytest.mark.timeout(600)  # three jobs, two of them with a Ray of their own
def test_a_killed_job_on_an_object_store_resumes_to_the_tables_of_a_local_one(
    s3: Store, one_thread: None, tmp_path: Path
) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=NUM_PAIRS)
    jobs.save_model(tmp_path / "model")
    local = run_job(jobs.config(tmp_path, **OPTIONS, cluster={"engine": "local"}))

    s3.client.upload_file(str(tmp_path / "corpus.jsonl"), "runs", "corpus.jsonl")
    upload(s3, tmp_path / "model", "model")
    remote: JobConfig = jobs.config(
        tmp_path, inputs=["s3://runs/corpus.jsonl"], model="s3://runs/model", run="s3://runs/run", **OPTIONS
    )
    (tmp_path / "job.yaml").write_text(remote.to_yaml())
    run = Folder("s3://runs/run")
    with fault_proxy(s3, random_faults(seed=11, share=0.005)) as proxy:
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "ENCORE_RAY_CLUSTER_ENGINE": "auto",  # as for a user: the model's pass is on Ray
        }
        words = ["run", str(tmp_path / "job.yaml")]
        killed = subprocess.Popen(
            [sys.executable, "-m", "encore_ray.cli", *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE_S
        while num_commits(s3) < 2:
            assert killed.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        killed.kill()
        killed.wait()
        assert not run.exists("scores/_SUCCESS")
        stood = set(run.names("scores/commits"))

        commands = [
            words,
            ["status", "s3://runs/run"],
            ["inspect", "s3://runs/run"],
            ["export", "--run", "s3://runs/run", "--output", "s3://runs/export"],
            ["compare", "--scores", "s3://runs/run/scores", "--output", "s3://runs/compared"],
        ]
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert proxy.faults.total() > 0
    assert "Traceback" not in done.stdout + done.stderr
    assert f"{NUM_PAIRS:,} rows in = {NUM_PAIRS:,} kept + 0 quarantined" in done.stdout

    assert tables(run) == tables(local.run)
    for name in ("weights.json", "metrics.json", "comparison.json"):
        assert run.read_bytes(name) == local.run.read_bytes(name)
    assert Folder("s3://runs/compared").read_json("comparison.json") == run.read_json("comparison.json")
    assert stood <= set(run.names("scores/commits"))
    assert len(run.names("scores/data")) == NUM_PAIRS // UNIT_PAIRS  # no file that no commit names
    assert len(s3.objects("runs", "export/train.jsonl")["export/train.jsonl"].splitlines()) == NUM_PAIRS
    assert run.exists("report/report.html")
    assert not [key for key in s3.objects("runs", "run/") if "probe" in key or "nonce" in key]
