"""One MLflow store, spoken to by explicit run ids; every call can be repeated without making doubles."""

import contextlib
import hashlib
import json
import logging
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Seconds, not minutes, for a dead server; only in the courier's process, and only what the user has not set.
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402 - reads the settings above when it is imported
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from encore_ray.files import durable  # noqa: E402
from encore_ray.tracking.experiments import ID_PREFIX, deleted, unknown_id  # noqa: E402
from encore_ray.tracking.sqlite_file import make_room, sqlite_path  # noqa: E402
from encore_ray.tracking.uris import artifact_root  # noqa: E402

KEY_TAG = "encore_ray.run_key"
MAX_PARAM_CHARS, MAX_TAG_CHARS, MAX_NAME_CHARS = 6000, 8000, 250
DIGEST_CHARS = 12
METRICS_A_CALL, PARAMS_A_CALL = 1000, 100


class MlflowStore:
    """An MLflow tracking server or database.

    Args:
        uri: of the store, with credentials if it needs any.
    """

    def __init__(self, uri: str):
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._uri = uri
        with _first_alone(uri):
            self._client = mlflow.MlflowClient(tracking_uri=uri)

    def has_run(self, run_id: str) -> bool:
        """Whether a run is there and not deleted."""
        try:
            return self._client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def experiment_of(self, run_id: str) -> str:
        return self._client.get_run(run_id).info.experiment_id

    def refusal(self, experiment: str) -> str | None:
        """Why an experiment, by name or id:12, takes no runs; None where it does or is not there yet."""
        try:
            if experiment.startswith(ID_PREFIX):
                found = self._client.get_experiment(experiment.removeprefix(ID_PREFIX))
            else:
                found = self._client.get_experiment_by_name(experiment)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return unknown_id(experiment)
            raise
        return deleted(experiment) if found is not None and found.lifecycle_stage == "deleted" else None

    def experiment_named(self, name: str) -> str:
        """Id of an experiment, made if it is not there; of id:12 that id."""
        if name.startswith(ID_PREFIX):
            return self._client.get_experiment(name.removeprefix(ID_PREFIX)).experiment_id
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(name, artifact_location=artifact_root(self._uri))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            made_meanwhile = self._client.get_experiment_by_name(name)
            assert made_meanwhile is not None
            return made_meanwhile.experiment_id

    def begin_run(
        self, key: str, *, experiment_id: str, name: str, parent: str | None, time_ms: int, tags: dict[str, str]
    ) -> str:
        """The run with this key, running: made if the experiment does not have it; returns its id."""
        found = self._client.search_runs([experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        tags = {**tags, KEY_TAG: key, **({"mlflow.parentRunId": parent} if parent else {})}
        return self._client.create_run(experiment_id, start_time=time_ms, run_name=name, tags=tags).info.run_id

    def end_run(self, run_id: str, *, status: str, time_ms: int) -> None:
        self._client.set_terminated(run_id, status=status, end_time=time_ms)

    def log_params(self, run_id: str, values: dict[str, str]) -> None:
        """Params that the run does not have; one it has with another value goes to the tag `resumed.<name>`.

        A value over MLflow's limit is cut, marked, and kept whole as the artifact params/<name>.txt.
        """
        cut: dict[str, str] = {}
        for name, value in values.items():
            name = valid_name(name)
            if len(value) > MAX_PARAM_CHARS:
                file = f"params/{name.replace('/', '_')}.txt"
                self._client.log_text(run_id, value, file)
                value = _shortened(value, MAX_PARAM_CHARS, mark=f" ... cut, whole in the artifact {file}")
            cut[name] = value
        known = self._client.get_run(run_id).data.params
        new = [Param(name, value) for name, value in cut.items() if name not in known]
        for start in range(0, len(new), PARAMS_A_CALL):
            self._client.log_batch(run_id, params=new[start : start + PARAMS_A_CALL])
        changed = {f"resumed.{name}": value for name, value in cut.items() if known.get(name, value) != value}
        self.set_tags(run_id, changed)

    def set_tags(self, run_id: str, values: dict[str, str]) -> None:
        tags = [RunTag(valid_name(name), _shortened(value, MAX_TAG_CHARS)) for name, value in values.items()]
        for start in range(0, len(tags), PARAMS_A_CALL):
            self._client.log_batch(run_id, tags=tags[start : start + PARAMS_A_CALL])

    def log_metrics(self, run_id: str, points: list[tuple[str, float, int, int]]) -> None:
        """Metrics as (name, value, time in ms, step). MLflow keeps equal points once, so repeating is harmless."""
        metrics = [Metric(valid_name(name), value, time_ms, step) for name, value, time_ms, step in points]
        for start in range(0, len(metrics), METRICS_A_CALL):
            self._client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_CALL])

    def log_input(self, run_id: str, body: dict[str, Any]) -> None:
        """A dataset, shown by its name and the begin of its digest; the whole digest is a tag of the input."""
        kind, source = dataset_source(body["uri"])
        dataset = Dataset(
            name=body["name"][-500:],
            digest=body["digest"][:DIGEST_CHARS],
            source_type=kind,
            source=json.dumps(source),
            profile=json.dumps({"num_rows": body["num_rows"]}),
        )
        tags = [InputTag("mlflow.data.context", body["context"]), InputTag("digest", body["digest"])]
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])

    def log_artifact(self, run_id: str, name: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, posixpath.basename(name))
            path.write_bytes(data)
            self._client.log_artifact(run_id, str(path), posixpath.dirname(name) or None)

    def log_composer(self, run_id: str, weights: bytes) -> None:
        from encore_ray.tracking.composer import log_composer  # mlflow.pyfunc imports for a second, few runs need it

        log_composer(self._client, run_id=run_id, experiment_id=self.experiment_of(run_id), weights=weights)


@contextlib.contextmanager
def _first_alone(uri: str) -> Iterator[None]:
    """Let jobs that start together open a sqlite file one after the other: the first makes its tables."""
    if urlsplit(uri).scheme.partition("+")[0] != "sqlite":
        yield
        return
    path = sqlite_path(uri)
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:12]
    with open(os.path.join(tempfile.gettempdir(), f"encore-ray-{os.getuid()}-tables-{name}.lock"), "a") as handle:
        durable.try_lock(handle, waits=True)
        make_room(path)
        yield


def dataset_source(uri: str) -> tuple[str, dict[str, str]]:
    """Type and content of a dataset's source, as MLflow's own sources have them: its pages link to what they know."""
    scheme, _, path = uri.partition("://")
    if not path:
        return "local", {"uri": uri}
    if scheme == "hf" and path.startswith("datasets/"):
        return "hugging_face", {"path": "/".join(path.split("/")[1:3]), "uri": uri}
    return ("http", {"url": uri}) if scheme in ("http", "https") else (scheme, {"uri": uri})


def valid_name(name: str) -> str:
    """A name that MLflow takes: unchanged if it does; else cleaned, with a hash that keeps different names apart."""
    is_path = posixpath.normpath(name) == name and name not in (".", "..") and not name.startswith(("/", "../"))
    if re.fullmatch(r"[\w./\- ]+", name, re.ASCII) and is_path and len(name) <= MAX_NAME_CHARS:
        return name
    clean = re.sub(r"[^\w.\- ]", "_", name, flags=re.ASCII)[: MAX_NAME_CHARS - 9]
    return f"{clean}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _shortened(text: str, limit: int, *, mark: str = " ... cut") -> str:
    return text if len(text) <= limit else text[: limit - len(mark)] + mark
