"""A journal written without delivery, one sqlite store for all tests, and a real MLflow server that can be killed."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from encore_ray.storage import Folder
from encore_ray.tracking.journal import Journal
from encore_ray.tracking.tracker import Tracker
from encore_ray.tracking.writer import Writer
from tests.patience import PATIENCE_S

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mlflow warns of its own type hints and mappers when these are imported
    import mlflow.pyfunc
    import mlflow.store.tracking.sqlalchemy_store


def eventually(condition: Callable[[], bool], *, what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.05)


def job_of(run_folder: Folder) -> str:
    """A job id for a test's own run folder: tests share a store."""
    return hashlib.sha256(run_folder.uri.encode()).hexdigest()


def journaling_tracker(run_folder: Folder, *, experiment: str = "tests") -> Tracker:
    """A tracker that only writes the journal, as with a remote run folder and no store."""
    journal, job = Journal(run_folder), job_of(run_folder)
    writer = Writer(journal, on_written=lambda: None)
    tracker = Tracker(writer, None, job=job, journal_folder=journal.folder, uri=None)
    tracker._record("begin", {"name": "run", "experiment": experiment, "tags": {}})
    writer.start(system_metrics_of=job)
    return tracker


@pytest.fixture(autouse=True)
def _tracked(tracked: None) -> None:
    pass


@pytest.fixture
def run_folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "run"))


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests that bring their own run folders: making its tables takes a second."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


class Server:
    """A real `mlflow server` process on one port and one database, which can be killed and started again."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.uri)

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--serve-artifacts", "--artifacts-destination", str(self._folder / "artifacts")]
        log = (self._folder / "server.log").open("ab")
        # Its runners of jobs, three processes that import MLflow, have nothing to do here.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = subprocess.Popen(
            command, cwd=self._folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        eventually(self._is_healthy, what="the MLflow server")

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _is_healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow-server"))
    server.start()
    yield server
    server.kill()
