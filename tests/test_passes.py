"""Every pass of PASSES is known wherever a person meets passes: status, inspect, report, pages, jobs/.

What follows from a row is tried on a run folder; what does not, a new row fails here until somebody writes it.
"""

import io
import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from encore_ray.console.inspect import inspect_path
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable, pass_table
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.spec import PASSES, PREPARE, Pass
from encore_ray.folder.status import run_status
from encore_ray.passes.report import make_report
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import CONFIG_FILE, FIT_PROGRESS_FILE, QUARANTINE_SCHEMA, REPORT_FILE
from encore_ray.storage import Folder
from tests.artifacts.test_artifacts import MADE
from tests.docs.pages import DOCS, commands, listed_pages, text_of
from tests.models import tiny
from tests.test_jobs import JOBS, WORDS, script_name

CONTENTS = {kind.FILE: make for kind, make in MADE}  # of each contract file, by its place
PICTURES = (".html", ".svg")  # for a browser
NUM_ROWS, NUM_BAD = 1729, 137
COUNTS = {
    **{"rows": NUM_ROWS, "kept": NUM_ROWS - NUM_BAD, "scored": NUM_ROWS - NUM_BAD, "quarantined": NUM_BAD},
    **{"pairs": NUM_ROWS - NUM_BAD, "singles": 0, "chosen_better": 900, "rejected_better": 500, "ties": 192},
}
FACTS = {"num_rules": 1, "by": "scores", "rules": "r0"}  # what a report reads of some tables


def of(passes: list[Pass]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("one", passes, ids=lambda one: one.name)


EVERY, WITH_TABLE = of([*PASSES]), of([one for one in PASSES if one.table])
IN_RUN = of([one for one in PASSES if one.table or one.files or one.training])
BESIDE_MODEL = of([one for one in PASSES if one.beside_model])


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path / "run"))
    folder.write_atomic(CONFIG_FILE, b"{}")
    return folder


def begin(run: Folder, one: Pass) -> PassTable:
    table = pass_table(run, one).open(FACTS)
    table.announce(num_units=1, rows=NUM_ROWS)
    return table


def finish(run: Folder, one: Pass) -> None:
    """Seal a pass's table, of one unit from which rows went to quarantine."""
    table = begin(run, one)
    attempt = Attempt(table, "u0", "d0")
    attempt.write(pa.table({"pair_id": ["a", "b"], "of_the_pass": [one.name, one.name]}))
    bad = dict(zip(QUARANTINE_SCHEMA.names, ("/data/x.jsonl", 7, None, "empty_field", "empty", "{}"), strict=True))
    attempt.quarantine(pa.Table.from_pylist([bad], schema=QUARANTINE_SCHEMA))
    commits = {"u0": attempt.commit(COUNTS)}
    table.seal(["u0"], commits, total_counts(commits.values()))


def contract_files(names: tuple[str, ...]) -> list[str]:
    """Those that are no pictures: each has a typed class, and here a content."""
    found = [name for name in names if not name.endswith(PICTURES)]
    assert set(found) <= CONTENTS.keys(), "give it a class in encore_ray.artifacts, and a row of MADE in its test"
    return found


def inspected(path: str) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    inspect_path(path, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def page(run: Folder) -> str:
    return make_report(run)[REPORT_FILE].decode()


@IN_RUN
def test_status_tells_a_pass_that_has_begun(run: Folder, one: Pass) -> None:
    assert (one.name in [status.name for status in run_status(run)]) == one.in_job
    if one.table:
        begin(run, one)
        expected = (one.name, "unfinished", NUM_ROWS)
    elif one.training:
        progress = {"epochs": 1, "num_epochs": 5, "pairs": 9, "total_pairs": NUM_ROWS, "rate": 3.0, "at": time.time()}
        run.child(one.training).write_json(FIT_PROGRESS_FILE, progress)
        expected = (one.label, "unfinished", NUM_ROWS)
    else:
        for name in one.files:
            run.write_atomic(name, b"{}")
        expected = (one.name, "finished", 0)
    assert expected in [(status.name, status.state, status.total_rows) for status in run_status(run)]


@WITH_TABLE
def test_inspect_explains_the_table_of_a_pass_its_quarantine_and_its_row_in_the_run(run: Folder, one: Pass) -> None:
    finish(run, PREPARE)
    if one != PREPARE:
        finish(run, one)
    shown = inspected(run.path(str(one.table)))
    assert "2 rows in 1 units, sealed" in shown and f'"{one.name}"' in shown
    for place in ("quarantine", f"quarantine/{one.name}"):
        assert "empty_field" in inspected(run.path(place))
    row = next(line for line in inspected(run.uri).splitlines() if line.startswith(f"{one.name} "))
    assert f"finished 1/1 {NUM_ROWS:,}/{NUM_ROWS:,} {NUM_BAD}" in " ".join(row.split())


@IN_RUN
def test_inspect_explains_the_files_of_a_pass_alone_and_in_the_run(run: Folder, one: Pass) -> None:
    finish(run, PREPARE)
    for name in contract_files(one.files):
        run.write_json(name, CONTENTS[name]())
        shown = inspected(run.path(name))
        with pytest.raises(json.JSONDecodeError):
            json.loads(shown)
        assert shown.strip() in inspected(run.uri)


@BESIDE_MODEL
def test_inspect_explains_what_a_pass_leaves_beside_its_model(tmp_path: Path, one: Pass) -> None:
    rules = RuleSet([Rule("kind", "Is kind.", "better", Scale(0.0, 1.0))])
    tiny.save_own_form(tmp_path / "model", "llama", pooling="last", rules=rules)
    model = Folder(str(tmp_path / "model"))
    for name in contract_files(one.beside_model):
        model.write_json(name, CONTENTS[name]())
        shown = inspected(model.path(name))
        with pytest.raises(json.JSONDecodeError):
            json.loads(shown)
        assert shown.strip() in inspected(model.uri)


@WITH_TABLE
def test_the_report_counts_what_a_pass_put_into_quarantine(run: Folder, one: Pass) -> None:
    before = page(run)
    finish(run, one)
    after = page(run)
    assert f"{NUM_BAD} in quarantine" not in before
    assert f"{NUM_BAD} in quarantine" in after or f"{NUM_BAD} quarantined" in after


@IN_RUN
def test_the_report_tells_of_the_files_of_a_pass_and_makes_its_pictures(run: Folder, one: Pass) -> None:
    before = page(run)
    for name in contract_files(one.files):
        run.write_json(name, CONTENTS[name]())
        assert page(run) != before, name
        before = page(run)
    assert {name for name in one.files if name.endswith(PICTURES)} <= make_report(run).keys()


@EVERY
def test_the_pages_show_the_command_of_a_pass_and_name_its_folder_and_files(one: Pass) -> None:
    asked = one.label.split()
    assert any(command[0] == asked[0] and {*asked} <= {*command} for command in commands()), one.label
    if one.table:
        assert f"`{one.table}/`" in text_of(DOCS / "run-folder.md")
    for name in (*one.files, *one.beside_model):
        assert any(name in text_of(page) for page in listed_pages()), name


@EVERY
def test_a_script_in_jobs_runs_the_command_of_a_pass(one: Pass) -> None:
    command = one.label.split()[0]
    assert command in WORDS
    assert (JOBS / script_name(command)).exists()
