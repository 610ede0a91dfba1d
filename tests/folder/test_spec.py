"""The table of passes: what is made from what, and what goes when something changes, follows from its rows alone."""

from itertools import pairwise
from pathlib import Path

import pytest

from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.spec import PASSES, Pass, downstream, driver_folders, find_pass, outdated_by
from encore_ray.storage import Folder
from tests.passes.doing import run_in

# What becomes another's once a pass changes, written out once by hand.
ENERGIES = {"refine/report.json", "refine/robustness.svg", "refine/reliability.svg"}
RULE_ENERGIES = {"refine/rules/report.json"}
REFINED = {"refined/_SUCCESS", "refine/label_errors.json"}
EVALUATED = {"metrics.json", "report/report.html"}
OUTDATED = {
    "evaluate": {"report/report.html"},
    "compose": {*EVALUATED, *ENERGIES, *REFINED},
    "weigh": {"rewards/_SUCCESS", *EVALUATED, *ENERGIES, *REFINED},
    "compare": set(),
    "report": set(),
    "features": set(),
    "fit": set(),
    "train": set(),
    "relevance": {"selection/_SUCCESS"},
    "select": set(),
    "embed": {*ENERGIES, *REFINED, *RULE_ENERGIES, "refined_scores/_SUCCESS"},
    "refine fit": REFINED,
    "refine fit rules": {"refined_scores/_SUCCESS"},
    "refine": set(),
    "refine_scores": set(),
}
OUTDATED["score"] = {
    *("weights.json", "comparison.json", "selection/_SUCCESS", "refined_scores/_SUCCESS"),
    *OUTDATED["weigh"],
    *RULE_ENERGIES,
}
OUTDATED["prepare"] = {
    *("scores/_SUCCESS", "features/_SUCCESS", "relevance/_SUCCESS", "embeddings/_SUCCESS"),
    *OUTDATED["score"],
}


def test_names_and_folders_are_each_one_passs_and_reads_name_passes() -> None:
    names = [one.name for one in PASSES]
    tables = [one.table for one in PASSES if one.table]
    files = [name for one in PASSES for name in one.files]
    for values in (names, tables, files):
        assert len(set(values)) == len(values)
    assert {read for one in PASSES for read in one.reads} <= set(names)
    assert [find_pass(name).name for name in names] == names


def test_nothing_is_made_from_itself_and_what_is_made_from_that_is_made_from_this() -> None:
    closure = {one.name: [other.name for other in downstream(one.name)] for one in PASSES}
    order = [one.name for one in PASSES]
    for name, later in closure.items():
        assert name not in later
        assert all(order.index(a) < order.index(b) for a, b in pairwise(later))
        assert {one.name for one in PASSES if name in one.reads} <= set(later)
        assert {further for other in later for further in closure[other]} <= set(later)
        readers = {one.name for one in PASSES if set(one.reads) & {name, *later}}
        assert readers == set(later)  # and nothing else


@pytest.mark.parametrize("one", PASSES, ids=lambda one: one.name)
def test_a_pass_that_changes_outdates_what_is_made_from_it_and_nothing_else(one: Pass, tmp_path: Path) -> None:
    expected = OUTDATED[one.name]
    assert set(outdated_by(one.name)) - set(one.files) == expected
    if one.table is None:
        return
    run = Folder(str(tmp_path))
    ends = {file for each in PASSES for file in each.end_files}
    for file in ends:
        run.write_atomic(file, b"{}")
    pass_table(run, one).outdate()
    assert {file for file in ends if not run.exists(file)} == {*expected, *one.end_files}


def test_every_folder_of_a_pass_is_swept_of_what_a_killed_driver_left(tmp_path: Path) -> None:
    folders = {"", *(one.table for one in PASSES if one.table)}
    folders |= {name.rpartition("/")[0] for one in PASSES for name in one.files}
    assert folders <= set(driver_folders())
    for name in driver_folders():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / ".tmp-left").write_text("")
        (tmp_path / name / "kept").write_text("")
    with run_in(Folder(str(tmp_path))):
        left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".tmp-*")]
    assert left == []
    assert all((tmp_path / name / "kept").exists() for name in driver_folders())
