"""The files that launch clusters are what their tools take, and agree with each other and with the project."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from encore_ray.cli import main
from encore_ray.config import JobConfig
from encore_ray.config.sources import load_config, make_config
from encore_ray.errors import ConfigError
from encore_ray.submit.launcher import missing_libraries
from encore_ray.submit.upload import LAUNCH_SCRIPT, fill_upload, machine_bound

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "launching.md").read_text(encoding="utf-8")
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
IMAGE = "REPLACE/encore-ray:0.1.0"


def manifests() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load_all((ROOT / "jobs" / "rayjob.yaml").read_text(encoding="utf-8"))
    return {manifest["kind"]: manifest for manifest in found}


def cluster_file() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def test_the_cluster_file_is_one_that_ray_up_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)  # file_mounts are taken from there
    prepared = prepare_config(cluster_file())
    validate_config(prepared)
    assert [Path(local).exists() for local in prepared["file_mounts"].values()] == [True]
    misspelt = {**cluster_file(), "max_worker": 8}
    with pytest.raises(Exception, match="Additional properties are not allowed"):
        validate_config(prepare_config(misspelt))


def test_gpu_workers_of_the_cluster_file_start_from_zero_on_spot_beside_a_head_without_gpu() -> None:
    config = cluster_file()
    head = config["available_node_types"][config["head_node_type"]]
    (gpu,) = [kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]]
    assert "GPU" not in head["resources"]
    assert "InstanceMarketOptions" not in head["node_config"]
    assert gpu["min_workers"] == 0 < gpu["max_workers"] <= config["max_workers"]
    assert gpu["resources"]["GPU"] >= 1
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_the_dashboard_of_the_cluster_file_listens_to_the_head_alone() -> None:
    (start,) = [line for line in cluster_file()["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in start


def test_the_manifest_has_the_fields_that_kuberay_needs() -> None:
    """Names and rules of ray.io/v1, KubeRay's ray-operator/apis/ray/v1 and its validation of a RayJob."""
    job = manifests()["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    assert len(job["metadata"]["name"]) <= 47
    spec = job["spec"]
    assert spec.keys() == {
        "entrypoint",
        "submissionMode",
        "backoffLimit",
        "activeDeadlineSeconds",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["shutdownAfterJobFinishes"] is True
    cluster = spec["rayClusterSpec"]
    assert cluster.keys() == {
        "rayVersion",
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "headGroupSpec",
        "workerGroupSpecs",
    }
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    (gpu,) = cluster["workerGroupSpecs"]
    assert gpu.keys() == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert gpu["replicas"] == gpu["minReplicas"] == 0 < gpu["maxReplicas"]


def test_only_the_workers_of_the_manifest_have_gpus_and_tolerate_spot_nodes() -> None:
    cluster = manifests()["RayJob"]["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]
    assert "tolerations" not in head
    assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} < {
        toleration["key"] for toleration in worker["tolerations"]
    }
    limits = [spec["containers"][0]["resources"]["limits"] for spec in (head, worker)]
    assert [limit.get("nvidia.com/gpu") for limit in limits] == [None, 1]
    assert head["containers"][0]["image"] == worker["containers"][0]["image"] == IMAGE


def test_the_job_of_the_manifest_is_mounted_where_its_command_looks_and_bound_to_no_machine() -> None:
    found = manifests()
    spec = found["RayJob"]["spec"]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (mount,) = head["containers"][0]["volumeMounts"]
    (volume,) = head["volumes"]
    assert volume["name"] == mount["name"]
    assert volume["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    assert spec["entrypoint"] == f"encore-ray run {mount['mountPath']}/job.yaml"
    config = make_config(yaml.safe_load(found["ConfigMap"]["data"]["job.yaml"]))
    assert machine_bound(config) == []
    most = spec["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"]
    assert config.score.actor_range == (1, most)
    assert config.score.gpus_per_actor == 1
    assert config.cluster.autoscaling


def test_all_ways_run_the_versions_that_the_project_is_tested_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifests()["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"] == CONSTRAINTS["ray"]
    assert IMAGE.endswith(f":{project['version']}")
    assert cluster_file()["docker"]["image"] == IMAGE
    assert "constraints.txt" in cluster_file()["file_mounts"].values()


def test_the_image_installs_every_library_at_its_pinned_version(tmp_path: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    assert "ENV PIP_CONSTRAINT=/opt/encore-ray/constraints.txt" in dockerfile  # of every pip, also of builds
    (script,) = re.findall(r'RUN python -c "([^"]+)" > requirements.txt', dockerfile)
    listed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in listed.stdout.splitlines()]
    assert {"ray", "torch", "transformers", "mlflow", "accelerate", "boto3"} <= set(names)
    assert [name for name in names if name not in CONSTRAINTS] == []


def test_the_image_is_built_from_what_docker_is_shown_and_runs_without_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.+)$", dockerfile, flags=re.M) for word in line.split()[:-1]]
    shown = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(shown)
    assert all((ROOT / name).exists() for name in copied)
    assert re.findall(r"^USER (.+)$", dockerfile, flags=re.M) == ["ray"]
    assert "://" not in dockerfile


def test_an_upload_holds_configuration_rules_and_package_and_nothing_else(tmp_path: Path) -> None:
    rules = tmp_path / "my-rules.yaml"
    rules.write_text("- {name: kind, text: Kind., higher_is: better, scale: {lo: 0, hi: 1}}\n")
    config = make_config({"inputs": "s3://b/pairs.jsonl", "run": "s3://b/run", "rules": str(rules)})
    config = config.model_copy(update={"cluster": config.cluster.model_copy(update={"address": "http://laptop"})})
    upload = tmp_path / "upload"
    upload.mkdir()
    fill_upload(upload, config)
    names = sorted(path.name for path in upload.iterdir())
    assert names == ["encore_ray", "encore_ray-0.1.0.dist-info", "job.yaml", "launch.sh", "rules.yaml"]
    assert not [path for path in upload.rglob("*") if fnmatch.fnmatch(path.name, "*.pyc")]
    assert sum(path.stat().st_size for path in upload.rglob("*")) < 4 << 20

    there: JobConfig = load_config(upload / "job.yaml", environ={})
    assert there.rules == str(upload / "rules.yaml")
    assert there.cluster.address is None
    assert there.model_copy(update={"rules": config.rules}).inputs == config.inputs
    answer = subprocess.run(
        [sys.executable, "-m", "encore_ray.submit.launcher", "--version"],
        cwd=upload,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines()[0].startswith(f"encore-ray 0.1.0 in {upload}/encore_ray, Python 3.")
    assert answer.stdout.splitlines()[1] == "encore-ray 0.1.0"


def test_a_password_in_the_tracking_uri_is_not_sent_and_not_repeated(tmp_path: Path) -> None:
    uri = "https://me:secret@mlflow.example.com"
    config = make_config({"inputs": "s3://b/x", "run": "s3://b/run", "tracking": {"uri": uri}})
    with pytest.raises(ConfigError, match=r"tracking\.uri holds a password") as refused:
        fill_upload(tmp_path, config)
    assert "secret" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_python_without_our_libraries_is_told_which_ones(tmp_path: Path) -> None:
    """A shell of another world: no raylet above it, and a python3 that has neither Ray nor torch."""
    assert missing_libraries() == []
    config = make_config({"inputs": "s3://b/pairs.jsonl", "run": "s3://b/run"})
    fill_upload(tmp_path, config)
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    packaging = Path(sys.modules["packaging"].__file__ or "").parent
    (next(bare.glob("lib/python*/site-packages")) / "packaging").symlink_to(packaging)
    answer = subprocess.run(
        ["sh", "launch.sh", "run", "job.yaml"],
        cwd=tmp_path,
        env={"PATH": f"{bare}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 4, answer.stderr
    assert "the cluster's Python lacks fsspec>=2025.3, " in answer.stderr
    assert "torch>=2.10" in answer.stderr
    assert "accelerate" not in answer.stderr  # of an extra
    assert f"at {bare}/bin/python3" in answer.stdout


def test_the_launch_script_takes_the_python_that_the_raylet_was_told(tmp_path: Path) -> None:
    """A process with a raylet's argument above the shell; its python is a script that tells who was called."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "called $0 $*"\n')
    python.chmod(0o755)
    (tmp_path / "launch.sh").write_text(LAUNCH_SCRIPT)
    raylet = "import subprocess; subprocess.run(['sh', '-c', 'sh launch.sh run job.yaml; true'])"
    worker = f"--python_worker_command={python} /ray/default_worker.py --node-ip-address=1.2.3.4"
    answer = subprocess.run(
        [sys.executable, "-c", raylet, "--raylet_name=x", worker],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == f"called {python} -m encore_ray.submit.launcher run job.yaml\n"


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("values", "bound"),
    [
        ({"run": "s3://b/run", "inputs": "hf://datasets/a/b/x.jsonl", "model": "owner/name"}, []),
        ({"run": "/data/run", "inputs": ["s3://b/x.jsonl", "/data/*.jsonl"]}, ["/data/run", "/data/*.jsonl"]),
        ({"run": "s3://b/run", "inputs": "s3://b/x", "model": "/models/m"}, ["/models/m"]),
        ({"run": "s3://b/run", "inputs": "s3://b/x", "tracking": {"uri": "sqlite:////x.db"}}, ["tracking.uri"]),
        (
            {"run": "s3://b/r", "inputs": "s3://b/x", "tracking": {"uri": "http://me:secret@localhost:5000"}},
            ["tracking.uri"],
        ),
        ({"run": "s3://b/r", "inputs": "s3://b/x", "tracking": {"uri": "https://mlflow.example.com"}}, []),
    ],
)
def test_places_that_mean_something_else_on_another_machine_are_named(values: dict, bound: list[str]) -> None:
    assert machine_bound(make_config(values)) == bound


def test_the_page_computes_the_price_of_a_million_pairs_from_its_own_figures() -> None:
    rates = {"tree": 162, "padded batches of 64": 26}
    for way, rate in rates.items():
        hours = 1_000_000 / rate / 3600
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {way} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2:] == [str(rate), f"{hours:.1f}", f"{hours * 4:.0f}"], (way, hours)
    # 209 tokens a pair at 14 GFLOP each, on 60% of 790 TFLOP/s.
    assert round(0.6 * 790e12 / (14e9 * 209)) == 162
    assert "computed, not measured" in PAGE


def test_the_commands_of_the_page_are_commands_with_these_flags(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in PAGE.splitlines() if line.strip().startswith("encore-ray ")]
    assert {line[1] for line in lines} == {"run", "submit"}
    for line in lines:
        with pytest.raises(SystemExit):
            main([line[1], "--help"])
        known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
        assert {word for word in line if word.startswith("--")} <= known
