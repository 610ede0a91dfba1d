"""The courier: a process of its own that carries the journal to MLflow, so that no server can hold up the job.

A process, not a thread: importing mlflow takes seconds of the interpreter lock, its patience with a dead server is
set by environment variables of the whole process, and a hung request cannot be stopped in a thread. If the driver is
killed, the courier sees its pipe close, delivers what is in the journal, and ends.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import encore_ray
from encore_ray.errors import ConfigError
from encore_ray.redaction import redact
from encore_ray.storage import Folder
from encore_ray.tracking.journal import Journal, Position
from encore_ray.tracking.refusals import is_database_server, refuse_permanent
from encore_ray.tracking.uris import default_uri

logger = logging.getLogger("encore_ray")

FIRST_WORD_TIMEOUT_S = 30.0  # importing mlflow takes most of it


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did.

    Attributes:
        uri: the MLflow store, without credentials.
        tried: events of the journal handed to the store now; all but the failed ones are delivered.
        pending: events that are still to be delivered.
        failed: what the store refused, in words; tried again by the next replay.
        outage: why the store cannot be reached, or None.
        run_ids: MLflow run id of each job and pass, by its key in the journal.
    """

    uri: str
    tried: int
    pending: int
    failed: tuple[str, ...]
    outage: str | None
    run_ids: dict[str, str]

    @property
    def complete(self) -> bool:
        return not self.pending and not self.failed

    def __str__(self) -> str:
        jobs = sum("/" not in key for key in self.run_ids)
        lines = [f"MLflow at {self.uri} now has {jobs} run(s) of this folder; {self.tried} records were new to it."]
        if self.pending:
            why = f" ({self.outage})" if self.outage else ""
            lines.append(f"{self.pending} records could not be delivered{why}; run the same command again later.")
        lines += [f"It refused {failed}" for failed in self.failed]
        return "\n".join(lines)


class Courier:
    """Handle of a courier process.

    Args:
        run_folder: whose journal to deliver.
        uri: the MLflow store; with credentials, if it has any, and therefore never on a command line.
        retry_failed: whether to begin with what the store refused before.
        remove_when_delivered: whether the run folder only serves the delivery and goes with it.
        experiment: of the job that begins, to be looked at before anything is delivered; None for a replay.
    """

    def __init__(
        self,
        run_folder: Folder,
        *,
        uri: str,
        retry_failed: bool = False,
        remove_when_delivered: bool = False,
        experiment: str | None = None,
    ):
        self._folder = run_folder
        self._uri = redact(uri)
        self._remove = remove_when_delivered
        self._live = not retry_failed
        self._last: dict[str, Any] | None = None
        self._tried = 0
        self._problems: set[str] = set()
        self._refusal: str | None = None
        self._has_spoken = threading.Event()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes to it until `close`
        package = str(Path(next(iter(encore_ray.__path__))).parent)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "encore_ray.tracking.delivery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))},
            start_new_session=True,  # Ctrl-C is for the driver: it tells the courier by closing the pipe
        )
        self._listener = threading.Thread(target=self._listen, name="encore-ray-courier", daemon=True)
        self._listener.start()
        settings = {"folder": run_folder.uri, "uri": uri, "retry_failed": retry_failed, "experiment": experiment}
        self._send(json.dumps(settings) + "\n")

    def refusal(self, *, timeout_s: float) -> str | None:
        """Why the store will never take the job; None where it will, cannot be reached, or says nothing for so long."""
        self._has_spoken.wait(timeout_s)
        return self._refusal

    def nudge(self) -> None:
        """Tell the courier that the journal has grown."""
        self._send("\n")

    def stop(self) -> None:
        """End the courier at once: what is not delivered stays in the journal."""
        self._process.kill()
        self._process.wait()
        self._listener.join(timeout=5)
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._errors.close()
        if self._remove:
            self._folder.delete_tree()

    def close(self, *, timeout_s: float | None) -> ReplayReport:
        """Let the courier deliver the rest; after the timeout stop it. Says what is not delivered.

        Args:
            timeout_s: seconds to wait, or None for as long as it takes.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended before: told below, from its exit code
            self._process.stdin.close()
        outage = None
        try:
            code = self._process.wait(timeout_s)
            if code != 0:
                self._errors.seek(0)
                lines = self._errors.read().decode(errors="replace").strip().splitlines()
                outage = redact(f"the delivery process ended with code {code}: {lines[-1] if lines else 'no message'}")
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            outage = f"it did not take everything within {timeout_s:.0f} s"
        self._listener.join(timeout=5)
        self._errors.close()
        report = self._report(outage)
        if not report.complete and self._live:
            logger.warning(
                "%d tracking records are not delivered to MLflow at %s%s. They are kept in %s; deliver them with: "
                "encore-ray track %s",
                report.pending + len(report.failed),
                self._uri,
                f" ({outage})" if outage else "",
                self._folder.child("tracking").uri,
                self._folder.uri,
            )
        elif report.complete and self._remove:
            self._folder.delete_tree()
        return report

    def _report(self, outage: str | None) -> ReplayReport:
        last = self._last or {"position": [1, 0], "failed": [], "outage": None, "run_ids": {}}
        pending = sum(1 for _ in Journal(self._folder).read(Position(*last["position"])))
        return ReplayReport(
            uri=self._uri,
            tried=self._tried,
            pending=pending,
            failed=tuple(last["failed"]),
            outage=outage or last["outage"],
            run_ids=last["run_ids"],
        )

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        # A courier that is gone is told by `close`, with its message; the journal keeps everything.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, contextlib.ExitStack() as ended:
            ended.callback(self._has_spoken.set)  # a courier that dies has nothing to say
            for line in lines:
                progress = json.loads(line)
                if "refusal" in progress:
                    self._refusal = progress["refusal"]
                    self._has_spoken.set()
                    continue
                self._last = progress
                self._tried += progress["tried"]
                problems = [f"it refused {failed}" for failed in progress["failed"]]
                if progress["outage"]:
                    problems.insert(0, progress["outage"])
                self._warn(problems)

    def _warn(self, problems: list[str]) -> None:
        """Say the first problem when it happens; the rest is summed up at the end."""
        if self._live and problems and not self._problems:
            logger.warning(
                "MLflow at %s does not take the job's records: %s. The job goes on; its records are kept in %s and "
                "delivered when the store takes them again, or by: encore-ray track %s",
                self._uri,
                problems[0],
                self._folder.child("tracking").uri,
                self._folder.uri,
            )
        self._problems.update(problems)


class CourierOnCall:
    """The courier of a job, which sets out once there is something to bring.

    Args:
        folder: with the journal.
        uri: the MLflow store.
        experiment: of the job.
        remove_when_delivered: whether the folder only serves the delivery and goes with it.
    """

    def __init__(self, folder: Folder, *, uri: str, experiment: str, remove_when_delivered: bool):
        self._folder, self._uri, self._experiment = folder, uri, experiment
        self._remove = remove_when_delivered
        self._courier: Courier | None = None

    def set_out(self) -> None:
        """Start the courier, where none is on its way; ConfigError where the store says that it takes no records."""
        if self._courier is not None:
            return
        courier = Courier(self._folder, uri=self._uri, remove_when_delivered=self._remove, experiment=self._experiment)
        if is_database_server(self._uri):
            refusal = courier.refusal(timeout_s=FIRST_WORD_TIMEOUT_S)
            if refusal:
                courier.stop()
                said = f"Tracking in {redact(self._uri)}: {refusal}"
                raise ConfigError(f"{said} Or track nothing: tracking.enabled=false.")
        self._courier = courier

    def nudge(self) -> None:
        """The journal has grown."""
        if self._courier is not None:
            self._courier.nudge()

    def close(self, *, timeout_s: float, bring: bool) -> None:
        """Wait until everything is delivered, for a bounded time.

        Args:
            timeout_s: seconds to wait.
            bring: whether a courier sets out even now, where the store lacks something.
        """
        if self._courier is None and bring and not Journal(self._folder).is_delivered(self._uri):
            try:
                self.set_out()
            except ConfigError as refused:
                logger.warning("%s", refused)
        if self._courier is not None:
            self._courier.close(timeout_s=timeout_s)


def replay(run_folder: Folder, *, uri: str | None = None) -> ReplayReport:
    """Deliver to MLflow what a run folder's journal holds and the store does not have yet; twice makes no doubles.

    Args:
        run_folder: the run folder whose jobs were tracked.
        uri: the MLflow store; None for the sqlite store beside a local run folder.

    Raises:
        ConfigError: the folder has no journal, it is remote and no store is named, or the store is none.
    """
    uri = uri or default_uri(run_folder)
    if uri is not None:
        refuse_permanent(uri, None)
    else:
        raise ConfigError(
            f"{run_folder.uri} is remote, so there is no store beside it to deliver to. Name one: "
            "set MLFLOW_TRACKING_URI or the configuration's tracking URI."
        )
    if Journal(run_folder).last_job() is None:
        raise ConfigError(f"{run_folder.uri} has no tracking journal: no job was tracked in it.")
    return Courier(run_folder, uri=uri, retry_failed=True).close(timeout_s=None)
