"""The commands that launchers make of our files are commands of Ray and of ours, and fit each other and the image."""

import re
import shlex
import tomllib
from typing import Any

import click
import pytest
import yaml

from encore_ray.cli.commands.jobs.run import Run
from encore_ray.cli.parsing import parse
from tests.image.build import base_image
from tests.image.launchers import (
    CLUSTER_FILE,
    HEAD_PORT,
    MANIFEST,
    ROOT,
    filled,
    launcher_setup,
    launcher_start,
    manifests,
    pod_probe,
    pod_start,
    submitter,
)

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
HEAD_IP = "10.0.0.1"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """cluster.yaml with Ray's defaults, as its launcher reads it."""
    from ray.autoscaler._private.util import prepare_config

    monkeypatch.chdir(ROOT)
    return prepare_config(yaml.safe_load(CLUSTER_FILE.read_text(encoding="utf-8")))


def cluster() -> dict[str, Any]:
    return manifests(MANIFEST.read_text(encoding="utf-8"))["RayJob"]["spec"]["rayClusterSpec"]


def rays(command: str) -> dict[str, Any]:
    """The options of a command of Ray, by Ray's own command line, which refuses those that it does not know."""
    from ray.scripts.scripts import cli

    words = shlex.split(command)
    assert words.pop(0) == "ray"
    name, found, rest = cli.resolve_command(click.Context(cli), words)
    assert found is not None
    return found.make_context(name, rest).params


def typed(command: str) -> str:
    """The command within the shells and variables that the launcher puts around it."""
    words = shlex.split(command)
    assert words[:4] == ["bash", "--login", "-c", "-i"]
    (found,) = re.findall(r"&& \((.*)\)$", words[4])
    return re.sub(r"^(?:export \w+=(?:'[^']*'|[^;']*); ?)*", "", found)


def test_the_start_commands_of_the_cluster_file_are_commands_of_ray(config: dict[str, Any]) -> None:
    stop, start = launcher_start(config)
    assert rays(typed(stop))["force"] is False
    head = rays(typed(start))
    assert (head["head"], head["port"]) == (True, HEAD_PORT)
    assert head["autoscaling_config"] == "~/ray_bootstrap_config.yaml"  # where the launcher puts it
    with pytest.raises(click.NoSuchOption):
        rays("ray start --hed")


def test_workers_of_the_cluster_file_look_for_the_head_where_it_listens(config: dict[str, Any]) -> None:
    _, start = launcher_start(config, head_ip=HEAD_IP)
    _, head = launcher_start(config)
    assert rays(typed(start))["address"] == f"$RAY_HEAD_IP:{rays(typed(head))['port']}"
    assert f"export RAY_HEAD_IP={HEAD_IP};" in start
    assert '"GPU":1' in start and '"GPU"' not in head


def test_the_setup_command_of_the_cluster_file_compares_a_mounted_file_with_the_image(config: dict[str, Any]) -> None:
    for head in (True, False):
        (command,) = launcher_setup(config, head=head)
        compare, mounted, built = typed(command).split()
        assert compare == "cmp"
        assert mounted in config["file_mounts"]
        assert f"PIP_CONSTRAINT={built} " in DOCKERFILE


def test_the_commands_that_kuberay_makes_of_the_manifest_are_commands_of_ray() -> None:
    (group,) = cluster()["workerGroupSpecs"]
    ulimit, _, start = pod_start(cluster()["headGroupSpec"]).partition("; ")
    assert ulimit == "ulimit -n 65536"
    head = rays(start)
    assert (head["num_cpus"], head["memory"], head["num_gpus"]) == (8, 32 << 30, None)
    assert head["disable_usage_stats"]
    worker = rays(pod_start(group, head_ip=HEAD_IP).partition("; ")[2])
    assert (worker["num_cpus"], worker["num_gpus"], worker["address"]) == (7, 1, f"{HEAD_IP}:{HEAD_PORT}")
    misspelt = {**group, "rayStartParams": {"num-cpu": "4"}}
    with pytest.raises(click.NoSuchOption):
        rays(pod_start(misspelt, head_ip=HEAD_IP).partition("; ")[2])


def test_the_entrypoint_of_the_manifest_is_a_command_of_ours() -> None:
    job = manifests(MANIFEST.read_text(encoding="utf-8"))["RayJob"]
    command = submitter(job, head_ip=HEAD_IP, submission_id="x")
    (entrypoint,) = re.findall(r" -- (.*?) ; fi ; ", command)
    program, *words = shlex.split(entrypoint)
    assert program == "encore-ray"
    assert isinstance(parse(words), Run)


def test_the_image_has_the_programs_that_launchers_run_in_it() -> None:
    """cmp comes with diffutils, which every Debian has; ssh and rsync are what a head reaches its workers by."""
    assert "wget" in pod_probe(head=True)
    (installed,) = re.findall(r"apt-get install --yes --no-install-recommends ([a-z -]+?) +&&", DOCKERFILE)
    assert {"openssh-client", "rsync", "wget", "procps"} <= set(installed.split())


def test_the_image_is_built_on_a_python_that_the_package_takes_and_on_a_named_debian() -> None:
    name, python, debian = base_image()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == f">={python}"
    assert project["tool"]["pyright"]["pythonVersion"] == python
    assert name.endswith(f"-{debian}")


def test_the_user_of_the_image_works_in_a_home_of_its_own_that_launchers_find() -> None:
    (user,) = re.findall(r"^USER (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    assert re.search(rf"useradd --create-home --uid 1000 {user}$", DOCKERFILE, flags=re.MULTILINE)
    after = DOCKERFILE.partition(f"USER {user}\n")[2]
    home = f"/home/{user}"
    assert f"ENV HOME={home}\n" in after  # Ray's launcher mounts ~ below /root where the image names no HOME
    assert after.rstrip().endswith(f"WORKDIR {home}")
    mounts = yaml.safe_load(CLUSTER_FILE.read_text(encoding="utf-8"))["file_mounts"]
    assert all(there.startswith(f"{home}/") for there in mounts)


def test_a_file_is_filled_in_only_where_nothing_is_left_to_replace() -> None:
    assert filled("image: REPLACE/x  # REPLACE it", {"REPLACE/x": "y/x"}) == "image: y/x  # REPLACE it"
    with pytest.raises(AssertionError, match="image: REPLACE/x"):
        filled("image: REPLACE/x\nuser: REPLACE", {"user: REPLACE": "user: me"})
    with pytest.raises(AssertionError, match="is not in the file any more"):
        filled("image: x", {"REPLACE": "y"})
