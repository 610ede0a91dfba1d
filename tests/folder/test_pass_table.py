"""Units and commits on a real folder: done once, resumed exactly, never mixed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.errors import ConfigError, DataError, ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit, DataFile, manifest_digest, total_counts
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.provenance import differing
from encore_ray.schema import QUARANTINE_SCHEMA
from encore_ray.storage import Folder, Written, fingerprint

FACTS = {"model": "a" * 64, "max_tokens": None}
UNITS = {"u0": "digest-0", "u1": "digest-1", "u2": "digest-2"}


def pass_table(folder: Path) -> PassTable:
    run = Folder(str(folder))
    return PassTable(run.child("scores"), run, "score")


@pytest.fixture
def table(tmp_path: Path) -> PassTable:
    return pass_table(tmp_path).open(FACTS)


def rows(value: float, count: int = 2) -> pa.Table:
    return pa.table({"score": [value] * count})


def bad_row(reason: str) -> pa.Table:
    row = {"source": "a.jsonl", "line": 3, "pair_id": None, "reason": reason, "detail": "", "raw": "{"}
    return pa.Table.from_pylist([row], schema=QUARANTINE_SCHEMA)


def do(table: PassTable, unit: str, digest: str, *, value: float = 0.0, count: int = 2) -> Commit:
    attempt = Attempt(table, unit, digest)
    attempt.write(rows(value, count))
    return attempt.commit({"rows": count})


def do_all(table: PassTable, units: dict[str, str] = UNITS, *, value: float = 0.0) -> dict[str, Commit]:
    """What a pass does: resume, finish the rest, seal."""
    commits = table.resume(units)
    for unit, digest in units.items():
        if unit not in commits:
            commits[unit] = do(table, unit, digest, value=value)
    table.seal(list(units), commits, total_counts(commits.values()))
    return commits


def values(table: PassTable) -> list[float]:
    """All values that a reader of the finished pass sees."""
    files = read_manifest(table.folder)
    return [value for file in files for value in table.folder.read_table(file.file).column("score").to_pylist()]


# Commits


@pytest.mark.parametrize("is_late", [False, True])
def test_the_first_attempts_record_stands_and_the_later_ones_files_go(table: PassTable, is_late: bool) -> None:
    """Late: its driver has ended, and the next one has sealed the pass."""
    slow, fast = Attempt(table, "u0", "d"), Attempt(table, "u0", "d")
    slow.write(rows(1.0))
    fast.write(rows(2.0))
    fast.quarantine(bad_row("empty_field"))
    slow.quarantine(bad_row("wrong_type"))
    won = fast.commit({"rows": 3, "quarantined": 1})
    if is_late:
        table.seal(["u0"], table.commits(), {})
        slow.write(rows(1.0), unit="u0-more")
    assert slow.commit({"rows": 3, "quarantined": 1}) == won
    if not is_late:
        table.seal(["u0"], table.commits(), {})
    assert values(table) == [2.0, 2.0]
    assert [f"data/{name}" for name in table.folder.names("data")] == [won.data[0].file]
    assert won.quarantine
    assert [f"score/{name}" for name in table.quarantine_folder.names("score")] == [won.quarantine.file]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_forgotten_attempt_of_an_earlier_plan_is_nobodys(table: PassTable, is_late: bool) -> None:
    """Its worker outlives the driver; the same command with other options starts over, before or after it commits."""
    zombie = Attempt(table, "u0", UNITS["u0"])
    zombie.write(rows(1.0))
    again = pass_table(Path(table.run.uri)).open({**FACTS, "max_tokens": 64}, overwrite=True)
    if is_late:
        do(again, "u0", UNITS["u0"], value=2.0)
    zombie.write(rows(1.0), unit="u0-more")
    zombie.commit({"rows": 4})
    if not is_late:
        assert again.commit("u0", UNITS["u0"]) is None
        assert again.commits() == again.resume(UNITS) == {}
    do_all(again, value=2.0)
    assert values(again) == [2.0] * 6
    assert len(again.folder.names("data")) == len(again.folder.names("commits")) == len(UNITS)


def test_a_forgotten_attempt_at_another_input_is_nobodys(table: PassTable) -> None:
    changed = {**UNITS, "u0": "digest-9"}
    zombie = Attempt(table, "u0", UNITS["u0"])
    assert table.resume(changed, overwrite=True) == {}
    zombie.write(rows(1.0))
    zombie.commit({"rows": 2})
    do(table, "u0", changed["u0"], value=2.0)
    do_all(table, changed, value=2.0)  # resumes beside the other record
    assert values(table) == [2.0] * 6
    assert len(table.folder.names("commits")) == len(UNITS)


texts = st.text(min_size=1, max_size=10)
counts = st.integers(0, 2**62)


@settings(max_examples=30)
@given(
    st.builds(
        Commit,
        unit=texts,
        plan=texts,
        input_digest=texts,
        data=st.lists(st.builds(DataFile, texts, texts, counts, texts), max_size=3).map(tuple),
        quarantine=st.none() | st.builds(Written, texts, counts, texts),
        counts=st.dictionaries(texts, counts, max_size=3),
        notes=st.dictionaries(
            texts, st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False)), max_size=2
        ),
        seconds=st.floats(0, 1e6),
        finished_at=st.floats(0, 1e10),
    )
)
def test_a_commit_is_read_back_as_it_was_written(commit: Commit) -> None:
    assert Commit.from_json(commit.to_json()) == commit


def test_a_unit_may_write_several_units_of_the_next_pass_each_once(table: PassTable) -> None:
    attempt = Attempt(table, "u0", "d")
    attempt.write(rows(1.0, 3), unit="u0-00")
    attempt.write(rows(2.0, 1), unit="u0-01")
    with pytest.raises(AssertionError, match="written twice"):
        attempt.write(rows(3.0), unit="u0-01")
    attempt.commit({"rows": 4})
    table.seal(["u0"], table.commits(), {})
    assert [(file.unit, file.rows) for file in read_manifest(table.folder)] == [("u0-00", 3), ("u0-01", 1)]


def test_an_empty_quarantine_writes_no_file(table: PassTable) -> None:
    attempt = Attempt(table, "u0", "d")
    attempt.quarantine(QUARANTINE_SCHEMA.empty_table())
    assert attempt.commit({"rows": 0}).quarantine is None
    assert table.quarantine_folder.names("score") == []


def test_commits_of_named_units_are_those_alone(table: PassTable) -> None:
    do_all(table)
    assert set(table.commits()) == set(UNITS)
    assert {unit for unit in ("u1", "u9") if table.commit(unit, "digest-1")} == {"u1"}
    assert table.commit("u1", "another digest") is None


# Resuming


def test_a_resume_runs_what_is_left(table: PassTable) -> None:
    done = do(table, "u1", UNITS["u1"], value=1.0)
    again = pass_table(Path(table.run.uri)).open(FACTS)
    assert again.resume(UNITS) == {"u1": done}
    do_all(again)
    assert values(again) == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def test_other_facts_are_refused_with_both_fingerprints_and_what_differs(table: PassTable) -> None:
    changed = {"model": "b" * 64, "max_tokens": None, "dtype": "float32"}
    do_all(table)
    with pytest.raises(ResumeRefused) as caught:
        table.open(changed)
    said = str(caught.value)
    assert table.folder.uri in said
    assert fingerprint(FACTS)[:12] in said
    assert fingerprint(changed)[:12] in said
    assert f"model was {'a' * 12}, is {'b' * 12}" in said
    assert 'dtype was not there, is "float32"' in said
    assert "max_tokens" not in said
    assert "overwrite=True" in said
    assert values(table) == [0.0] * 6


def test_a_long_fact_is_shortened_but_still_told_apart(table: PassTable) -> None:
    columns = [f"column_{number}: string" for number in range(50)]
    table.folder.delete("plan.json")
    table.open({"columns": columns})
    with pytest.raises(ResumeRefused) as caught:
        table.open({"columns": [*columns, "one more: string"]})
    was, now = str(caught.value).split("columns was ")[1].split(", is ")
    assert was != now
    assert len(str(caught.value)) < 500


def test_overwrite_starts_over_with_the_new_facts(table: PassTable) -> None:
    attempt = Attempt(table, "u0", "d")
    attempt.quarantine(bad_row("empty_field"))
    attempt.commit({"rows": 1})
    table = table.open({**FACTS, "max_tokens": 64}, overwrite=True)
    assert table.commits() == {}
    assert table.folder.names() == ["plan.json"]
    assert table.quarantine_folder.names("score") == []
    with pytest.raises(ResumeRefused, match="max_tokens was 64, is null"):
        table.open(FACTS)


def test_overwrite_keeps_what_was_made_from_the_same_facts(table: PassTable) -> None:
    done = do_all(table)
    table = table.open(FACTS, overwrite=True)
    assert table.resume(UNITS, overwrite=True) == done


def test_facts_that_follow_from_an_earlier_pass_start_it_over_unasked(table: PassTable) -> None:
    do_all(table)
    table = table.open({**FACTS, "max_tokens": 64}, derived={"max_tokens"})
    assert table.commits() == {}
    do_all(table)
    with pytest.raises(ResumeRefused, match="model was"):
        table.open({"model": "b", "max_tokens": 65}, derived={"max_tokens"})
    assert differing({"a": 1, "b": 2}, {"b": 3, "c": None}) == ["a", "b", "c"]


def test_a_removed_input_is_refused(table: PassTable) -> None:
    do_all(table)
    with pytest.raises(ResumeRefused, match=r"unit u2 was made from input digest-2, which is not part of the job"):
        table.resume({unit: UNITS[unit] for unit in ("u0", "u1")})


def test_a_changed_input_is_refused_and_overwrite_starts_over(table: PassTable) -> None:
    do_all(table)
    changed = {**UNITS, "u1": "digest-9"}
    with pytest.raises(ResumeRefused, match=r"unit u1 was made from input digest-1, which is now digest-9"):
        table.resume(changed)
    assert table.resume(changed, overwrite=True) == {}
    table.open(FACTS)  # the plan is still that of this job
    assert table.sealed() is None


def test_an_added_input_is_accepted_and_breaks_the_seal_until_it_is_done(table: PassTable) -> None:
    before = do_all(table)
    grown = {"new": "digest-new", **UNITS}
    assert table.resume(grown) == before
    assert table.sealed() is None
    with pytest.raises(DataError, match=r"scores is not finished \(no _SUCCESS\): run `encore-ray score` to its end"):
        read_manifest(table.folder)
    do_all(table, grown, value=7.0)
    assert values(table) == [7.0, 7.0, *[0.0] * 6]


def test_a_folder_that_is_not_ours_is_refused_and_left_alone(table: PassTable) -> None:
    other = PassTable(table.run.child("somebodys"), table.run, "score")
    other.folder.write_atomic("data/train.parquet", b"somebody's own")
    other.folder.write_atomic("thesis.txt", b"years of work")
    with pytest.raises(ConfigError, match=r"not empty, and was not made by this pass: it holds data, thesis\.txt"):
        other.open(FACTS, overwrite=True)
    assert other.folder.read_bytes("data/train.parquet") == b"somebody's own"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_another_pass_is_refused_and_left_alone(table: PassTable, overwrite: bool) -> None:
    """`compose --scores S --output S --overwrite` deleted the scores that it was about to read."""
    do_all(table, value=1.0)
    with pytest.raises(ConfigError, match=r"holds what the pass score made.*not even with --overwrite"):
        PassTable(table.folder, table.folder, "compose").open({"weights": "b"}, overwrite=overwrite)
    assert values(table) == [1.0] * 6


def test_starting_over_deletes_no_file_that_is_not_ours(table: PassTable) -> None:
    do_all(table)
    table.folder.write_atomic("data/notes.txt", b"mine")
    table.folder.write_atomic("thesis.txt", b"mine")
    table.start_over()
    assert table.folder.names("data") == ["notes.txt"]
    assert table.folder.read_bytes("thesis.txt") == b"mine"
    assert table.commits() == {}


@pytest.mark.parametrize("damage", ["lost data", "truncated commit", "empty commit"])
def test_a_unit_that_a_disk_has_damaged_is_done_again(table: PassTable, damage: str) -> None:
    commits = do_all(table)
    victim = list(UNITS)[1]
    if damage == "lost data":
        table.folder.delete(commits[victim].data[0].file)
    else:
        path = table.record(victim, UNITS[victim])
        record = table.folder.read_bytes(path)
        table.folder.write_atomic(path, record[:40] if damage == "truncated commit" else b"")
    digests = {unit: commits[unit].input_digest for unit in UNITS}
    standing = table.resume(digests)
    assert sorted(standing) == sorted(set(UNITS) - {victim})
    assert table.commit(victim, UNITS[victim]) is None
    assert table.sealed() is None


def test_a_damaged_plan_is_refused_and_overwrite_mends_it(table: PassTable) -> None:
    do_all(table)
    table.folder.write_atomic("plan.json", b"{}")
    with pytest.raises(ResumeRefused, match="overwrite=True"):
        table.open(FACTS)
    table.open(FACTS, overwrite=True)
    assert table.commits() == {}


def test_a_lost_or_damaged_manifest_is_written_again(table: PassTable) -> None:
    commits = do_all(table)
    whole = table.folder.read_table("manifest.parquet")
    table.folder.write_atomic("manifest.parquet", b"PAR1")
    table.seal(list(UNITS), commits, total_counts(commits.values()))
    assert table.folder.read_table("manifest.parquet").equals(whole)


class Killed(Exception):
    """Stands for the death of the process between two steps."""


@pytest.mark.parametrize("steps", range(6))
def test_a_kill_while_starting_over_never_mixes_old_and_new(
    table: PassTable, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """start_over deletes six things in turn; the process dies before each of them."""
    do_all(table, value=1.0)
    left = iter([True] * steps)

    def dying(real: Callable[..., None]) -> Callable[..., None]:
        def step(*args: Any) -> None:
            if not next(left, False):
                raise Killed
            real(*args)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "delete", dying(Folder.delete))
        patch.setattr(Folder, "delete_tree", dying(Folder.delete_tree))
        with pytest.raises(Killed):
            table.start_over()
    changed = {**FACTS, "max_tokens": 64}
    try:
        table = table.open(changed)
    except ResumeRefused:  # what is left is still known as the old job's, and goes on as such
        table = table.open(FACTS)
        do_all(table, value=1.0)
        assert values(table) == [1.0] * 6
        table = table.open(changed, overwrite=True)
    do_all(table, value=2.0)
    assert values(table) == [2.0] * 6
    assert len(table.folder.names("data")) == len(UNITS)


# Sealing


def test_the_seal_deletes_what_no_commit_names_and_counts_the_rest(table: PassTable) -> None:
    Attempt(table, "u1", "digest-1").write(rows(9.0))  # died before its commit
    lost = Attempt(table, "u2", "digest-2")
    lost.quarantine(bad_row("empty_field"))
    (Path(table.folder.uri) / "data" / ".tmp-1").write_bytes(b"half")
    commits = do_all(table)
    files = [commit.data[0].file for commit in commits.values()]
    assert sorted(f"data/{path.name}" for path in (Path(table.folder.uri) / "data").iterdir()) == sorted(files)
    assert table.quarantine_folder.names("score") == []
    sealed = table.sealed()
    assert sealed
    assert (sealed["num_units"], sealed["num_files"], sealed["num_rows"]) == (3, 3, 6)
    assert sealed["counts"] == {"rows": 6}
    assert sealed["fingerprint"] == fingerprint(FACTS)


def test_sealing_again_touches_nothing(table: PassTable) -> None:
    commits = do_all(table)
    folder = Path(table.folder.uri)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    digest = table.seal(list(UNITS), commits, total_counts(commits.values()))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    sealed = table.sealed()
    assert sealed
    assert digest == sealed["manifest_digest"]


def test_the_manifest_is_in_the_order_of_the_units(table: PassTable) -> None:
    order = ["u2", "u0", "u1"]
    for unit in UNITS:
        do(table, unit, UNITS[unit], value=float(unit[1]))
    table.seal(order, table.commits(), {})
    assert values(table) == [2.0, 2.0, 0.0, 0.0, 1.0, 1.0]
    first = table.sealed()
    table.seal(sorted(order), table.commits(), {})
    assert values(table) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert table.sealed() != first


def test_a_unit_done_again_is_what_readers_see(table: PassTable) -> None:
    """The redone file has other bytes' name but the same digest: the manifest must name the one that is kept."""
    do_all(table)
    table.folder.delete("commits/u1.json")
    do_all(table)
    assert values(table) == [0.0] * 6


def test_changed_counts_are_sealed_even_where_the_files_stay(table: PassTable) -> None:
    commits = do_all(table)
    table.seal(list(UNITS), commits, {"rows": 7})
    sealed = table.sealed()
    assert sealed
    assert sealed["counts"] == {"rows": 7}


def test_the_manifests_digest_does_not_depend_on_who_wrote_the_files() -> None:
    one, other = DataFile("u0", "data/u0-aaa.parquet", 2, "d"), DataFile("u0", "data/u0-bbb.parquet", 2, "d")
    assert manifest_digest([one]) == manifest_digest([other])
    for changed in (DataFile("u1", "f", 2, "d"), DataFile("u0", "f", 3, "d"), DataFile("u0", "f", 2, "e")):
        assert manifest_digest([one]) != manifest_digest([changed])
    assert manifest_digest([one, changed]) != manifest_digest([changed, one])


# Counts


def test_counts_add_up_key_by_key() -> None:
    def commit(**counted: int) -> Commit:
        return Commit("u", "p", "d", (), None, counted, {}, 0.0, 0.0)

    assert total_counts([]) == {}
    assert total_counts([commit(rows=2, b=1), commit(rows=3, a=4)]) == {"a": 4, "b": 1, "rows": 5}
