"""What no waiting mends in a store's address or an experiment's name: told before work, without MLflow, in no time.

An outage is none of it: a store that does not answer gets the job's records later.
"""

import base64
import difflib
import json
import os
import re
import urllib.error
import urllib.request
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlencode, urlsplit

from encore_ray.errors import ConfigError
from encore_ray.redaction import redact
from encore_ray.tracking.experiments import ID_PREFIX, deleted, unknown_id
from encore_ray.tracking.sqlite_file import problem_of, sqlite_path

MAX_EXPERIMENT_CHARS = 500
ASK_TIMEOUT_S = 2.0
_MOST_BYTES = 1 << 20  # of an answer

SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")
SCHEMES = (*SERVERS, "sqlite", *DATABASES, "databricks")
_PACKAGES = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary"}  # by the module that SQLAlchemy asks for
_MEANT = {"postgres": "postgresql", "sqlite3": "sqlite", "mariadb": "mysql", "sqlserver": "mssql"}


def is_database_server(uri: str) -> bool:
    """Whether a store is a database behind a network, of which only MLflow itself can tell what it holds."""
    return urlsplit(uri).scheme.partition("+")[0] in DATABASES


def refuse_permanent(uri: str, experiment: str | None) -> None:
    """Refuse a store, or an experiment in it, that will not take the job's records tomorrow either.

    Args:
        uri: of the store.
        experiment: its name, or its id as id:12; None where the store alone is to be looked at.

    Raises:
        ConfigError: a folder or an unknown scheme; a missing driver; a sqlite file that is no database or was made by
            an MLflow whose tables are others; a name that the store does not take; a deleted or unknown experiment.
    """
    problem = _of_uri(uri) or (None if experiment is None else _of_name(uri, experiment))
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if problem is None and scheme == "sqlite":
        problem = problem_of(sqlite_path(uri), experiment)
    elif problem is None and scheme in SERVERS and experiment is not None:
        problem = _of_server(uri, experiment)
    if problem:
        raise ConfigError(f"Tracking in {redact(uri)}: {problem} Or track nothing: tracking.enabled=false.")


def _of_uri(uri: str) -> str | None:
    if uri == "databricks":
        return None
    if uri.partition(":")[0] in ("databricks-uc", "uc"):
        return "that is a registry of models. Set tracking.uri=databricks, or databricks://PROFILE."
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  is read from the text only when it is asked for
    except ValueError as error:
        return f"that is no address ({error}). Correct it, as in http://mlflow.example:5000."
    scheme, _, driver = parts.scheme.partition("+")
    if re.fullmatch(r"[\w.\-]+:\d+(/.*)?", uri):
        return f"it has no scheme. Write http://{uri}, or https://."
    if scheme in ("", "file"):
        path = os.path.abspath(re.sub("^file:(//)?", "", uri))
        database = path if path.endswith((".db", ".sqlite")) else f"{path}.db"
        return f"MLflow keeps no more runs in folders (since 3.13). Use the database sqlite:///{database}."
    if scheme not in SCHEMES:
        if any(point.name == parts.scheme for point in entry_points(group="mlflow.tracking_store")):
            return None  # a plugin of the user's
        close = _MEANT.get(scheme) or next(iter(difflib.get_close_matches(scheme, SCHEMES, 1, 0.5)), None)
        meant = f" Was {close}:// meant?" if close else ""
        return f"MLflow knows no scheme {scheme}:.{meant} Known are {', '.join(SCHEMES)}."
    if scheme == "sqlite":
        if not uri.partition(":")[2].startswith("///"):
            return (
                "after sqlite: come three slashes and a path, as in sqlite:///mlflow.db, or four for /data/mlflow.db."
            )
        if sqlite_path(uri) in ("", ":memory:"):
            return "a database in memory ends with the job. Name a file, as in sqlite:///mlflow.db."
        return None
    if scheme in SERVERS:
        return None if parts.hostname else f"it names no host, as in {scheme}://mlflow.example:5000."
    return _of_driver(uri, driver) if scheme in DATABASES else None


def _of_driver(uri: str, driver: str) -> str | None:
    """What of a database's address SQLAlchemy does not take, or the package that it needs."""
    from sqlalchemy.engine import make_url  # with MLflow; half a second, for these stores alone
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ImportError as error:
        package = _PACKAGES.get(error.name or "", error.name or driver)
        return f"its driver is not installed ({error}). Install it: `pip install {package}`."
    except (ArgumentError, ValueError) as error:
        return f"{redact(str(error)).splitlines()[0].rstrip('.')}."
    return None


def _of_name(uri: str, experiment: str) -> str | None:
    if not experiment.strip() or experiment == ID_PREFIX:
        return "tracking.experiment is empty. Name one."
    if len(experiment) > MAX_EXPERIMENT_CHARS:
        return f"tracking.experiment has {len(experiment)} characters; MLflow takes {MAX_EXPERIMENT_CHARS}. Shorten it."
    if uri.partition(":")[0] == "databricks" and not experiment.startswith(("/", ID_PREFIX)):
        return (
            f"experiments there are named by a path of the workspace, found {experiment!r}. Set tracking.experiment or "
            f"MLFLOW_EXPERIMENT_NAME, as in /Shared/{experiment} or /Users/you@example.com/{experiment}."
        )
    return None


def _of_server(uri: str, experiment: str) -> str | None:
    """What a server says of the experiment; nothing where it does not answer, or asks for more than we know."""
    by_id = experiment.startswith(ID_PREFIX)
    query = {"experiment_id": experiment.removeprefix(ID_PREFIX)} if by_id else {"experiment_name": experiment}
    parts = urlsplit(uri)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    call = "get" if by_id else "get-by-name"
    request = urllib.request.Request(f"{address}/api/2.0/mlflow/experiments/{call}?{urlencode(query)}")  # noqa: S310
    authorization = _authorization(parts.username, parts.password)
    if authorization:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as answer:  # noqa: S310
            found = _json(answer.read(_MOST_BYTES))
    except urllib.error.HTTPError as error:
        if error.code != 404:
            return None
        said = _json(error.read(_MOST_BYTES)).get("error_code")
        if said is None:
            return "no MLflow answers there (404). Correct the address, its path too."
        return unknown_id(experiment) if by_id else None
    except (OSError, ValueError):
        return None
    stage = found.get("experiment", {})
    return deleted(experiment) if isinstance(stage, dict) and stage.get("lifecycle_stage") == "deleted" else None


def _authorization(user: str | None, password: str | None) -> str | None:
    """As MLflow's client sends it."""
    user = user or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = password or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
