"""AWS as far as Ray's launcher needs it, by moto's server: what `ray up` makes there of cluster.yaml."""

import json
import os
from typing import Any

import boto3
import yaml

from tests.image.launchers import CLUSTER_FILE, filled
from tests.object_store import Store

ACCOUNT = "123456789012"  # moto's
PROFILES = ("encore-ray-head", "encore-ray-worker")


def launched(store: Store, *, image: str) -> tuple[dict[str, Any], str]:
    """Do `ray up` up to the head's first ssh: roles, keys, networks, and the head's instance.

    Returns:
        The configuration with all that was found out, and the one that the launcher brings to the head, as text.
    """
    from ray.autoscaler._private.cli_logger import cli_logger
    from ray.autoscaler._private.commands import _bootstrap_config, _set_up_config_for_head_node
    from ray.autoscaler._private.providers import _get_node_provider
    from ray.autoscaler.tags import NODE_KIND_HEAD, TAG_RAY_NODE_KIND, TAG_RAY_NODE_NAME, TAG_RAY_NODE_STATUS

    os.environ.update(store.environment)  # what Ray's client of AWS reads
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    for name in PROFILES:
        iam.create_instance_profile(InstanceProfileName=name)
    ami = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    values = {
        "REPLACE/encore-ray:0.1.0": image,
        "ami-REPLACE": ami,
        "arn:aws:iam::REPLACE:": f"arn:aws:iam::{ACCOUNT}:",
    }
    written = yaml.safe_load(filled(CLUSTER_FILE.read_text(encoding="utf-8"), values))
    cli_logger.configure(log_style="record", verbosity=0)
    config = _bootstrap_config(written, no_config_cache=True)
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    head = config["available_node_types"][config["head_node_type"]]["node_config"]
    tags = {TAG_RAY_NODE_KIND: NODE_KIND_HEAD, TAG_RAY_NODE_NAME: "head", TAG_RAY_NODE_STATUS: "uninitialized"}
    provider.create_node(head, tags, 1)
    config, file = _set_up_config_for_head_node(config, provider, no_restart=False)
    with file, open(file.name) as brought:
        return config, json.dumps(json.load(brought))


def instances() -> dict[str, str]:
    """The types of the instances that were started, each with its market."""
    reservations = boto3.client("ec2").describe_instances()["Reservations"]
    found = [instance for reservation in reservations for instance in reservation["Instances"]]
    return {each["InstanceType"]: each.get("InstanceLifecycle", "on demand") for each in found}
