"""What a command reads is never what it writes."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.foreign import shapes
from tests.passes.test_foreign_scores import run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, and weights and rewards of it."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        shapes.text(shapes.frame(), folder / "s.csv")
        run("weigh", "--scores", "s.csv", "--output", "made/weights.json")
        run("compose", "--scores", "s.csv", "--weights", "made/weights.json", "--output", "made/rewards")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in a folder of its own, and the table under other names."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "many").mkdir()
    shutil.copy("s.csv", "many/part.csv")
    os.link("s.csv", "hard.csv")
    os.symlink("s.csv", "soft.csv")
    shutil.copy("s.csv", "comparison.json")  # a table, whatever it is called
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


OF = ("--scores", "s.csv")


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("weigh", *OF, "--output", "s.csv"), "s.csv, which this command would write, is --scores s.csv"),
        (("weigh", *OF, "--output", "./made/../s.csv"), "s.csv, which this command would write, is --scores"),
        (("weigh", *OF, "--output", "hard.csv"), "hard.csv, which this command would write, is --scores"),
        (("weigh", *OF, "--output", "soft.csv"), "soft.csv, which this command would write, is --scores"),
        (("weigh", *OF, "--rules", "made/rules.yaml", "--output", "made/rules.yaml"), "is --rules made/rules.yaml"),
        (("weigh", *OF, "--ratings", "hard.csv", "--output", "s.csv"), "is --scores"),
        (("weigh", "--scores", "many", "--output", "many/weights.json"), "lies in --scores many"),
        (("compare", "--scores", "many", "--output", "many/c"), "lies in --scores many"),
        (("compare", "--scores", "comparison.json", "--output", "."), "is --scores comparison.json"),
        (("compare", *OF, "--beside", "made=made/rewards", "--output", "made/rewards"), "lies in --beside made"),
        (("compose", *OF, "--weights", "made/weights.json", "--output", "made"), "is --weights made/weights.json"),
        (("compose", "--scores", "many", "--weights", "made/weights.json", "--output", "many"), "lies in --scores"),
        (("evaluate", "--rewards", "made/rewards", "--output", "made/rewards/e"), "lies in --rewards made/rewards"),
    ],
)
def test_no_command_writes_over_what_it_reads(
    place: Path, words: tuple[str, ...], more: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(place)
    assert run(*words, *(more if words[0] != "evaluate" else ())) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said and "Have the results elsewhere:" in said
    assert "--overwrite" not in said or more
    assert contents(place) == before


def test_results_may_lie_beside_what_they_are_made_of(place: Path) -> None:
    assert run("weigh", *OF, "--output", "w.json") == 0
    (place / "comparison.json").unlink()
    assert run("compare", *OF, "--output", ".") == 0
    assert json.loads((place / "comparison.json").read_text())["schemes"]


COMPARE = ("compare", "--scores", "s.csv", "--output", "made/c")


@pytest.fixture
def compared(place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(*COMPARE) == 0
    capsys.readouterr()
    return place / "made" / "c"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--temperature", "1"), "options.temperature was 2.0, is 1.0"),
        (("--num-bins", "5"), "options.bins"),
        (("--rules", "others.yaml"), "rules.polite.higher_is was"),
        (("--scores", "many"), "table was"),
    ],
)
def test_another_comparison_is_replaced_only_on_demand(
    compared: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = (compared / "rules.yaml").read_text()
    assert rules.count("higher_is: better") == 3
    Path("others.yaml").write_text("higher_is: worse".join(rules.rsplit("higher_is: better", 1)))
    before = (compared / "comparison.json").read_bytes()
    assert run(*COMPARE, *words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said and "--overwrite" in said
    assert (compared / "comparison.json").read_bytes() == before
    assert run(*COMPARE, *words, "--overwrite") == 0
    assert run(*COMPARE, *words) == 0  # its own stands


def test_the_same_comparison_stands_and_is_made_anew_of_a_table_that_has_changed(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = (compared / "comparison.json").read_bytes()
    assert run(*COMPARE) == 0
    assert "compare: nothing to do, it stands" in capsys.readouterr().out
    shapes.text(shapes.frame().head(30), Path("s.csv"))
    assert run(*COMPARE) == 0
    assert (compared / "comparison.json").read_bytes() != made


def test_a_comparison_that_nothing_tells_of_is_replaced_only_on_demand_and_another_file_never(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (compared / "facts" / "compare.json").unlink()
    assert run(*COMPARE) == 2
    assert "nothing tells what it was made from" in " ".join(capsys.readouterr().err.split())
    assert run(*COMPARE, "--overwrite") == 0
    (compared / "comparison.json").write_text("[1]")
    assert run(*COMPARE, "--overwrite") == 2
    assert "is no comparison of this version: it is not replaced" in " ".join(capsys.readouterr().err.split())
    assert (compared / "comparison.json").read_text() == "[1]"
