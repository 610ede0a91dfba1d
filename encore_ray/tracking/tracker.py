"""What a job calls to be tracked: one MLflow run a job, one nested run a pass."""

import getpass
import json
import logging
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.redaction import redact
from encore_ray.storage import Folder, to_json
from encore_ray.tracking.courier import CourierOnCall
from encore_ray.tracking.journal import FINISHED, Event, Journal, LastJob
from encore_ray.tracking.refusals import refuse_permanent
from encore_ray.tracking.uris import default_uri
from encore_ray.tracking.writer import Writer
from encore_ray.visible import visible_lines

logger = logging.getLogger("encore_ray")

FLUSH_TIMEOUT_S = 60.0
LAST_WORD_TIMEOUT_S = 2.0  # for the journal, of a process that must end
NO_ERROR = {"error": ""}  # what a resumed run says of the error of its last attempt


class _Run:
    """One MLflow run: a context manager that ends it FINISHED, FAILED (an error) or KILLED (an interrupt, an exit)."""

    def __init__(self, writer: Writer | None, *, job: str, pass_name: str = ""):
        self._writer = writer
        self._job = job
        self._pass_name = pass_name

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Settings by name; nested values become JSON. Credentials in URIs are removed before anything is stored."""
        self._record("params", {"values": {_text(name): _text(value) for name, value in params.items()}})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self._record("tags", {"values": {_text(name): _text(value) for name, value in tags.items()}})

    def log_metrics(self, metrics: Mapping[str, float | None], *, step: int = 0) -> None:
        """Figures at a step (pairs done). None, a figure that cannot be known, is left out; NaN is kept."""
        # repr keeps every bit of a float, and NaN and infinities, which JSON has no words for.
        values = {_text(name): repr(float(value)) for name, value in metrics.items() if value is not None}
        if values:
            self._record("metrics", {"values": values, "step": int(step)})

    def log_input(self, name: str, *, uri: str, digest: str, num_rows: int, context: str = "scoring") -> None:
        """A dataset that the run read.

        Args:
            name: what people call it, as "hh-rlhf/harmless-test".
            uri: where it lies.
            digest: SHA-256 of its content.
            num_rows: rows in it.
            context: what it was read for, shown beside it.
        """
        texts = {"name": _text(name), "uri": _text(uri), "digest": digest, "context": context}
        self._record("input", {**texts, "num_rows": int(num_rows)})

    def log_artifact(self, name: str, data: bytes) -> None:
        """A file by its path among the run's artifacts, as "report/evaluation.png"."""
        self._record("artifact", {"name": _text(name), "data": data})

    def log_composer(self, weights: Mapping[str, Any]) -> None:
        """The composer as an MLflow model, from the content of weights.json: it takes scores and returns rewards."""
        self._record("composer", {"name": "weights.json", "data": to_json(dict(weights))})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self.set_tags({"error": f"{type(error).__name__}: {error}"})
        failed = "FAILED" if isinstance(error, Exception) else "KILLED"
        self._record("end", {"status": FINISHED if error is None else failed})

    def _record(self, kind: str, body: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.put(Event(self._job, self._pass_name, kind, int(time.time() * 1000), body))


class PassTracker(_Run):
    """The nested run of one pass."""


class Tracker(_Run):
    """The run of a job. Leaving it waits a bounded time for MLflow, then says what is not delivered.

    Of a command that goes on with a job nothing is kept until it works, or has ended: one that is refused before it,
    or that finds nothing to do in a job that has ended well, leaves the job's record as it was.

    Attributes:
        uri: the MLflow store, without credentials; None when nothing is delivered from here.
        finished: names of the passes whose runs have ended well, of the job that the command goes on with.
    """

    def __init__(
        self,
        writer: Writer | None,
        courier: CourierOnCall | None,
        *,
        job: str,
        journal_folder: Folder | None,
        uri: str | None,
        name: str = "",
        last: LastJob | None = None,
    ):
        super().__init__(writer, job=job)
        self.uri = redact(uri) if uri else None
        self._name = name
        self._resumed = last is not None and last.job == job
        self.finished: frozenset[str] = last.finished if last and self._resumed else frozenset()
        self._courier = courier
        self._folder = journal_folder
        self._stands = last is not None and last.is_finished
        self._pass: PassTracker | None = None

    def start_pass(self, name: str, *, works: bool = True) -> PassTracker:
        """The nested run of a pass: a new one, or after a resume the one that the pass already has.

        Args:
            works: whether the pass will be done, or its result stands and is only recorded.

        Raises:
            ConfigError: the store says that it will never take the job's records.
        """
        if works and self._courier is not None:
            self._courier.set_out()
        tracker = self._pass = PassTracker(self._writer, job=self._job, pass_name=name)
        tracker._record("begin", {"name": _text(f"{name}: {self._name}" if self._name else name)})
        if self._resumed:
            tracker.set_tags(NO_ERROR)
        return tracker

    def work_begins(self) -> None:
        """The command was not refused, and has something to do: what it has said so far is kept."""
        self._stands = False
        if self._writer is not None:
            self._writer.release()

    def break_off(self, error: EncoreError) -> None:
        """Note, before the process ends at once, that the job and its last pass failed; the courier delivers it."""
        self.work_begins()
        for run in (self._pass, self):
            if run is not None:
                _Run.__exit__(run, type(error), error, None)
        if self._writer is not None:
            self._writer.close(timeout_s=LAST_WORD_TIMEOUT_S)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        super().__exit__(kind, error, _)
        if self._writer is None:
            return
        assert self._folder is not None
        nothing_done = error is None and self._stands
        forgotten = (nothing_done or isinstance(error, ConfigError | DataError)) and self._writer.forget()
        self._writer.release()
        deadline = time.monotonic() + FLUSH_TIMEOUT_S
        lost = self._writer.close(timeout_s=FLUSH_TIMEOUT_S)
        if lost:
            logger.warning("%d tracking records could not be written to %s and are lost.", lost, self._folder.uri)
        if self._courier is not None:
            timeout_s = max(1.0, deadline - time.monotonic())
            self._courier.close(timeout_s=timeout_s, bring=not (forgotten and error))


def untracked() -> Tracker:
    """Of a command that nobody tracks."""
    return Tracker(None, None, job="", journal_folder=None, uri=None)


def find_store(run_folder: Folder | None, *, uri: str | None, experiment: str) -> str | None:
    """The store that a job's records go to; None where they stay in the journal. Arguments as of `open_tracker`.

    Raises:
        ConfigError: the store or the experiment is none that will take the job's records, as far as can be known now.
    """
    uri = uri or (default_uri(run_folder) if run_folder is not None else None)
    if uri is not None:
        refuse_permanent(uri, experiment)
    return uri


def open_tracker(
    run_folder: Folder | None,
    *,
    uri: str | None,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    resume: bool = True,
) -> Tracker:
    """Begin to track a job; a store that is away is not waited for, one that will never take the job is refused.

    Args:
        run_folder: holds the journal. None: tracked only if `uri` is given, with the journal in a temporary folder.
        uri: the MLflow store. None: sqlite beside a local run folder; a remote one only keeps the journal,
            for `encore-ray track`.
        experiment: name of the MLflow experiment, made if it is not there; or the id of one, as id:12.
        run_name: name of the run; a resumed job keeps its first.
        params: settings of the job; one that differs after a resume is kept as the tag `resumed.<name>`.
        tags: as MLflow tags.
        resume: whether a run folder that was tracked before continues its MLflow run, or begins another.

    Raises:
        ConfigError: the store or the experiment is none that will take the job's records, as far as can be known now.
    """
    if run_folder is None and uri is None:
        return untracked()
    uri = find_store(run_folder, uri=uri, experiment=experiment)
    folder = run_folder or Folder(tempfile.mkdtemp(prefix="encore-ray-tracking-"))
    journal = Journal(folder)
    last = journal.last_job()
    resumed = resume and last is not None
    job = last.job if last and resumed else uuid.uuid4().hex
    remove = run_folder is None
    courier = CourierOnCall(folder, uri=uri, experiment=experiment, remove_when_delivered=remove) if uri else None
    if courier is not None and not (last and last.is_finished):
        courier.set_out()
    writer = Writer(journal, on_written=courier.nudge if courier else lambda: None, holds_back=last is not None)
    name = last.name if last and resumed and last.name else run_name
    tracker = Tracker(writer, courier, job=job, journal_folder=journal.folder, uri=uri, name=name, last=last)
    context = {"mlflow.user": _user(), "mlflow.source.name": os.path.basename(sys.argv[0]) or "python"}
    tracker._record("begin", {"name": _text(run_name), "experiment": _text(experiment), "tags": context})
    tracker.set_tags({**tags, **NO_ERROR} if resumed else tags)
    tracker.log_params(params)
    writer.start(system_metrics_of=job)
    return tracker


def _text(value: Any) -> str:
    """A value as text that any store takes: JSON if nested, without credentials, no control characters."""
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return visible_lines(redact(str(value)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return str(os.getuid())
