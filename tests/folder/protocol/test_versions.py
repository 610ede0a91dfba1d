"""Each released version of a run folder is read exactly and gone on with; any other is refused by name.

`released/schema_1` is a run of the first version, with the corpus that it is of: two files, 40 pairs of which 24 have a
given subset, two rows in quarantine, ratings of three rules. It was made elsewhere, at another path.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from encore_ray.artifacts import Comparison, Metrics, WeightsFile, read_weights
from encore_ray.cli import main
from encore_ray.errors import DataError, ResumeRefused
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.status import run_status
from encore_ray.schema import SCHEMA_VERSION
from encore_ray.storage import Folder

RELEASED = Path(__file__).parent / "released"
TABLES = {"pairs": 40, "scores": 40, "rewards": 40}


@pytest.fixture(params=sorted(path.name for path in RELEASED.iterdir()))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a released run, beside its corpus and the configuration."""
    shutil.copytree(RELEASED / request.param, tmp_path / "job")
    return tmp_path / "job"


@pytest.fixture
def run(place: Path) -> Folder:
    return Folder(str(place / "run"))


def commits(run: Folder) -> dict[str, bytes]:
    paths = [f"{name}/commits/{file}" for name in TABLES for file in run.names(f"{name}/commits")]
    return {path: run.read_bytes(path) for path in paths}


def exit_code(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_there_is_a_run_of_each_version_that_is_read() -> None:
    assert {path.name for path in RELEASED.iterdir()} == {f"schema_{n + 1}" for n in range(SCHEMA_VERSION)}


def test_all_that_a_released_run_holds_is_read(run: Folder) -> None:
    for name, num_rows in TABLES.items():
        units = table_units(run.path(name))
        assert sum(unit.read_all().num_rows for unit in units) == sum(unit.rows for unit in units) == num_rows
    assert Metrics.read(run).overall.num_pairs == 40
    assert WeightsFile.read(run).num_pairs == 40
    assert read_weights(run).to_dict() == read_weights(run.child("rewards")).to_dict()
    assert Comparison.read(run).schemes
    assert {status.name: status.state for status in run_status(run)}["compose"] == "finished"


def test_the_same_command_goes_on_with_a_released_run_that_was_moved_and_does_nothing_again(
    place: Path, run: Folder
) -> None:
    before, weights = commits(run), run.read_bytes("weights.json")
    manifests = {name: read_manifest(run.child(name)) for name in TABLES}
    assert exit_code("run", place / "job.yaml") == 0
    assert commits(run) == before
    assert _without_intervals(run.read_bytes("weights.json")) == _without_intervals(weights)
    assert read_weights(run).to_dict() == read_weights(run.child("rewards")).to_dict()
    assert {name: read_manifest(run.child(name)) for name in TABLES} == manifests


def _without_intervals(weights: bytes) -> dict[str, Any]:
    """All of weights.json but intervals of entropies, then over pairs, and the p of ranks, then 0 of three rules."""
    content = json.loads(weights)
    content["entropy_accuracy"].pop("spearman_p")
    return content | {
        "rules": [
            {key: value for key, value in rule.items() if key not in ("entropy_low", "entropy_high")}
            for rule in content["rules"]
        ]
    }


@pytest.mark.parametrize(
    ("version", "said"), [(0, "0, and .* Go on with"), (99, "99, and .* by a newer one"), (None, "None, and")]
)
def test_a_run_of_another_version_is_refused_by_name_whatever_is_asked(
    place: Path,
    run: Folder,
    version: int | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [path for path in Path(run.uri).rglob("*") if path.suffix == ".json" or path.name == "_SUCCESS"]
    for path in files:
        content = json.loads(path.read_text())
        if content.get("schema_version") == SCHEMA_VERSION:
            path.write_text(json.dumps({**content, "schema_version": version}))
    before = commits(run)
    for name in TABLES:
        with pytest.raises(DataError, match=f"{name} is of schema_version {said}"):
            table_units(run.path(name))
    with pytest.raises(DataError, match=said):
        run_status(run)
    with pytest.raises(ResumeRefused, match=said):
        pass_tables(run)["score"].open({})
    for words, code in [
        (("run", place / "job.yaml"), 2),
        (("status", run.uri), 3),
        (("weigh", "--run", run.uri, "--overwrite"), 3),
        (("evaluate", "--run", run.uri), 3),
        (("inspect", run.path("scores")), 3),
        (("inspect", run.path("metrics.json")), 3),
        (("export", "--run", run.uri, "--format", "trl", "--output", place / "out"), 3),
    ]:
        assert exit_code(*words) == code, words
        assert "schema_version" in capsys.readouterr().err
    assert commits(run) == before


def test_one_commit_of_another_version_is_of_a_unit_that_is_not_done(place: Path, run: Folder) -> None:
    manifest = [(file.unit, file.digest) for file in read_manifest(run.child("scores"))]
    name = run.names("scores/commits")[0]
    record = json.loads(run.read_bytes(f"scores/commits/{name}"))
    run.write_json(f"scores/commits/{name}", {**record, "schema_version": 0})
    assert exit_code("run", place / "job.yaml") == 0
    assert json.loads(run.read_bytes(f"scores/commits/{name}"))["schema_version"] == SCHEMA_VERSION
    assert [(file.unit, file.digest) for file in read_manifest(run.child("scores"))] == manifest
