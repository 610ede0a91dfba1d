"""The journal: nothing lost, nothing reordered, few files."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.errors import DataError
from encore_ray.storage import Folder
from encore_ray.tracking.journal import SEGMENT_EVENTS, Event, Journal, LastJob, Position


def _events(*steps: int, job: str = "job") -> list[Event]:
    return [Event(job, "score", "metrics", step, {"values": {"rate": "1.5"}, "step": step}) for step in steps]


def _steps(journal: Journal, after: Position | None = None) -> list[int]:
    return [event.body["step"] for _, event in journal.read(after or Position())]


@given(batches=st.lists(st.integers(1, 300), min_size=1, max_size=6), reopen=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_reading_gives_all_events_in_order_from_any_position_whatever_the_batches(batches, reopen):
    folder = Folder(f"memory://journal/{id(batches)}-{sum(batches)}-{reopen}")
    folder.delete_tree()
    journal, number = Journal(folder), 0
    for index, size in enumerate(batches):
        if index == reopen:
            journal = Journal(folder)  # a resumed driver never writes to its predecessor's file
        journal.append(_events(*range(number, number + size)))
        number += size
    everything = list(journal.read(Position()))
    assert [event.body["step"] for _, event in everything] == list(range(number))
    for index in range(0, number, 97):
        assert _steps(journal, everything[index][0]) == list(range(index + 1, number))


def test_many_small_writes_leave_few_files(run_folder: Folder):
    journal = Journal(run_folder)
    for step in range(SEGMENT_EVENTS + 1):
        journal.append(_events(step))
    assert journal.folder.names() == ["events-000001.json", "events-000002.json"]


def test_a_failed_write_adds_nothing_and_the_next_one_loses_nothing(run_folder: Folder):
    journal = Journal(run_folder)
    journal.append(_events(1))
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append([Event("job", "", "metrics", 0, {"values": {"rate": float("nan")}, "step": 2})])
    journal.append(_events(3))
    assert _steps(journal) == [1, 3]


def test_two_drivers_never_write_the_same_file(run_folder: Folder):
    one, other = Journal(run_folder), Journal(run_folder)
    one.append(_events(1))
    other.append(_events(2))
    one.append(_events(3))
    assert sorted(_steps(one)) == [1, 2, 3]


def test_the_last_job_is_the_one_that_wrote_last(run_folder: Folder):
    journal = Journal(run_folder)
    assert journal.last_job() is None
    journal.append(_events(1, job="first") + _events(2, job="second"))
    assert Journal(run_folder).last_job() == LastJob("second", frozenset(), is_finished=False)


def test_the_last_job_tells_which_of_its_passes_have_ended_well_and_not_begun_since(run_folder: Folder):
    def note(name: str, kind: str, status: str = "") -> None:
        body = {"status": status} if status else {"name": name}
        journal.append([Event("job", name, kind, 0, body)])

    journal = Journal(run_folder)
    for name in ("", "weigh", "score", "compare"):
        note(name, "begin")
    for name, status in (("weigh", "FINISHED"), ("score", "FAILED"), ("compare", "FINISHED"), ("", "FINISHED")):
        note(name, "end", status)
    assert journal.last_job() == LastJob("job", frozenset({"weigh", "compare"}), is_finished=True)
    note("", "begin")
    note("compare", "begin")
    assert Journal(run_folder).last_job() == LastJob("job", frozenset({"weigh"}), is_finished=False)


def test_equal_contents_are_stored_once(run_folder: Folder):
    journal = Journal(run_folder)
    assert journal.store_file("report/a.txt", b"x") == journal.store_file("other/a.txt", b"x")
    assert journal.read_file(journal.store_file("a.txt", b"y")) == b"y"
    assert len(journal.folder.names("files")) == 2


@pytest.mark.parametrize("content", ['{"events": [{"job": 1}]}', "[]", "{}", '{"events"'])
def test_a_damaged_file_is_named(run_folder: Folder, content: str):
    journal = Journal(run_folder)
    journal.folder.write_atomic("events-000001.json", content.encode())
    with pytest.raises(DataError, match=r"events-000001\.json"):
        list(journal.read(Position()))
