"""Delivery to a real sqlite store: everything arrives, once, in the right run."""

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from encore_ray.storage import Folder
from encore_ray.tracking.delivery import Delivery
from encore_ray.tracking.journal import Event, Journal
from encore_ray.tracking.mlflow_store import valid_name
from tests.patience import PATIENCE_S
from tests.tracking.conftest import job_of, journaling_tracker

DIGEST = hashlib.sha256(b"corpus").hexdigest()


def _record_job(folder: Folder, *, experiment: str = "tests") -> None:
    with journaling_tracker(folder, experiment=experiment) as tracker:
        tracker.log_params({"scheme": "encore", "temperature": 2.0})
        tracker.set_tags({"model": "abc123"})
        with tracker.start_pass("score") as score:
            score.log_input("hh", uri="s3://me:pw@bucket/hh.jsonl", digest=DIGEST, num_rows=2312)
            score.log_metrics({"pairs_per_s": 10.0}, step=1024)
            score.log_metrics({"pairs_per_s": 12.5}, step=2048)
        tracker.log_artifact("report/table.txt", b"weights")


def _runs(uri: str, progress: dict[str, Any]) -> dict[str, Run]:
    """The delivered runs by pass name, "" for the job."""
    client = mlflow.MlflowClient(uri)
    return {key.partition("/")[2]: client.get_run(run_id) for key, run_id in progress["run_ids"].items()}


def _history(uri: str, run: Run, name: str) -> list[tuple[int, float]]:
    points = mlflow.MlflowClient(uri).get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def test_a_job_becomes_a_run_with_a_nested_run_a_pass(run_folder: Folder, sqlite_uri: str):
    _record_job(run_folder)
    progress = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert (progress["failed"], progress["outage"]) == ([], None)
    runs = _runs(sqlite_uri, progress)
    job, score = runs[""], runs["score"]
    assert score.data.tags["mlflow.parentRunId"] == job.info.run_id
    assert (job.info.status, score.info.status) == ("FINISHED", "FINISHED")
    assert job.data.params == {"scheme": "encore", "temperature": "2.0"}
    assert job.data.tags["model"] == "abc123"
    assert _history(sqlite_uri, score, "pairs_per_s") == [(1024, 10.0), (2048, 12.5)]
    table = Path(job.info.artifact_uri, "report", "table.txt")
    assert table.read_bytes() == b"weights"
    assert table.is_relative_to(Path(sqlite_uri.removeprefix("sqlite:///")).parent / "mlartifacts")


def test_a_dataset_input_has_its_whole_digest_and_no_credentials(run_folder: Folder, sqlite_uri: str):
    _record_job(run_folder)
    score = _runs(sqlite_uri, Delivery(run_folder, uri=sqlite_uri).catch_up())["score"]
    (given,) = score.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("hh", DIGEST[:12])
    assert json.loads(given.dataset.source) == {"uri": "s3://bucket/hh.jsonl"}
    assert json.loads(given.dataset.profile) == {"num_rows": 2312}
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "scoring", "digest": DIGEST}


def test_delivering_everything_twice_makes_no_doubles(run_folder: Folder, sqlite_uri: str):
    _record_job(run_folder, experiment="twice")
    first = Delivery(run_folder, uri=sqlite_uri).catch_up()
    for name in Journal(run_folder).folder.names():
        if name.startswith("delivered-"):  # as if the delivery had been killed before it noted anything
            Journal(run_folder).folder.delete(name)
    second = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert second == first
    client = mlflow.MlflowClient(sqlite_uri)
    experiment = client.get_experiment_by_name("twice")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2
    score = _runs(sqlite_uri, second)["score"]
    assert len(score.inputs.dataset_inputs) == 1
    assert _history(sqlite_uri, score, "pairs_per_s") == [(1024, 10.0), (2048, 12.5)]


def test_a_second_delivery_takes_only_what_is_new(run_folder: Folder, sqlite_uri: str):
    _record_job(run_folder)
    first = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert Delivery(run_folder, uri=sqlite_uri).catch_up()["tried"] == 0
    _record_job(run_folder)
    assert Delivery(run_folder, uri=sqlite_uri).catch_up()["tried"] == first["tried"]


def test_a_resumed_job_continues_its_runs_and_changed_params_become_tags(run_folder: Folder, sqlite_uri: str):
    def interrupted() -> None:
        with journaling_tracker(run_folder) as tracker, tracker.start_pass("score"):
            tracker.log_params({"actors": 2, "scheme": "encore"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    first = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert [run.info.status for run in _runs(sqlite_uri, first).values()] == ["KILLED", "KILLED"]
    with journaling_tracker(run_folder) as tracker:
        tracker.log_params({"actors": 4, "scheme": "encore", "new": 1})
        with tracker.start_pass("score"):
            pass
    second = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert second["run_ids"] == first["run_ids"]
    job = _runs(sqlite_uri, second)[""]
    assert job.info.status == "FINISHED"
    assert job.data.params == {"actors": "2", "scheme": "encore", "new": "1"}
    assert {name: tag for name, tag in job.data.tags.items() if name.startswith("resumed.")} == {"resumed.actors": "4"}


def test_values_that_mlflow_refuses_are_kept_in_a_form_it_takes(run_folder: Folder, sqlite_uri: str):
    with journaling_tracker(run_folder) as tracker:
        tracker.log_params({"long": "x" * 6001, "odd name?": "kept"})
        tracker.log_metrics({"a*b": 1.0, "a?b": 2.0, "nan": math.nan, "inf": math.inf}, step=3)
        tracker.log_params({f"p{number}": number for number in range(250)})
        tracker.set_tags({"long": "y" * 9000})
    progress = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert progress["failed"] == []
    job = _runs(sqlite_uri, progress)[""]
    assert len(job.data.params) == 252
    assert job.data.params["long"].endswith("... cut, whole in the artifact params/long.txt")
    whole = mlflow.artifacts.load_text(f"{job.info.artifact_uri}/params/long.txt")
    assert whole == "x" * 6001
    assert job.data.tags["long"].endswith("... cut")
    assert job.data.params[valid_name("odd name?")] == "kept"
    assert (job.data.metrics[valid_name("a*b")], job.data.metrics[valid_name("a?b")]) == (1.0, 2.0)
    assert math.isnan(job.data.metrics["nan"])
    assert job.data.metrics["inf"] > 1e308


@pytest.mark.parametrize("name", ["no_threats", "score/rate", "accuracy.no-1", "a b"])
def test_a_name_that_mlflow_takes_is_unchanged(name: str):
    assert valid_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "/a", "../a", "a//b", "a/", "a:b", "é", "x" * 251])
def test_a_name_that_mlflow_refuses_becomes_one_that_it_takes(name: str):
    changed = valid_name(name)
    assert changed != name
    assert valid_name(changed) == changed


def test_what_the_store_refuses_is_noted_and_the_rest_arrives(run_folder: Folder, sqlite_uri: str):
    with journaling_tracker(run_folder) as tracker:
        tracker.log_artifact("report", b"a file")
        tracker.log_artifact("report/table.txt", b"refused: its folder is a file")
        tracker.log_metrics({"rate": 2.0}, step=1)
    progress = Delivery(run_folder, uri=sqlite_uri).catch_up()
    (failed,) = progress["failed"]
    assert failed.startswith("artifact report/table.txt: ")
    job = _runs(sqlite_uri, progress)[""]
    assert (job.info.status, job.data.metrics["rate"]) == ("FINISHED", 2.0)
    assert Delivery(run_folder, uri=sqlite_uri).catch_up(retry_failed=True)["failed"] == [failed]


def test_an_event_that_is_mended_is_delivered_by_the_next_replay(run_folder: Folder, sqlite_uri: str):
    with journaling_tracker(run_folder) as tracker:
        tracker.log_artifact("table.txt", b"content")
    journal = Journal(run_folder)
    (stored,) = journal.folder.names("files")
    journal.folder.delete(f"files/{stored}")
    assert len(Delivery(run_folder, uri=sqlite_uri).catch_up()["failed"]) == 1
    journal.store_file("table.txt", b"content")
    assert len(Delivery(run_folder, uri=sqlite_uri).catch_up()["failed"]) == 1
    assert Delivery(run_folder, uri=sqlite_uri).catch_up(retry_failed=True)["failed"] == []


def test_an_unreachable_store_takes_nothing_and_forgets_nothing(run_folder: Folder, tmp_path: Path):
    _record_job(run_folder)
    (tmp_path / "file").write_text("no folder")
    progress = Delivery(run_folder, uri=f"sqlite:///{tmp_path}/file/mlflow.db").catch_up()
    assert progress["position"] == [1, 0]
    assert progress["outage"]


def test_runs_that_were_deleted_in_mlflow_are_delivered_again(run_folder: Folder, sqlite_uri: str):
    _record_job(run_folder)
    first = Delivery(run_folder, uri=sqlite_uri).catch_up()
    mlflow.MlflowClient(sqlite_uri).delete_run(first["run_ids"][job_of(run_folder)])
    second = Delivery(run_folder, uri=sqlite_uri).catch_up()
    assert second["tried"] == first["tried"]
    assert second["run_ids"][job_of(run_folder)] != first["run_ids"][job_of(run_folder)]


def test_the_delivery_state_holds_no_credentials(run_folder: Folder):
    _record_job(run_folder)
    Delivery(run_folder, uri="nonsense://me:secret@host").catch_up()
    journal = Journal(run_folder).folder
    for name in journal.names():
        if name.endswith(".json"):
            assert b"secret" not in journal.read_bytes(name)


def test_thousands_of_metrics_arrive_whole(run_folder: Folder, sqlite_uri: str):
    journal = Journal(run_folder)
    begin = Event("job", "", "begin", 0, {"name": "run", "experiment": "many"})
    values = {f"m{number}": "0.5" for number in range(30)}
    metrics = [Event("job", "", "metrics", step, {"values": values, "step": step}) for step in range(300)]
    journal.append([begin, *metrics])
    progress = Delivery(run_folder, uri=sqlite_uri).catch_up()
    job = _runs(sqlite_uri, progress)[""]
    assert progress["failed"] == []
    assert len(job.data.metrics) == 30
    assert _history(sqlite_uri, job, "m29") == [(step, 0.5) for step in range(300)]


def test_jobs_that_start_together_find_the_tables_of_a_new_store_made_once(tmp_path: Path) -> None:
    opened = "import sys; from encore_ray.tracking.mlflow_store import MlflowStore as S; S(sys.argv[1])"
    command = [sys.executable, "-c", opened, f"sqlite:///{tmp_path}/mlflow.db"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(process.communicate(timeout=PATIENCE_S)[1], process.returncode) for process in processes]
    assert [code for _, code in ends] == [0, 0, 0], ends
