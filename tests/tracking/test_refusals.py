"""What no waiting mends is refused before work; what is an outage is let through."""

import http.server
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from encore_ray.errors import ConfigError
from encore_ray.storage import Folder
from encore_ray.tracking import open_tracker, replay
from encore_ray.tracking.delivery import Delivery
from encore_ray.tracking.refusals import refuse_permanent


def _refusal(uri: str, experiment: str | None = "e") -> str:
    with pytest.raises(ConfigError) as caught:
        refuse_permanent(uri, experiment)
    return str(caught.value)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file:/data/mlruns", "sqlite:////data/mlruns.db"),
        ("file:///data/mlruns", "sqlite:////data/mlruns.db"),
        ("/data/mlruns", "sqlite:////data/mlruns.db"),
        ("/data/mlflow.db", "sqlite:////data/mlflow.db."),
        ("mlruns", "/mlruns.db"),
        ("postgres://me:pw@host/db", "Was postgresql:// meant?"),
        ("sqllite:///x.db", "Was sqlite:// meant?"),
        ("htpp://host:5000", "Was http:// meant?"),
        ("s3://bucket/mlruns", "MLflow knows no scheme s3:"),
        ("localhost:5000", "Write http://localhost:5000"),
        ("10.0.0.1:5000", "Write http://10.0.0.1:5000"),
        ("http:///path", "it names no host"),
        ("sqlite://mlflow.db", "three slashes"),
        ("sqlite:mlflow.db", "three slashes"),
        ("sqlite:///", "a database in memory ends with the job"),
        ("sqlite:///:memory:", "a database in memory ends with the job"),
        ("databricks-uc", "tracking.uri=databricks"),
        ("mssql+pyodbc://me:pw@host/db", "pip install pyodbc"),
        ("mysql://host/db", "pip install mysqlclient"),
        ("postgresql://host:port/db", "that is no address"),
        ("http://host:port", "that is no address"),
        ("postgresql+nonsense://host/db", "nonsense"),
    ],
)
def test_an_address_that_can_never_work_is_refused_with_what_to_write(uri: str, says: str):
    refusal = _refusal(uri)
    assert says in refusal
    assert "tracking.enabled=false" in refusal
    assert "pw" not in refusal.replace("://", "")


@pytest.mark.parametrize("experiment", ["", " ", "id:", "x" * 501])
def test_a_name_that_no_store_takes_is_refused(experiment: str):
    assert "tracking.experiment" in _refusal("http://127.0.0.1:9", experiment)


def test_databricks_takes_paths_of_its_workspace_and_ids_only():
    for uri in ("databricks", "databricks://profile"):
        assert "as in /Shared/encore-ray or /Users/" in _refusal(uri, "encore-ray")
        refuse_permanent(uri, "/Users/someone/rm")
        refuse_permanent(uri, "id:12")


def test_an_experiment_that_was_deleted_or_never_made_is_refused(sqlite_uri: str):
    client = mlflow.MlflowClient(sqlite_uri)
    gone, there = client.create_experiment("to be deleted"), client.create_experiment("to be kept")
    client.delete_experiment(gone)
    for name in ("to be deleted", f"id:{gone}"):
        assert "is deleted" in _refusal(sqlite_uri, name)
        assert "is deleted" in (Delivery(Folder("/nowhere"), uri=sqlite_uri).refusal(name) or "")
    assert "there is no experiment with the id 123456" in _refusal(sqlite_uri, "id:123456")
    assert "no experiment with the id" in (Delivery(Folder("/nowhere"), uri=sqlite_uri).refusal("id:123456") or "")
    for name in ("to be kept", f"id:{there}", "new"):
        refuse_permanent(sqlite_uri, name)
        assert Delivery(Folder("/nowhere"), uri=sqlite_uri).refusal(name) is None


def test_runs_go_to_the_experiment_of_an_id(sqlite_uri: str, run_folder: Folder):
    client = mlflow.MlflowClient(sqlite_uri)
    there = client.create_experiment("by its id")
    with open_tracker(run_folder, uri=sqlite_uri, experiment=f"id:{there}", run_name="named", params={}, tags={}):
        pass
    assert [run.info.run_name for run in client.search_runs([there])] == ["named"]


def test_tables_of_another_mlflow_are_refused_with_the_way_out(tmp_path: Path):
    def store(revision: str) -> str:
        path = tmp_path / f"{revision}.db"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        database.close()
        return f"sqlite:///{path}"

    of_2024 = store("0584bdc529eb")
    with sqlite3.connect(of_2024.removeprefix("sqlite:///")) as database:
        database.execute("CREATE TABLE experiments (name TEXT, lifecycle_stage TEXT)")
        database.execute("INSERT INTO experiments VALUES ('Default', 'active')")
    database.close()
    assert "mlflow db upgrade" in _refusal(of_2024)
    assert "newer MLflow" in _refusal(store("ffffffffffff"))


def test_a_file_that_is_no_database_is_refused_and_one_that_is_not_there_is_not(tmp_path: Path):
    (tmp_path / "text.db").write_text("no database " * 100)
    assert "file is not a database" in _refusal(f"sqlite:///{tmp_path}/text.db")
    assert "that is a folder" in _refusal(f"sqlite:///{tmp_path}")
    assert "its folder cannot be made" in _refusal(f"sqlite:///{tmp_path}/text.db/mlflow.db")
    refuse_permanent(f"sqlite:///{tmp_path}/new folder/mlflow.db", "e")
    assert "no experiment with the id 7" in _refusal(f"sqlite:///{tmp_path}/none.db", "id:7")


Answer = Callable[[str], tuple[int, bytes]]


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], str]]:
    """A server that answers every request as it is told."""
    servers: list[http.server.HTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, body = answer(self.path)
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _experiment(stage: str) -> bytes:
    return json.dumps({"experiment": {"experiment_id": "3", "lifecycle_stage": stage}}).encode()


MISSING = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST"}).encode()


@pytest.mark.parametrize(
    ("experiment", "code", "body", "says"),
    [
        ("e", 200, _experiment("deleted"), "the experiment e is deleted"),
        ("id:3", 200, _experiment("deleted"), "the experiment id:3 is deleted"),
        ("id:3", 404, MISSING, "no experiment with the id 3"),
        ("e", 404, b"<html>", "no MLflow answers there (404)"),
        ("e", 200, _experiment("active"), None),
        ("e", 404, MISSING, None),  # it is made
        ("e", 200, b"[]", None),
        ("e", 200, b'{"experiment": 1}', None),
        *(("e", code, b"", None) for code in (401, 403, 408, 429, 500, 502, 503)),  # an outage: the job goes on
    ],
)
def test_a_servers_answer_is_a_refusal_only_where_it_is_final(
    answering: Callable[[Answer], str], experiment: str, code: int, body: bytes, says: str | None
):
    uri = answering(lambda path: (code, body))
    if says is None:
        refuse_permanent(uri, experiment)
    else:
        assert says in _refusal(uri, experiment)


def test_a_server_that_is_away_is_no_reason_to_refuse():
    refuse_permanent("http://127.0.0.1:9", "e")
    refuse_permanent("http://no-such-host.invalid", "e")


def test_a_replay_into_a_folder_is_refused(run_folder: Folder):
    with pytest.raises(ConfigError, match="sqlite:///"):
        replay(run_folder, uri="file:/data/mlruns")
