"""Where the records go: the default store of a run folder, and URIs that are safe to print."""

import os
import re

from encore_ray.shell import command
from encore_ray.storage import Folder, absolute

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_QUERY = re.compile(r"([?&][^=&\s]*(?:token|secret|passw|signature|credential|sig|key)[^=&\s]*=)[^&\s]+", re.I)


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


def redact(text: str) -> str:
    """The text without the credentials of the URIs in it: user:password@ is removed, secret query values starred."""
    return _SECRET_QUERY.sub(r"\1***", _USER_INFO.sub("", text))


def how_to_open(uri: str) -> str:
    """The address to open in a browser, or the command that serves a database store."""
    if uri.startswith(("http://", "https://")):
        return redact(uri)
    return command("mlflow", "ui", "--backend-store-uri", redact(uri))
