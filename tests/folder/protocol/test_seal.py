"""What is read of a finished pass is what it sealed, or an error that names the thing and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.errors import DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable, pass_table, pass_tables
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.spec import COMPOSE, PREPARE, SCORE, Pass
from encore_ray.schema import QUARANTINE_SCHEMA
from encore_ray.storage import Folder

UNITS = {f"u{number}": f"d{number}" for number in range(3)}


def bad_row() -> pa.Table:
    row = {"source": "a.jsonl", "line": 3, "pair_id": None, "reason": "empty_field", "detail": "", "raw": "{"}
    return pa.Table.from_pylist([row], schema=QUARANTINE_SCHEMA)


def opened(run: Path, spec: Pass = SCORE) -> PassTable:
    return pass_table(Folder(str(run)), spec).open({"model": "m"})


def finish(run: Path, spec: Pass = SCORE) -> Path:
    """Do what is left of three units of two rows, of which one is in quarantine, and seal the table; its folder."""
    table = opened(run, spec)
    commits = table.resume(UNITS)
    for unit, digest in UNITS.items():
        if unit not in commits:
            attempt = Attempt(table, unit, digest)
            attempt.write(pa.table({"pair_id": [f"{unit}-0"]}))
            attempt.quarantine(bad_row())
            commits[unit] = attempt.commit({"rows": 2, "quarantined": 1})
    table.seal(list(UNITS), commits, total_counts(commits.values()))
    return Path(table.folder.uri)


def rewrite_manifest(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "manifest.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


SPOILT = {
    "cut": (lambda f: rewrite_manifest(f, lambda m: m.slice(0, 2)), "names 2 files of 2 rows, sealed were 3 "),
    "doubled": (lambda f: rewrite_manifest(f, lambda m: pa.concat_tables([m, m])), "names 6 files of 6 rows"),
    "turned": (lambda f: rewrite_manifest(f, lambda m: m.take([2, 1, 0])), r"is not what _SUCCESS seals.*digest"),
    "emptied": (lambda f: rewrite_manifest(f, lambda m: m.slice(0, 0)), "names 0 files of 0 rows"),
    "no manifest": (lambda f: (f / "manifest.parquet").unlink(), r"manifest\.parquet is not there"),
    "seal": (lambda f: (f / "_SUCCESS").write_text("{"), "_SUCCESS is damaged.*by the same command"),
    "list": (lambda f: (f / "_SUCCESS").write_text("[]"), "_SUCCESS is damaged"),
    "rows": (lambda f: change_json(f / "_SUCCESS", num_rows=4), "of 3 rows, sealed were 3 files of 4 rows"),
    "digest": (lambda f: change_json(f / "_SUCCESS", manifest_digest="0" * 64), "sealed 000000000000"),
    "facts": (lambda f: change_json(f / "plan.json", facts={"model": "n"}), r"plan\.json is not what _SUCCESS seals"),
    "plan": (lambda f: (f / "plan.json").write_text("{"), r"plan\.json is not what _SUCCESS seals"),
    "data": (lambda f: next((f / "data").glob("u1*")).unlink(), r"u1-\w+\.parquet is not there: _SUCCESS names it"),
    "quarantine": (
        lambda f: next((f.parent / "quarantine" / "score").glob("u1*")).unlink(),
        r"quarantine/score/u1-\w+\.parquet is not there: rows of .*scores that could not be used were in it",
    ),
}  # fmt: skip
UNMENDED = {"facts", "plan"}  # what these were made from is not known any more: `open` refuses them by name


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_not_as_it_was_sealed_is_named_and_the_same_command_mends_it(tmp_path: Path, what: str) -> None:
    folder = finish(tmp_path)
    sealed = read_manifest(Folder(str(folder)))
    spoil, said = SPOILT[what]
    spoil(folder)
    with pytest.raises(DataError, match=said):
        table_units(str(folder))
    assert not PassTable(Folder(str(folder)), Folder(str(tmp_path)), "score").is_whole()
    if what not in UNMENDED:
        finish(tmp_path)
        assert [(f.unit, f.rows, f.digest) for f in read_manifest(Folder(str(folder)))] == [
            (f.unit, f.rows, f.digest) for f in sealed
        ]


def test_a_unit_whose_quarantine_is_lost_is_not_done(tmp_path: Path) -> None:
    finish(tmp_path)
    quarantine = tmp_path / "quarantine" / "score"
    next(quarantine.glob("u1*")).unlink()
    table = opened(tmp_path)
    assert set(table.resume(UNITS)) == {"u0", "u2"}
    assert not (tmp_path / "scores" / "_SUCCESS").exists()
    finish(tmp_path)
    assert sorted(path.name[:2] for path in quarantine.iterdir()) == ["u0", "u1", "u2"]
    shutil.rmtree(tmp_path / "quarantine")
    assert table.resume(UNITS) == {}


def test_a_copy_of_a_table_alone_is_read_without_its_quarantine_and_its_plan(tmp_path: Path) -> None:
    folder = finish(tmp_path / "run")
    shutil.copytree(folder, tmp_path / "copy")
    assert len(table_units(str(tmp_path / "copy"))) == 3
    (tmp_path / "copy" / "plan.json").unlink()
    assert len(table_units(str(tmp_path / "copy"))) == 3


def test_the_files_of_our_own_table_are_never_read_as_those_of_one_made_elsewhere(tmp_path: Path) -> None:
    """Without plan and manifest, a file of an attempt that lost would be read beside that which won."""
    folder = finish(tmp_path)
    for name in ("plan.json", "manifest.parquet"):
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"manifest\.parquet is not there"):
        table_units(str(folder))


def test_a_seal_of_before_quarantine_was_named_in_it_is_read(tmp_path: Path) -> None:
    folder = finish(tmp_path)
    content = json.loads((folder / "_SUCCESS").read_text())
    assert len(content.pop("quarantine")) == 3
    (folder / "_SUCCESS").write_text(json.dumps(content))
    assert len(read_manifest(Folder(str(folder)))) == 3


# What it was made from


def another_run(run: Path) -> Path:
    """A run of one more pair, whose tables have the names of the other's."""
    UNITS["u3"] = "d3"
    try:
        for spec in (PREPARE, SCORE, COMPOSE):
            finish(run, spec)
    finally:
        del UNITS["u3"]
    return run


def test_a_table_of_another_run_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    run, other = tmp_path / "run", another_run(tmp_path / "other")
    for spec in (PREPARE, SCORE, COMPOSE):
        table_units(str(finish(run, spec)))
    for name in ("scores", "rewards"):
        shutil.move(run / name, run / "away")
        shutil.copytree(other / name, run / name)
        with pytest.raises(DataError, match=rf"run/{name} was not made from the (pairs|scores) that lie beside it"):
            table_units(str(run / name))
        assert not pass_tables(Folder(str(run)))[{"scores": "score", "rewards": "compose"}[name]].is_whole()
        shutil.rmtree(run / name)
        shutil.move(run / "away", run / name)
    table_units(str(run / "rewards"))
    shutil.copytree(other / "scores", tmp_path / "alone" / "scores")
    assert len(table_units(str(tmp_path / "alone" / "scores"))) == 4


def test_a_seal_of_before_it_told_what_it_was_made_from_is_read(tmp_path: Path) -> None:
    finish(tmp_path, PREPARE)
    folder = finish(tmp_path)
    content = json.loads((folder / "_SUCCESS").read_text())
    assert content.pop("made_from").keys() == {"pairs"}
    (folder / "_SUCCESS").write_text(json.dumps(content))
    assert len(read_manifest(Folder(str(folder)))) == 3
    finish(tmp_path)
    assert "made_from" in json.loads((folder / "_SUCCESS").read_text())


def test_what_is_made_from_a_table_is_not_finished_while_the_table_is_sealed_in_another_order(tmp_path: Path) -> None:
    finish(tmp_path, PREPARE)
    folder = finish(tmp_path)
    pairs = pass_table(Folder(str(tmp_path)), PREPARE).open({"model": "m"})
    pairs.seal(list(reversed(UNITS)), pairs.commits(), {})
    with pytest.raises(DataError, match="is not finished"):
        table_units(str(folder))
    commits = {path.name for path in (folder / "commits").iterdir()}
    assert len(table_units(str(finish(tmp_path)))) == 3
    assert {path.name for path in (folder / "commits").iterdir()} == commits
