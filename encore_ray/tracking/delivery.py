"""Delivers the journal to one MLflow store, in order, from where it left off; run as the courier's process.

What happens to an event: delivered; or held, with all after it, while the store cannot be reached; or failed, when the
store refuses just this one (an artifact it has no room for), noted for the next replay while the rest goes on.
"""

import contextlib
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import requests
from mlflow.exceptions import MlflowException

from encore_ray.files import durable
from encore_ray.files.proxies import in_the_way
from encore_ray.redaction import redact
from encore_ray.schema import SCHEMA_VERSION
from encore_ray.storage import Folder
from encore_ray.tracking.journal import Event, Journal, Position, delivered_file, store_digest
from encore_ray.tracking.mlflow_store import MlflowStore
from encore_ray.tracking.refusals import is_database_server

RETRY_AFTER_S = 15.0
METRIC_EVENTS_A_GROUP = 250


class UnreachableError(Exception):
    """The store cannot be used now; nothing is lost by trying later."""


@dataclass
class State:
    """How far one store has got; kept in the run folder, and trusted only while the store has its runs."""

    position: Position = field(default_factory=Position)
    run_ids: dict[str, str] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)  # {"event": ..., "error": ...}


class Delivery:
    """The delivery of one run folder's journal to one store."""

    def __init__(self, run_folder: Folder, *, uri: str):
        self._journal = Journal(run_folder)
        self._uri = uri
        self._state_file = delivered_file(uri)
        lock_hash = hashlib.sha256(run_folder.uri.encode()).hexdigest()[:12]
        lock_name = f"encore-ray-{os.getuid()}-{lock_hash}-{store_digest(uri)}.lock"
        self._lock_file = os.path.join(tempfile.gettempdir(), lock_name)
        self._store: MlflowStore | None = None

    def catch_up(self, *, retry_failed: bool = False) -> dict[str, Any]:
        """Deliver what can be delivered now; returns the progress, for the courier's handle to read."""
        with self._lock():
            state = self._load()
            outage, num_tried = None, 0
            try:
                store = self._connect(state)
                if retry_failed:
                    self._retry(state, store)
                for group in _groups(self._journal.read(state.position)):
                    self._attempt(state, store, [event for _, event in group])
                    state.position = group[-1][0]
                    num_tried += len(group)
            except UnreachableError as error:
                outage = f"{error}{in_the_way(self._uri)}"
            finally:
                self._save(state)
        return {
            "tried": num_tried,
            "position": [state.position.segment, state.position.events],
            "failed": [_describe(failure) for failure in state.failed],
            "outage": outage,
            "run_ids": state.run_ids,
        }

    def refusal(self, experiment: str) -> str | None:
        """Why the store will never take a job under this experiment; None where it will, or where it is away."""
        try:
            store = MlflowStore(self._uri)
            return store.refusal(experiment)
        except Exception as error:
            return f"{_reason(error).rstrip('.')}." if _is_permanent(error) else None

    def _connect(self, state: State) -> MlflowStore:
        if self._store is None:
            try:
                store = MlflowStore(self._uri)
                jobs = [run_id for key, run_id in state.run_ids.items() if "/" not in key]
                if not all(store.has_run(run_id) for run_id in jobs):
                    # The store was emptied or its runs deleted: it gets the whole journal again.
                    state.position, state.run_ids, state.failed = Position(), {}, []
            except Exception as error:
                raise UnreachableError(_reason(error)) from error
            self._store = store
        return self._store

    def _retry(self, state: State, store: MlflowStore) -> None:
        """Try again what the store refused; an outage leaves the rest noted as it was."""
        for failure in list(state.failed):
            state.failed.remove(failure)
            try:
                self._attempt(state, store, [Event(**failure["event"])])
            except UnreachableError:
                state.failed.append(failure)
                raise

    def _attempt(self, state: State, store: MlflowStore, events: list[Event]) -> None:
        """Deliver one event, or several of metrics; what the store refuses is noted, one by one."""
        try:
            if events[0].kind == "metrics":
                _log_metrics(state, store, events)
            else:
                self._apply(state, store, events[0])
        except Exception as error:
            # Without its run no later event can be delivered, so a begin is never skipped.
            if _is_outage(error) or events[0].kind == "begin":
                raise UnreachableError(_reason(error)) from error
            if len(events) > 1:
                for event in events:
                    self._attempt(state, store, [event])
            else:
                state.failed.append({"event": asdict(events[0]), "error": _reason(error)})

    def _apply(self, state: State, store: MlflowStore, event: Event) -> None:
        body = event.body
        if event.kind == "begin":
            state.run_ids[event.run_key] = _begin(state, store, event)
            return
        run_id = state.run_ids[event.run_key]
        match event.kind:
            case "params":
                store.log_params(run_id, body["values"])
            case "tags":
                store.set_tags(run_id, body["values"])
            case "input":
                store.log_input(run_id, body)
            case "artifact":
                store.log_artifact(run_id, body["name"], self._journal.read_file(body["file"]))
            case "composer":
                store.log_composer(run_id, self._journal.read_file(body["file"]))
            case "end":
                store.end_run(run_id, status=body["status"], time_ms=event.time_ms)
            case _:
                raise ValueError(f"this version does not know events of kind {event.kind!r}")

    def _load(self) -> State:
        folder = self._journal.folder
        if not folder.exists(self._state_file):
            return State()
        value = folder.read_json(self._state_file)
        return State(Position(*value["position"]), value["run_ids"], value["failed"])

    def _save(self, state: State) -> None:
        value = {
            "schema_version": SCHEMA_VERSION,
            "store": redact(self._uri),
            "position": [state.position.segment, state.position.events],
            "run_ids": state.run_ids,
            "failed": state.failed,
        }
        self._journal.folder.write_json(self._state_file, value)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One delivery at a time: a killed driver's courier may still be at work when the job is resumed."""
        with open(self._lock_file, "a") as handle:
            durable.try_lock(handle, waits=True)  # without locks a second delivery makes no doubles, only more calls
            yield


def _begin(state: State, store: MlflowStore, event: Event) -> str:
    key = event.run_key
    if key in state.run_ids:
        experiment_id = store.experiment_of(state.run_ids[key])
    elif event.pass_name:
        experiment_id = store.experiment_of(state.run_ids[event.job])
    else:
        experiment_id = store.experiment_named(event.body["experiment"])
    return store.begin_run(
        key,
        experiment_id=experiment_id,
        name=event.body["name"],
        parent=state.run_ids[event.job] if event.pass_name else None,
        time_ms=event.time_ms,
        tags=event.body.get("tags", {}),
    )


def _log_metrics(state: State, store: MlflowStore, events: list[Event]) -> None:
    points: dict[str, list[tuple[str, float, int, int]]] = {}
    for event in events:
        run_points = points.setdefault(state.run_ids[event.run_key], [])
        for name, value in event.body["values"].items():
            run_points.append((name, float(value), event.time_ms, event.body["step"]))
    for run_id, run_points in points.items():
        store.log_metrics(run_id, run_points)


def _groups(events: Iterable[tuple[Position, Event]]) -> Iterator[list[tuple[Position, Event]]]:
    """Neighbouring events of metrics together, to save calls; any other event alone."""
    group: list[tuple[Position, Event]] = []
    for position, event in events:
        if group and (event.kind != "metrics" or len(group) == METRIC_EVENTS_A_GROUP):
            yield group
            group = []
        group.append((position, event))
        if event.kind != "metrics":
            yield group
            group = []
    if group:
        yield group


def _is_permanent(error: Exception) -> bool:
    """Whether a store that could be asked would give the same answer tomorrow."""
    if isinstance(error, ImportError) or type(error).__name__ in ("ArgumentError", "NoSuchModuleError"):
        return True  # SQLAlchemy's, which no other class of theirs derives from
    # MLflow has no code of its own for tables of another schema.
    return isinstance(error, MlflowException) and "database schema" in str(error)


def _is_outage(error: Exception) -> bool:
    """Whether the store as a whole is away or closed to us, rather than refusing this one event."""
    if isinstance(error, requests.RequestException):
        status = error.response.status_code if error.response is not None else 503
    elif isinstance(error, MlflowException):
        status = error.get_http_status_code()
    else:
        return False
    return status >= 500 or status in (401, 403, 408, 429)


def _reason(error: Exception) -> str:
    """The error in one line; of a failed request only its cause, which the client buries in three layers."""
    cause = re.search(r"Caused by \w+\([\"'](?:\w+\(.*?\): )?(.*?)[\"']\)", str(error))
    text = cause[1] if cause else f"{type(error).__name__}: {error}".splitlines()[0]
    return redact(text)[:300]


def _describe(failure: dict[str, Any]) -> str:
    event = failure["event"]
    name = event["body"].get("name") or ", ".join(event["body"].get("values", {}))
    return f"{event['kind']} {name}: {failure['error']}"


def _main() -> None:
    """Deliver whenever the driver writes to our standard input; when it closes, deliver the rest and end."""
    progress_file = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not reach the driver as progress
    settings = json.loads(sys.stdin.buffer.readline())
    delivery = Delivery(Folder(settings["folder"]), uri=settings["uri"])
    retry_failed, not_before, closing = settings["retry_failed"], 0.0, False
    if settings["experiment"] is not None and is_database_server(settings["uri"]):
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"refusal": delivery.refusal(settings["experiment"])}), file=progress_file)
    while not closing:
        # Everything the pipe holds at once: nudges that came during a delivery need one more delivery, not each one.
        closing = not os.read(0, 1 << 16)
        if not closing and time.monotonic() < not_before:
            continue
        progress = delivery.catch_up(retry_failed=retry_failed)
        retry_failed = False
        if progress["outage"]:
            not_before = time.monotonic() + RETRY_AFTER_S
        with contextlib.suppress(BrokenPipeError):  # the driver is gone; the state file has it all
            print(json.dumps(progress), file=progress_file)


if __name__ == "__main__":
    _main()
