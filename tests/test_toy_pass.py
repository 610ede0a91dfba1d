"""A pass of one class and one row: all that a run tells of its passes follows from that row.

Status, what becomes outdated, sweeping, quarantine, rows of the report, `inspect`, MLflow: nothing is written twice.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pytest
from rich.console import Console

from encore_ray.cli import main
from encore_ray.config import ClusterOptions, PrepareOptions, TrackingOptions
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.engine.work.unit_work import unit_task
from encore_ray.folder import spec
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.reading.tables import TableUnit, count_numbers, table_units
from encore_ray.folder.spec import Pass
from encore_ray.passes.prepare import Prepare
from encore_ray.passes.report import make_report
from encore_ray.run import Run, hold_run
from encore_ray.schema import CHOSEN, PAIR_ID, PAIRS_DIR, QUARANTINE_SCHEMA, REASON_COUNT, Reason
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, to_json
from tests.passes import jobs

NUM_PAIRS, UNIT_PAIRS, SHORT_CHARS = 40, 10, 420
LENGTHS = Pass("lengths", table="lengths", files=("toy/longest.json",), reads=("prepare",))


@dataclass(frozen=True)
class Lengths(Step[dict[str, int]]):
    """Write how long each chosen response is, in characters; those that are too short go to quarantine."""

    spec = LENGTHS
    short: int

    def numbers(self, run: Run) -> int:
        return count_numbers(run.path(PAIRS_DIR))

    def __call__(self, run: Run) -> dict[str, int]:
        units = table_units(run.path(PAIRS_DIR))
        table = run.table(LENGTHS).open({"short": self.short}, overwrite=run.overwrite)
        commits = run.finish(table, [unit_task(unit) for unit in units], partial(_Measure, self.short))
        run.folder.write_json(
            "toy/longest.json", {"chars": max(commit.notes["longest"] for commit in commits.values())}
        )
        counts = total_counts(commits.values())
        table.seal([unit.unit for unit in units], commits, counts)
        return counts

    def record(self, made: dict[str, int]) -> Record:
        return Record(
            params={"short": self.short},
            metrics=made,
            step=made["rows"],
            artifacts={"counts.json": to_json(made)},
            job_tags={"short": self.short},
        )


class _Measure:
    """The lengths of one unit: runs in a worker."""

    def __init__(self, short: int):
        self._short = short

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        rows = unit.read([PAIR_ID, CHOSEN]).to_pylist()
        reason = Reason.EMPTY_FIELD.value
        chars = [sum(len(turn["content"]) for turn in row[CHOSEN]) for row in rows]
        bad = [n for n, length in enumerate(chars) if length < self._short]
        attempt.write(
            pa.table({PAIR_ID: [row[PAIR_ID] for row in rows], "chars": chars}).take(
                pa.array([n for n in range(len(rows)) if n not in bad], pa.int64())
            )
        )
        found = [
            dict(zip(QUARANTINE_SCHEMA.names, (unit.file, n + 1, rows[n][PAIR_ID], reason, "short", ""), strict=True))
            for n in bad
        ]
        attempt.quarantine(pa.Table.from_pylist(found, schema=QUARANTINE_SCHEMA))
        attempt.notes["longest"] = max(chars)
        return {"rows": len(rows), "quarantined": len(bad), f"{REASON_COUNT}{Reason.EMPTY_FIELD}": len(bad)}


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one row."""
    monkeypatch.setattr(spec, "PASSES", (*spec.PASSES, LENGTHS))


@dataclass(frozen=True)
class Place:
    """A corpus, its run and the store that tracks it."""

    folder: Path

    @property
    def run(self) -> Folder:
        return Folder(str(self.folder / "run"))

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def do(self, *steps: Step[Any], console: Console | None = None, tracked: bool = False) -> list[Any]:
        with hold_run(
            self.run,
            cluster=ClusterOptions(engine="local"),
            tracking=TrackingOptions(uri=self.store, enabled=tracked),
            params={},
            console=console,
        ) as run:
            return [run.do(step) for step in steps]

    def prepare(self, *more: Path) -> Prepare:
        files = [InputSpec(str(path)) for path in (self.folder / "corpus.jsonl", *more)]
        return Prepare(list_files(files), PrepareOptions(unit_pairs=UNIT_PAIRS))

    @property
    def commits(self) -> dict[str, int]:
        return jobs.commit_times(self.folder / "run", "lengths")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=NUM_PAIRS)
    return Place(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code
    return " ".join(capsys.readouterr().out.split())


def test_it_is_done_once_and_shown_in_status_inspect_and_the_report(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    console = Console(record=True, width=100, file=None, force_terminal=False)
    _, counts = place.do(place.prepare(), Lengths(SHORT_CHARS), console=console)
    bad = counts["quarantined"]
    assert counts["rows"] == NUM_PAIRS and 0 < bad < NUM_PAIRS
    table = jobs.table(place.folder / "run" / "lengths")
    assert table.num_rows == NUM_PAIRS - bad and min(table["chars"].to_pylist()) >= SHORT_CHARS
    assert "lengths" in console.export_text()
    before = place.commits
    assert len(before) == NUM_PAIRS // UNIT_PAIRS
    assert place.do(Lengths(SHORT_CHARS)) == [counts]
    assert place.commits == before  # nothing is left to do

    capsys.readouterr()
    row = f"lengths finished {NUM_PAIRS // UNIT_PAIRS}/{NUM_PAIRS // UNIT_PAIRS} {NUM_PAIRS}/{NUM_PAIRS}"
    assert row in said(capsys, "status", place.run.uri)
    shown = said(capsys, "inspect", place.run.uri)
    assert row in shown and f"{bad} rows in quarantine" in shown
    assert f"{table.num_rows} rows in 4 units, sealed" in said(capsys, "inspect", place.run.path("lengths"))
    assert f"{bad} rows in quarantine" in said(capsys, "inspect", place.run.path("quarantine"))
    report = make_report(place.run)["report/report.html"].decode()
    assert f"<b>lengths</b> {NUM_PAIRS} pairs = {NUM_PAIRS - bad} kept + {bad} in quarantine" in report


def test_it_is_outdated_by_what_it_reads_and_its_own_change_and_by_nothing_else(place: Place) -> None:
    marks = ("lengths/_SUCCESS", "toy/longest.json")
    place.do(place.prepare(), Lengths(SHORT_CHARS))
    assert {*marks} <= {*spec.outdated_by("prepare")}
    for name in ("score", "compose", "features"):
        assert not {*marks} & {*spec.outdated_by(name)}
    before = place.commits
    more = jobs.write_corpus(place.folder / "more.jsonl", num_pairs=20, seed=5)
    place.do(place.prepare(more))
    assert [place.run.exists(mark) for mark in marks] == [False, False]
    (counts,) = place.do(Lengths(SHORT_CHARS))
    assert counts["rows"] == NUM_PAIRS + 20
    assert place.commits.items() > before.items()  # units that stand are not done again
    place.run.delete("lengths/_SUCCESS")
    next((place.folder / "run" / "lengths" / "data").iterdir()).unlink()
    place.do(Lengths(SHORT_CHARS))
    assert all(place.run.exists(mark) for mark in marks)


def test_what_a_killed_driver_left_in_its_folders_is_swept(place: Place) -> None:
    place.do(place.prepare(), Lengths(SHORT_CHARS))
    left = [place.folder / "run" / name / ".tmp-left" for name in ("lengths", "toy")]
    for path in left:
        path.write_text("")
    stray = place.folder / "run" / "lengths" / "data" / "u-00000000.parquet"
    shutil.copy(next(stray.parent.iterdir()), stray)
    place.do(Lengths(SHORT_CHARS))
    assert not any(path.exists() for path in (*left, stray))


def test_it_has_an_mlflow_run_of_its_name_inside_that_of_the_job(place: Place) -> None:
    _, counts = place.do(place.prepare(), Lengths(SHORT_CHARS), tracked=True)
    client = mlflow.MlflowClient(place.store)
    (experiment,) = [each for each in client.search_experiments() if each.name == "encore-ray"]
    runs = client.search_runs([experiment.experiment_id])
    (job,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    nested = {run.info.run_name.partition(":")[0]: run for run in runs if run is not job}
    assert set(nested) == {"prepare", "lengths"}
    found = nested["lengths"]
    assert found.data.tags["mlflow.parentRunId"] == job.info.run_id
    assert (found.data.params["short"], found.data.params["engine"]) == (str(SHORT_CHARS), "local")
    assert found.data.metrics["quarantined"] == counts["quarantined"]
    assert found.data.metrics["rows_done"] == NUM_PAIRS
    assert job.data.tags["short"] == str(SHORT_CHARS)
    assert "counts.json" in [file.path for file in client.list_artifacts(found.info.run_id)]
