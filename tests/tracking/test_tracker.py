"""What a job calls: at once, into the journal, whatever the values."""

import logging
import math
from pathlib import Path

import pytest

from encore_ray.errors import ClusterError, DataError, ResumeRefused
from encore_ray.storage import Folder
from encore_ray.tracking import open_tracker
from encore_ray.tracking.journal import Event, Journal, Position
from tests.tracking.conftest import eventually, journaling_tracker


def _journal(folder: Folder) -> list[Event]:
    return [event for _, event in Journal(folder).read(Position())]


def _ends(folder: Folder) -> list[tuple[str, str]]:
    return [(event.pass_name, event.body["status"]) for event in _journal(folder) if event.kind == "end"]


def test_a_remote_run_folder_without_a_store_only_keeps_the_journal():
    folder = Folder("memory://remote/run")
    folder.delete_tree()
    with open_tracker(folder, uri=None, experiment="e", run_name="r", params={"a": 1}, tags={}) as tracker:
        assert tracker.uri is None
    assert [event.kind for event in _journal(folder)] == ["begin", "tags", "params", "end"]


def test_without_folder_and_store_nothing_is_tracked():
    with (
        open_tracker(None, uri=None, experiment="e", run_name="r", params={"a": 1}, tags={}) as tracker,
        tracker.start_pass("score") as score,
    ):
        score.log_metrics({"rate": 1.0}, step=1)
        assert tracker.uri is None


def test_an_error_ends_its_runs_failed_and_an_interrupt_killed(run_folder: Folder):
    def fail(error: BaseException) -> None:
        with journaling_tracker(run_folder) as tracker, tracker.start_pass("score"):
            raise error

    with pytest.raises(ValueError, match="boom"):
        fail(ValueError("boom at http://me:pw@host"))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(SystemExit):
        fail(SystemExit(143))
    assert _ends(run_folder) == [(name, status) for status in ("FAILED", "KILLED", "KILLED") for name in ("score", "")]
    errors = [event.body["values"]["error"] for event in _journal(run_folder) if event.kind == "tags"]
    assert errors[0] == "ValueError: boom at http://host"


@pytest.mark.parametrize("resume", [True, False])
def test_a_refusal_of_a_job_that_was_tracked_before_touches_no_record(run_folder: Folder, resume: bool):
    def go_on(error: Exception, *, works: bool) -> None:
        with (
            open_tracker(
                run_folder, uri=None, experiment="e", run_name="r", params={"a": 2}, tags={}, resume=resume
            ) as tracker,
            tracker.start_pass("score"),
        ):
            if works:
                tracker.work_begins()
            raise error

    run_folder = Folder(f"memory://refused-{resume}/run")
    run_folder.delete_tree()
    with open_tracker(run_folder, uri=None, experiment="e", run_name="r", params={"a": 1}, tags={}):
        pass
    before = _journal(run_folder)
    assert _ends(run_folder) == [("", "FINISHED")]
    for error in (ResumeRefused("other options"), DataError("no rows")):
        with pytest.raises(type(error)):
            go_on(error, works=False)
        assert _journal(run_folder) == before
    with pytest.raises(ClusterError):  # nobody asked for the wrong thing
        go_on(ClusterError("no room"), works=False)
    with pytest.raises(DataError):
        go_on(DataError("a bad row"), works=True)
    assert _ends(run_folder)[1:] == [(name, "FAILED") for name in ("score", "", "score", "")]


@pytest.mark.parametrize("resume", [True, False])
def test_a_job_that_has_ended_well_is_left_as_it_was_where_nothing_is_done(run_folder: Folder, resume: bool):
    def again(*, works: bool = False, error: Exception | None = None) -> frozenset[str]:
        with open_tracker(
            run_folder, uri=None, experiment="e", run_name="r", params={"a": 2}, tags={}, resume=resume
        ) as tracker:
            with tracker.start_pass("weigh", works=works):
                if works:
                    tracker.work_begins()
                if error:
                    raise error
            return tracker.finished

    run_folder = Folder(f"memory://left-{resume}/run")
    run_folder.delete_tree()
    assert again() == frozenset()  # the first command keeps what it has, done or found standing
    before = _journal(run_folder)
    assert [event.kind for event in before] == ["begin", "tags", "params", "begin", "end", "end"]
    assert again() == ({"weigh"} if resume else set())
    assert _journal(run_folder) == before
    with pytest.raises(RuntimeError):
        again(works=True, error=RuntimeError("broken"))
    assert again() == frozenset()  # neither the pass nor the job has ended well: it ends well now
    assert _ends(run_folder)[-1] == ("", "FINISHED")


def test_no_value_stops_the_journal(run_folder: Folder):
    with journaling_tracker(run_folder) as tracker:
        tracker.log_metrics({"nan": math.nan, "inf": -math.inf, "unknown": None, "third": 1 / 3}, step=7)
        tracker.log_metrics({"unknown": None})
        tracker.log_params({"nested": {"a": [1, math.nan]}, "path": Path("/x"), "half": "\ud83d", "none": None})
        tracker.set_tags({"url": "https://me:pw@host/a"})
    events = {event.kind: event.body for event in _journal(run_folder)}
    assert events["metrics"] == {"values": {"nan": "nan", "inf": "-inf", "third": repr(1 / 3)}, "step": 7}
    params = {"nested": '{"a": [1, NaN]}', "path": "/x", "half": "\\ud83d", "none": "None"}
    assert events["params"]["values"] == params
    assert events["tags"]["values"] == {"url": "https://host/a"}


def test_a_run_folder_that_cannot_be_written_for_a_while_loses_no_record(
    run_folder: Folder, caplog: pytest.LogCaptureFixture
):
    obstacle = Path(run_folder.uri, "tracking")
    obstacle.parent.mkdir()
    obstacle.write_text("a file where the journal's folder must be")
    with journaling_tracker(run_folder) as tracker, caplog.at_level(logging.WARNING, "encore_ray"):
        tracker.set_tags({"early": "1"})
        eventually(lambda: "Cannot write the tracking journal" in caplog.text, what="the warning")
        obstacle.unlink()
        tracker.set_tags({"late": "1"})
    tags = [event.body["values"] for event in _journal(run_folder) if event.kind == "tags"]
    assert tags == [{"early": "1"}, {"late": "1"}]
    assert caplog.text.count("Cannot write") == 1


def test_a_run_folder_that_stays_unwritable_ends_with_the_number_of_lost_records(
    run_folder: Folder, caplog: pytest.LogCaptureFixture
):
    Path(run_folder.uri).mkdir()
    Path(run_folder.uri, "tracking").write_text("in the way")
    with caplog.at_level(logging.WARNING, "encore_ray"), journaling_tracker(run_folder):
        pass
    assert "2 tracking records could not be written" in caplog.text  # begin and end


def test_passes_are_called_after_the_first_name_of_their_job():
    folder = Folder("memory://named/run")
    folder.delete_tree()
    for run_name, pass_name in (("first, encore", "weigh"), ("later", "compose")):
        with open_tracker(folder, uri=None, experiment="e", run_name=run_name, params={}, tags={}) as tracker:
            tracker.work_begins()
            with tracker.start_pass(pass_name):
                pass
    begun = [event.body["name"] for event in _journal(folder) if event.kind == "begin" and event.pass_name]
    assert begun == ["weigh: first, encore", "compose: first, encore"]


def test_resuming_keeps_the_job_and_starting_over_begins_another():
    folder = Folder("memory://resumed/run")
    folder.delete_tree()
    for resume in (True, True, False):
        with open_tracker(folder, uri=None, experiment="e", run_name="r", params={}, tags={}, resume=resume) as tracker:
            tracker.work_begins()
    jobs = [event.job for event in _journal(folder) if event.kind == "begin"]
    assert jobs[0] == jobs[1] != jobs[2]
