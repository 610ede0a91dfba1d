"""A job that flags made otherwise than its file says ends with the lines for the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from encore_ray.cli import main
from tests.cli.rated import save_rated


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_rated(tmp_path, num_pairs=12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The document of a command; its exit code alone where it was refused."""
    with pytest.raises(SystemExit) as exited:
        main([*words, "--json"])
    told = capsys.readouterr()
    return json.loads(told.out) if not exited.value.code else {"code": exited.value.code}


def test_the_lines_make_the_file_say_what_the_run_was_made_with(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = place / "job.yaml"
    job.write_text(job.read_text() + "weigh:\n  seed: 4\n")
    assert "edit" not in ended(capsys, "run", "job.yaml")
    sets = ("--set", "weigh.temperature=1", "weigh.num_bins=7", "prepare.unit_pairs=5")
    edit = ended(capsys, "run", "job.yaml", *sets, "--overwrite")["edit"]
    said = yaml.safe_load("\n".join(edit["lines"]))
    assert said == {"weigh": {"temperature": 1.0, "num_bins": 7}, "prepare": {"unit_pairs": 5}}  # what decides
    assert "run job.yaml` by itself makes other results, or is" in edit["why"]
    assert ended(capsys, "run", "job.yaml") == {"code": 2}
    has = yaml.safe_load(job.read_text())
    job.write_text(yaml.safe_dump({**has, **said, "weigh": has["weigh"] | said["weigh"]}))
    done = ended(capsys, "run", "job.yaml")
    assert done["said"].startswith("Nothing to do") and "edit" not in done
    assert "edit" not in ended(capsys, "run", "job.yaml", "--set", "weigh.temperature=1")  # as the file has it


@pytest.mark.parametrize(
    ("words", "alone", "lines"),
    [
        (["--set", "weigh.temperature=1"], "is refused", ["weigh:", "  temperature: 1.0"]),
        (["--set", "weigh.num_bins=7", "--run", "other"], "works in run", ["weigh:", "  num_bins: 7"]),
        (["--set", "rules=rules.yaml"], None, None),  # the same by another name
        (["--set", "cluster.engine=local", "cost_per_hour=2"], None, None),
        (["--run", "other"], None, None),
    ],
    ids=str,
)
def test_what_the_file_by_itself_would_do_is_told(
    words: list[str], alone: str | None, lines: list[str] | None, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = ended(capsys, "run", "job.yaml", *words).get("edit")
    assert (edit and edit["lines"]) == lines
    if edit is not None:
        assert edit["why"].startswith("job.yaml does not say all that this run was made with: `")
        assert f"run job.yaml` by itself {alone}. To have it said" in edit["why"]
    assert ended(capsys, "run", "job.yaml") == {"code": 2} if alone == "is refused" else True


def test_the_lines_are_shown_as_a_file_has_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "job.yaml", "--set", "weigh.temperature=1"])
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("weigh:")
    assert lines[at + 1] == "  temperature: 1.0" and lines[at + 2].startswith("Next, ")


def test_a_file_that_is_no_job_without_its_flags_is_told_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "job.yaml").write_text("rules: rules.yaml\nrun: run\n")
    edit = ended(capsys, "run", "job.yaml", "--set", "inputs=rated.jsonl")["edit"]
    assert "by itself is refused, since it is no whole job." in edit["why"]
    assert yaml.safe_load("\n".join(edit["lines"]))["inputs"][0]["path"] == str(place / "rated.jsonl")
