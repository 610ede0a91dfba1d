"""`encore-ray report`: the page of a run, several runs on one page, and the browser that opens it."""

from pathlib import Path

import pytest

from encore_ray.cli import main
from encore_ray.storage import Folder
from tests.artifacts.test_artifacts import MADE


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with every contract file."""
    places = tmp_path / "a" / "run", tmp_path / "b" / "run"
    for place in places:
        for kind, make in MADE:
            Folder(str(place)).write_json(kind.FILE, make())
    return places


def report(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, words)])
    return ended.value.code


def test_it_writes_the_page_of_a_run_says_where_and_opens_it(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert report(runs[0], "--open") == 0
    page = runs[0] / "report" / "report.html"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert f"The page of {runs[0]} is {page}." in " ".join(capfd.readouterr().out.split())
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()
    assert not (tmp_path / "a" / "mlflow.db").exists()  # nothing was done that MLflow should know


def test_several_runs_stand_on_one_page_called_by_what_tells_them_apart(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert report(*runs) == 0
    page = (tmp_path / "side-by-side.html").read_text()
    assert "<bdi>a/run</bdi>" in page and "<bdi>b/run</bdi>" in page
    assert report(*runs, "--output", tmp_path / "pages" / "both.html") == 0
    assert (tmp_path / "pages" / "both.html").read_text() == page


def test_what_it_cannot_do_is_refused(runs: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    for words, said in (
        ((), "report needs a run folder"),
        ((tmp_path,), "holds no results"),
        ((tmp_path / "none",), "none"),
        ((runs[0], "--output", tmp_path / "x.html"), "--output is of several runs"),
        ((runs[0], runs[0]), "named twice"),
    ):
        assert report(*words) == 2
        assert said in " ".join(capfd.readouterr().err.split())
