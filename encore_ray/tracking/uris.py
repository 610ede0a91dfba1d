"""Where the records go: the default store of a run folder, its artifacts, and how to open it."""

import os

from encore_ray.redaction import redact
from encore_ray.shell import command
from encore_ray.storage import Folder, absolute

# MLflow 3 else opens on what it has for agents, where a job is nowhere to be seen; an older one does not heed it.
_EXPERIMENTS = "/#/experiments?workflowType=machine_learning"
SERVED_HERE = f"http://127.0.0.1:5000{_EXPERIMENTS}"  # by the command of `how_to_open`


def default_uri(run_folder: Folder) -> str | None:
    """The sqlite store beside a local run folder, by absolute path; None for a remote run folder."""
    if not run_folder.is_local:
        return None
    return f"sqlite:///{os.path.dirname(absolute(run_folder.uri))}/mlflow.db"


def artifact_root(uri: str) -> str | None:
    """Where a sqlite store keeps its artifacts: `mlartifacts` beside it; None where a server decides that itself."""
    if not uri.startswith("sqlite:///"):
        return None
    return os.path.join(os.path.dirname(absolute(uri.removeprefix("sqlite:///"))), "mlartifacts")


def how_to_open(uri: str) -> str:
    """The address to open in a browser, or the command that serves a database store."""
    if is_server(uri):
        return redact(uri).rstrip("/") + _EXPERIMENTS
    return command("mlflow", "ui", "--backend-store-uri", redact(uri))


def is_server(uri: str) -> bool:
    """Whether a browser can open it as it is."""
    return uri.startswith(("http://", "https://"))
