"""`python -m tests.image.check FOLDER`: run the image that `tests.image.build` made, as its user and as clouds do.

Each machine runs a container of its own. An object store and the parts of AWS that the launcher asks come from moto.
No machine has a GPU: workers claim one, as the files say; a job that wants it must end with our word for that, and the
same job on CPUs must end well.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.image.build import IMAGE
from tests.image.cloud import instances, launched
from tests.image.launchers import (
    DASHBOARD_PORT,
    MANIFEST,
    ROOT,
    filled,
    launcher_setup,
    launcher_start,
    manifests,
    node_types,
    pod_probe,
    pod_start,
    pod_variables,
    pod_wait,
    submitter,
)
from tests.image.machines import GATEWAY, Machine, machine, network
from tests.image.steps import SHOWN, step
from tests.object_store import Store, store_server

BUCKET = "cloud"
PAIRS = 512  # of the demo's corpus, for the jobs on clusters
NO_GPU = "device is cuda, but this process sees no CUDA device"
WAIT_S = 300.0


def check_alone(image: Machine) -> tuple[bytes, dict[str, bytes]]:
    """What a laptop does with the image; returns the demo's corpus, cut, and its model."""
    with step("version") as note:
        note(image.run("encore-ray --version").strip())
        note(image.run("python -c 'import torch; print(torch.__version__, torch.cuda.is_available())'").strip())
    with step("tools") as note:
        note(image.run("for name in ssh rsync wget ps cmp; do command -v $name; done").replace("\n", " "))
    with step("demo") as note:
        note("\n" + "\n".join(image.run("encore-ray demo").splitlines()[-12:]))
    demo = image.path(f"{image.user[2]}/demo-run")
    lines = (demo / "corpus.jsonl").read_bytes().splitlines(keepends=True)
    return b"".join(lines[:PAIRS]), {path.name: path.read_bytes() for path in (demo / "model").iterdir()}


def fill_store(store: Store, corpus: bytes, model: dict[str, bytes]) -> None:
    store.empty(BUCKET)
    store.client.put_object(Bucket=BUCKET, Key="pairs.jsonl", Body=corpus)
    for name, content in model.items():
        store.client.put_object(Bucket=BUCKET, Key=f"model/{name}", Body=content)


def check_launcher(store: Store, folder: Path) -> None:
    """cluster.yaml: up to a finished job on a worker, which the head's autoscaler asks for."""
    with step("ray up") as note:
        config, brought = launched(store, image=IMAGE)
        head_type, worker_type = (node["node_config"]["InstanceType"] for node in node_types(config))
        assert instances().keys() == {head_type}
        note(f"{head_type} {instances()[head_type]}")
    with machine(folder, "aws-head", 11) as head, machine(folder, "aws-worker", 12) as worker:
        with step("head") as note:
            bring_mounts(head, config)
            head.write("/home/ray/ray_bootstrap_config.yaml", brought)
            head.write("/home/ray/ray_bootstrap_key.pem", Path(config["auth"]["ssh_private_key"]).read_text())
            for command in [*launcher_setup(config, head=True), *launcher_start(config)]:
                head.run(command, variables_of(store))
            wait_for("the head's dashboard", lambda: dashboard(head))
            note(f"{len(launcher_setup(config, head=True))} setup and {len(launcher_start(config))} start commands")
        job = cloud_job("aws", gpus=1)
        with step("submit") as note, submitted(head, folder, job) as first:
            wait_for("a worker's instance", lambda: worker_type in instances())
            note(f"the autoscaler starts {worker_type} {instances()[worker_type]}")
            bring_mounts(worker, config)
            commands = [*launcher_setup(config, head=False), *launcher_start(config, head_ip=head.address)]
            for command in commands:
                worker.run(command, variables_of(store))
            said = first.communicate(timeout=600)[0]
            assert first.returncode == 4 and NO_GPU in said, said
            note("on a worker without a GPU: exit 4")
        with step("on CPUs") as note, submitted(head, folder, cloud_job("aws-cpus", gpus=0)) as second:
            said = second.communicate(timeout=600)[0]
            assert second.returncode == 0, said
            note(finished(store, "aws-cpus", said))


def check_kuberay(store: Store, folder: Path) -> None:
    """jobs/rayjob.yaml: up to a finished job, by the commands of KubeRay's pods."""
    values = {
        "REPLACE/encore-ray:0.1.0": IMAGE,
        "s3://REPLACE/pairs.jsonl": f"s3://{BUCKET}/pairs.jsonl",
        "REPLACE/multi-head-reward-model": f"s3://{BUCKET}/model",
        "s3://REPLACE/runs/first": f"s3://{BUCKET}/runs/kuberay",
        "gpus_per_actor: 1": "gpus_per_actor: 0",
    }
    found = manifests(filled(MANIFEST.read_text(encoding="utf-8"), values))
    job, cluster = found["RayJob"], found["RayJob"]["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    with (
        machine(folder, "pod-head", 21) as head,
        machine(folder, "pod-worker", 22) as worker,
        machine(folder, "pod-submitter", 23) as pod,
    ):
        (mount,) = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        for name, content in found["ConfigMap"]["data"].items():
            head.write(f"{mount['mountPath']}/{name}", content)
        with step("head pod") as note:
            variables = {**variables_of(store), **pod_variables()}
            start(head, pod_start(cluster["headGroupSpec"]), variables, alive=pod_probe(head=True))
            head.run("python -c 'import ray.autoscaler._private.kuberay.run_autoscaler'")  # a container beside it
            note("its probe finds it alive")
        with step("worker pod") as note:
            worker.run(pod_wait(head.address), pod_variables(head.address))
            variables = {**variables_of(store), **pod_variables(head.address)}
            start(worker, pod_start(group, head_ip=head.address), variables, alive=pod_probe(head=False))
            note("its probe finds it alive")
        with step("RayJob") as note:
            said = pod.run(submitter(job, head_ip=head.address, submission_id="encore-ray-first-abcde"))
            note(finished(store, "kuberay", said))


def cloud_job(name: str, *, gpus: int) -> dict[str, Any]:
    """The job of docs/launching.md for a cluster that grows."""
    return {
        "inputs": f"s3://{BUCKET}/pairs.jsonl",
        "model": f"s3://{BUCKET}/model",
        "run": f"s3://{BUCKET}/runs/{name}",
        "score": {"actors": "1,8", "gpus_per_actor": gpus},
        "cluster": {"autoscaling": True},
    }


@contextlib.contextmanager
def submitted(head: Machine, folder: Path, job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """`encore-ray submit` on the user's machine, at the end of the tunnel to a head."""
    file = folder / "my-job.yaml"
    file.write_text(yaml.safe_dump(job))
    tunnel = ["nsenter", "--net", "--target", str(head.pid)]
    words = ["submit", str(file), "--address", f"http://127.0.0.1:{DASHBOARD_PORT}"]
    command = [*tunnel, sys.executable, "-m", "encore_ray.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def variables_of(store: Store) -> dict[str, str]:
    """What nodes have from elsewhere: credentials, and patience, for all of them share this machine's cores."""
    return {**store.environment, "RAY_raylet_start_wait_time_s": f"{WAIT_S:.0f}"}


def bring_mounts(node: Machine, config: dict[str, Any]) -> None:
    for remote, local in config["file_mounts"].items():
        if not remote.startswith("~"):
            node.write(remote, (ROOT / local).read_text())


def start(node: Machine, command: str, variables: dict[str, str], *, alive: str) -> None:
    """Start what runs as long as its machine does, and wait until a command finds it alive."""
    log = Path(f"{node.root}.log")
    with log.open("w") as file:
        running = subprocess.Popen(node.within(command, variables), stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    wait_for(f"what was started by {command}", lambda: running.poll() is not None or probe(node, alive))
    assert running.poll() is None, log.read_text()[-SHOWN:]


def probe(node: Machine, command: str) -> bool:
    return subprocess.run(node.within(command), capture_output=True, check=False).returncode == 0


def dashboard(head: Machine) -> bool:
    return probe(head, f"wget -T 2 -q -O- http://127.0.0.1:{DASHBOARD_PORT}/api/gcs_healthz | grep success")


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(1)


def finished(store: Store, name: str, said: str) -> str:
    """That a run folder holds the whole result, and the numbers of it."""
    made = store.objects(BUCKET, f"runs/{name}/")
    metrics = json.loads(made.get(f"runs/{name}/metrics.json", b"null"))
    assert metrics and metrics["overall"]["num_pairs"], said
    return f"{metrics['overall']['num_pairs']} pairs, accuracy {metrics['overall']['accuracy']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.image.check")
    parser.add_argument("folder", type=Path, help="the folder of tests.image.build")
    folder = parser.parse_args().folder.resolve()
    os.environ["HOME"] = str(folder)  # where the launcher keeps its key
    with network():
        with machine(folder, "alone", 2) as image:
            corpus, model = check_alone(image)
        with store_server(GATEWAY) as store:
            fill_store(store, corpus, model)
            check_launcher(store, folder)
            check_kuberay(store, folder)


if __name__ == "__main__":
    main()
