"""The delivery process against a real MLflow server that comes and goes, and drivers that are killed."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from encore_ray.errors import ConfigError
from encore_ray.storage import Folder
from encore_ray.tracking import Tracker, open_tracker, replay
from encore_ray.tracking.journal import Journal, Position
from tests.tracking.conftest import Server, eventually, journaling_tracker


def _open(folder: Folder | None, uri: str | None, *, experiment: str) -> Tracker:
    return open_tracker(folder, uri=uri, experiment=experiment, run_name="run", params={"a": 1}, tags={"git": "abc"})


def _runs(client: mlflow.MlflowClient, experiment: str) -> list[mlflow.entities.Run]:
    """The runs of an experiment, the job's before its passes'."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return sorted(runs, key=lambda run: "mlflow.parentRunId" in run.data.tags)


def test_a_job_is_tracked_in_sqlite_beside_its_run_folder_by_default(run_folder: Folder, tmp_path: Path):
    with _open(run_folder, None, experiment="default") as tracker, tracker.start_pass("score") as score:
        score.log_metrics({"rate": 1.5}, step=10)
        tracker.log_artifact("rules.yaml", b"- rule")
    assert tracker.uri == f"sqlite:///{tmp_path}/mlflow.db"
    job, score_run = _runs(mlflow.MlflowClient(tracker.uri), "default")
    assert (job.info.status, score_run.data.metrics) == ("FINISHED", {"rate": 1.5})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlartifacts", "mlflow.db", "run"]


def test_opening_a_tracker_and_using_it_does_not_wait_for_the_server(run_folder: Folder):
    begin = time.monotonic()
    tracker = _open(run_folder, "http://127.0.0.1:9", experiment="e")
    tracker.start_pass("score").log_metrics({"rate": 1.0}, step=1)
    assert time.monotonic() - begin < 1.0  # importing mlflow alone takes longer
    tracker.__exit__(None, None, None)


def test_a_job_without_run_folder_is_tracked_in_a_named_store(server: Server, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with _open(None, server.uri, experiment="no folder") as tracker:
        tracker.log_metrics({"accuracy": 0.75})
    (job,) = _runs(server.client, "no folder")
    assert (job.info.status, job.data.metrics["accuracy"]) == ("FINISHED", 0.75)
    assert list(tmp_path.glob("encore-ray-tracking-*")) == []


def test_a_server_takes_runs_inputs_and_artifacts(server: Server, run_folder: Folder):
    with _open(run_folder, server.uri, experiment="served") as tracker, tracker.start_pass("score") as score:
        score.log_input("hh", uri="/data/hh.jsonl", digest="ab" * 32, num_rows=3)
        tracker.log_artifact("report/a.txt", b"text")
    job, score_run = _runs(server.client, "served")
    assert score_run.data.tags["mlflow.parentRunId"] == job.info.run_id
    assert score_run.inputs.dataset_inputs[0].dataset.digest == "ab" * 6
    assert [entry.path for entry in server.client.list_artifacts(job.info.run_id, "report")] == ["report/a.txt"]


def test_a_server_that_is_down_costs_nothing_and_gets_everything_later(
    server: Server, run_folder: Folder, caplog: pytest.LogCaptureFixture
):
    with (
        caplog.at_level(logging.WARNING, "encore_ray"),
        _open(run_folder, "http://me:secret@127.0.0.1:9", experiment="later") as tracker,
    ):
        tracker.log_metrics({"rate": 2.0}, step=5)
    first, last = (record.getMessage() for record in caplog.records)
    assert "does not take the job's records" in first
    assert "Connection refused" in first
    assert (
        f"5 tracking records are not delivered to MLflow at http://127.0.0.1:9. They are kept in {run_folder.uri}"
        in last
    )
    assert f"encore-ray track {run_folder.uri}" in last
    assert "secret" not in caplog.text
    report = replay(run_folder, uri=server.uri)
    assert report.complete
    assert report.tried == 5  # begin, tags, params, metrics, end
    again = replay(run_folder, uri=server.uri)
    assert (again.tried, again.run_ids) == (0, report.run_ids)
    (job,) = _runs(server.client, "later")
    assert (job.info.status, job.data.metrics["rate"]) == ("FINISHED", 2.0)


def test_a_server_killed_in_the_middle_gets_the_rest_by_replay_without_doubles(server: Server, run_folder: Folder):
    with _open(run_folder, server.uri, experiment="killed server") as tracker, tracker.start_pass("score") as score:
        score.log_metrics({"rate": 1.0}, step=1)
        tracker.set_tags({"half": "done"})
        eventually(lambda: any("half" in run.data.tags for run in _runs(server.client, "killed server")), what="a tag")
        server.kill()
        score.log_metrics({"rate": 2.0}, step=2)
    server.start()
    report = replay(run_folder, uri=server.uri)
    assert report.complete
    assert report.tried > 0
    _, score_run = _runs(server.client, "killed server")
    history = server.client.get_metric_history(score_run.info.run_id, "rate")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 2.0)]
    assert score_run.info.status == "FINISHED"


def test_a_killed_driver_leaves_its_records_delivered_and_its_run_to_be_continued(run_folder: Folder, sqlite_uri: str):
    driver = f"""
import os, signal
from encore_ray.storage import Folder
from encore_ray.tracking import open_tracker
from encore_ray.tracking.journal import Journal, Position
folder = Folder({run_folder.uri!r})
tracker = open_tracker(folder, uri={sqlite_uri!r}, experiment="killed", run_name="run", params={{}}, tags={{}})
tracker.start_pass("score").set_tags({{"reached": "yes"}})
while not any("reached" in event.body.get("values", {{}}) for _, event in Journal(folder).read(Position())):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", driver], check=False)
    assert killed.returncode == -signal.SIGKILL
    # At once, while the killed driver's courier may still be at work.
    with _open(run_folder, sqlite_uri, experiment="killed") as tracker, tracker.start_pass("score") as score:
        score.log_metrics({"rate": 3.0}, step=9)
    job, score_run = _runs(mlflow.MlflowClient(sqlite_uri), "killed")
    assert (job.info.status, score_run.info.status) == ("FINISHED", "FINISHED")
    assert (score_run.data.tags["reached"], score_run.data.metrics["rate"]) == ("yes", 3.0)


def test_a_courier_that_dies_is_told_and_nothing_is_lost(
    run_folder: Folder, sqlite_uri: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, "encore_ray"), _open(run_folder, sqlite_uri, experiment="dead") as tracker:
        assert tracker._courier is not None and tracker._courier._courier is not None
        process = tracker._courier._courier._process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        tracker.set_tags({"after": "death"})
    assert "4 tracking records are not delivered" not in caplog.text
    assert "5 tracking records are not delivered" in caplog.text  # begin, tags, params, tags, end
    assert "the delivery process ended with code -9" in caplog.text
    assert len(list(Journal(run_folder).read(Position()))) == 5


@pytest.mark.parametrize("resume", [True, False])
def test_no_courier_sets_out_where_nothing_is_to_do_and_everything_is_delivered(
    run_folder: Folder, sqlite_uri: str, resume: bool
):
    def again() -> bool:
        with open_tracker(
            run_folder, uri=sqlite_uri, experiment="e", run_name="run", params={}, tags={}, resume=resume
        ) as tracker:
            assert tracker._courier is not None
            return tracker._courier._courier is not None

    with _open(run_folder, sqlite_uri, experiment="e"):
        pass
    before = list(Journal(run_folder).read(Position()))
    assert Journal(run_folder).is_delivered(sqlite_uri)
    assert not again()
    assert list(Journal(run_folder).read(Position())) == before
    Journal(run_folder).append([before[-1][1]])  # as of a driver that was killed before its courier was
    assert not Journal(run_folder).is_delivered(sqlite_uri)
    again()
    assert Journal(run_folder).is_delivered(sqlite_uri)


def test_replaying_without_a_journal_is_refused(run_folder: Folder):
    with pytest.raises(ConfigError, match="has no tracking journal"):
        replay(run_folder)


def test_replaying_a_remote_folder_needs_a_store():
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        replay(Folder("memory://remote/nowhere"))


def test_a_replay_that_reaches_nothing_reports_why(run_folder: Folder, caplog: pytest.LogCaptureFixture):
    with journaling_tracker(run_folder):
        pass
    with caplog.at_level(logging.WARNING, "encore_ray"):
        report = replay(run_folder, uri="http://127.0.0.1:9")
    assert not report.complete
    assert (report.tried, report.pending) == (0, 2)
    assert "2 records could not be delivered (Failed to establish a new connection: [Errno 111]" in str(report)
    assert caplog.text == ""  # the command that replays prints the report
