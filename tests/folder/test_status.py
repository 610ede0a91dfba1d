"""How far a run is, from its folder alone."""

import json
from pathlib import Path

import pytest

from encore_ray.errors import ConfigError
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.protocol.commits import Commit, total_counts
from encore_ray.folder.status import PassStatus, run_status
from encore_ray.storage import Folder


def commit(table: PassTable, unit: str, *, rows: int, finished_at: float, quarantined: int = 0) -> Commit:
    """A finished unit of so many rows, at a time of our choosing."""
    record = Commit(unit, table.plan, "d", (), None, {"rows": rows, "quarantined": quarantined}, {}, 1.0, finished_at)
    assert table.folder.create_once(table.record(unit, "d"), record.to_json())
    return record


def begin(folder: Path, name: str, *, num_units: int, rows: int) -> PassTable:
    table = pass_tables(Folder(str(folder)))[name]
    table = table.open({})
    table.announce(num_units=num_units, rows=rows)
    return table


def test_a_run_tells_its_six_passes_in_order(tmp_path: Path) -> None:
    begin(tmp_path, "prepare", num_units=4, rows=100)
    statuses = run_status(Folder(str(tmp_path)))
    assert [status.name for status in statuses] == ["prepare", "score", "weigh", "compose", "evaluate", "compare"]
    assert [status.state for status in statuses] == ["unfinished", *["not started"] * 5]
    assert (statuses[0].done_units, statuses[0].total_units) == (0, 4)
    assert (statuses[0].rows_per_second, statuses[0].seconds_left, statuses[0].idle_seconds) == (None, None, None)


def test_rows_rate_and_time_left_come_from_the_commits(tmp_path: Path) -> None:
    table = begin(tmp_path, "score", num_units=5, rows=100)
    for number, unit in enumerate(("c", "a", "b")):
        commit(table, unit, rows=20, finished_at=1000.0 + 4 * number, quarantined=number)
    status = run_status(Folder(str(tmp_path)))[1]
    assert (status.done_units, status.total_units, status.done_rows, status.total_rows) == (3, 5, 60, 100)
    assert status.quarantined == 0 + 1 + 2
    # 40 rows between the first and the last commit, 8 seconds; 40 rows are left.
    assert status.rows_per_second == 5.0
    assert status.seconds_left == 8.0
    assert status.idle_seconds is not None
    assert status.idle_seconds > 1e9  # 1970 is long ago


def test_one_commit_tells_no_rate(tmp_path: Path) -> None:
    commit(begin(tmp_path, "score", num_units=2, rows=40), "a", rows=20, finished_at=1000.0)
    assert run_status(Folder(str(tmp_path)))[1].rows_per_second is None


def test_the_rate_is_that_of_the_last_units(tmp_path: Path) -> None:
    """An hour's pause in the middle of the job does not count once twenty units have followed it."""
    table = begin(tmp_path, "score", num_units=100, rows=1000)
    for number in range(40):
        commit(table, f"u{number:02d}", rows=10, finished_at=1000.0 + number + (3600 if number >= 20 else 0))
    assert run_status(Folder(str(tmp_path)))[1].rows_per_second == 10.0


def test_a_pass_is_finished_when_it_is_sealed_and_not_before(tmp_path: Path) -> None:
    table = begin(tmp_path, "prepare", num_units=1, rows=20)
    commits = {"a": commit(table, "a", rows=20, finished_at=1000.0)}
    assert run_status(Folder(str(tmp_path)))[0].state == "unfinished"
    table.seal(["a"], commits, total_counts(commits.values()))
    assert run_status(Folder(str(tmp_path)))[0].state == "finished"
    seal = table.folder.read_bytes("_SUCCESS")
    table.folder.write_atomic("_SUCCESS", seal.replace(b'"manifest_digest": "', b'"manifest_digest": "0'))
    assert run_status(Folder(str(tmp_path)))[0].state == "unfinished"  # what is there is not what was sealed
    table.folder.write_atomic("_SUCCESS", seal)
    table.resume({"a": "d", "added": "e"})
    assert run_status(Folder(str(tmp_path)))[0].state == "unfinished"


def test_weigh_and_evaluate_are_finished_when_their_file_is_there(tmp_path: Path) -> None:
    begin(tmp_path, "prepare", num_units=1, rows=1)
    (tmp_path / "weights.json").write_text(json.dumps({}))
    states = {status.name: status.state for status in run_status(Folder(str(tmp_path)))}
    assert (states["weigh"], states["evaluate"]) == ("finished", "not started")


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_a_folder_that_is_no_run_is_the_users_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a run folder: no pass has begun in it"):
        run_status(Folder(str(tmp_path / name)))


def test_a_finished_pass_has_no_time_left() -> None:
    assert PassStatus("score", "finished", 2, 2, 20, 20, rows_per_second=4.0).seconds_left is None
