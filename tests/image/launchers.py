"""What Ray's cluster launcher and KubeRay run in the image: the commands that they make of our two files."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER_FILE, MANIFEST = ROOT / "cluster.yaml", ROOT / "jobs" / "rayjob.yaml"
HEAD_PORT, DASHBOARD_PORT, AGENT_PORT, METRICS_PORT = 6379, 8265, 52365, 8080  # KubeRay's; the first two also Ray's


def filled(text: str, values: dict[str, str]) -> str:
    """A file as its user leaves it: each key replaced by its value, and no REPLACE left but in comments."""
    for old, new in values.items():
        assert old in text, f"{old} is not in the file any more"
        text = text.replace(old, new)
    left = [line for line in text.splitlines() if "REPLACE" in line.partition("#")[0]]
    assert not left, left
    return text


def node_types(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The head's and the workers' entry in cluster.yaml."""
    found = dict(config["available_node_types"])
    head = found.pop(config["head_node_type"])
    (worker,) = found.values()
    return head, worker


def launcher_setup(config: dict[str, Any], *, head: bool) -> list[str]:
    """Commands of a prepared cluster.yaml that Ray's launcher runs before Ray starts, each for `bash -c`."""
    return [_by_launcher(command) for command in config[f"{'head' if head else 'worker'}_setup_commands"]]


def launcher_start(config: dict[str, Any], *, head_ip: str | None = None) -> list[str]:
    """Commands that start Ray on the head, or on the worker of a head, each for `bash -c`."""
    from ray._private.ray_constants import RESOURCES_ENVIRONMENT_VARIABLE
    from ray.autoscaler._private.util import with_head_node_ip

    head, worker = node_types(config)
    if head_ip is None:
        commands, node = config["head_start_ray_commands"], head
    else:
        commands, node = with_head_node_ip(config["worker_start_ray_commands"], head_ip), worker
    return [_by_launcher(command, {RESOURCES_ENVIRONMENT_VARIABLE: node["resources"]}) for command in commands]


def _by_launcher(command: str, variables: dict[str, Any] | None = None) -> str:
    """As Ray's DockerCommandRunner hands it to `docker exec CONTAINER /bin/bash -c`."""
    from ray.autoscaler._private.command_runner import _with_environment_variables, _with_interactive

    return " ".join(_with_interactive(_with_environment_variables(command, variables or {})))


def manifests(text: str) -> dict[str, dict[str, Any]]:
    """The objects of a manifest by their kind."""
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


def pod_start(group: dict[str, Any], *, head_ip: str | None = None) -> str:
    """The command of a head's or worker's container, as KubeRay's ray-operator/controllers/ray/common/pod.go has it."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    found = {
        "num-cpus": str(limits["cpu"]),
        "memory": str(int(limits["memory"].removesuffix("Gi")) << 30),
        "metrics-export-port": str(METRICS_PORT),
        "dashboard-agent-listen-port": str(AGENT_PORT),
        **({"num-gpus": str(limits["nvidia.com/gpu"])} if "nvidia.com/gpu" in limits else {}),
        **({"address": f"{head_ip}:{HEAD_PORT}"} if head_ip else {"dashboard-host": "0.0.0.0"}),
        **({} if head_ip else {"head": "true", "no-monitor": "true"}),  # the autoscaler is a container beside it
        "block": "true",
        **group["rayStartParams"],
    }
    flags = [f"--{name}" if value == "true" else f"--{name}={value}" for name, value in sorted(found.items())]
    return " ".join(["ulimit -n 65536; ray start", *flags])


def pod_variables(head_ip: str | None = None) -> dict[str, str]:
    """Variables that KubeRay sets in the containers of pods, as far as Ray or a job reads them."""
    here = {"FQ_RAY_IP": head_ip, "RAY_IP": head_ip} if head_ip else {}
    return {
        **here,
        "RAY_ADDRESS": f"{head_ip or '127.0.0.1'}:{HEAD_PORT}",
        "RAY_PORT": str(HEAD_PORT),
        "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
        "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE": "1",
    }


def pod_probe(*, head: bool) -> str:
    """By which the kubelet finds a pod alive and ready."""
    paths = [(AGENT_PORT, "api/local_raylet_healthz"), *([(DASHBOARD_PORT, "api/gcs_healthz")] if head else [])]
    ask = "wget --tries 1 -T 2 -q -O- http://localhost:{}/{} | grep success"
    return " && ".join(ask.format(port, path) for port, path in paths)


def pod_wait(head_ip: str) -> str:
    """What the init container of a worker repeats until the head answers."""
    return f"ray health-check --address {head_ip}:{HEAD_PORT}"


def submitter(job: dict[str, Any], *, head_ip: str, submission_id: str) -> str:
    """The command of the pod that submits, as KubeRay's ray-operator/controllers/ray/common/job.go has it."""
    address = f"http://{head_ip}:{DASHBOARD_PORT}"
    return (
        f"if ! ray job status --address {address} {submission_id} >/dev/null 2>&1 ; "
        f"then ray job submit --address {address} --no-wait --submission-id {submission_id} -- "
        f"{job['spec']['entrypoint'].strip()} ; fi ; ray job logs --address {address} --follow {submission_id}"
    )
