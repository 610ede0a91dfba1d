"""Rules that nobody gives: where they come from is said on each use, and what a person has corrected is kept."""

import shlex
from pathlib import Path

import pandas as pd
import pytest

import encore_ray
from encore_ray.rules import RuleSet
from tests.foreign import shapes
from tests.passes.test_foreign_scores import run

WEIGH = ("weigh", "--scores", "x.csv", "--output", "w.json", "--overwrite")

pytestmark = pytest.mark.filterwarnings("ignore::encore_ray.errors.AssumedWarning")  # of rows without a score


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, whose results go there too, so that what is drafted stands beside it."""
    monkeypatch.chdir(tmp_path)
    shapes.text(shapes.frame(), tmp_path / "x.csv")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command says that ends with this code."""
    capsys.readouterr()
    assert run(*words) == code
    shown = capsys.readouterr()
    return " ".join((shown.out + shown.err).split())


def edit(path: Path, old: str, new: str) -> str:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path.read_text()


def test_a_draft_is_named_on_each_use_and_written_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = f"rules: {place}/rules.yaml (drafted from x.csv)"
    assert named in told(capsys, *WEIGH)
    first = (place / "rules.yaml").stat()
    assert named in told(capsys, *WEIGH)
    assert named in told(capsys, "compare", "--scores", "x.csv", "--output", "compared")
    assert named in told(capsys, *WEIGH, "--rules", "rules.yaml")
    assert (place / "rules.yaml").stat().st_mtime_ns == first.st_mtime_ns
    assert [path.name for path in place.rglob("rules.yaml")] == ["rules.yaml"]  # none beside the comparison


def test_a_draft_that_nobody_changed_gives_way_to_what_the_table_holds_now(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, *WEIGH)
    for changed, why in (
        (shapes.frame().rename(columns=lambda name: name.replace("polite", "kind")), "x.csv has changed since"),
        (shapes.frame() * 10, "x.csv has changed since"),
    ):
        shapes.text(changed, place / "x.csv")
        assert f"rules: {place}/rules.yaml (drafted anew from x.csv: {why})" in told(capsys, *WEIGH)
        assert RuleSet.load(place / "rules.yaml").drafted
    assert RuleSet.load(place / "rules.yaml")[0].scale.hi == 10
    shapes.text(shapes.frame(), place / "y.csv")
    said = told(capsys, "weigh", "--scores", "y.csv", "--output", "y.json")
    assert f"rules: {place}/rules.yaml (drafted anew from y.csv: it was drafted from x.csv)" in said
    assert "from 0 to 1" in said


def test_what_is_corrected_counts_and_is_never_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, *WEIGH)
    kept = edit(place / "rules.yaml", "better", "worse")
    assert f"rules: {place}/rules.yaml (drafted from x.csv, edited since)" in told(capsys, *WEIGH)
    assert [rule.higher_is for rule in encore_ray.Weights.load("w.json").rules] == ["worse", "better", "better"]
    shapes.text(shapes.frame().rename(columns=lambda name: name.replace("polite", "kind")), place / "x.csv")
    said = told(capsys, *WEIGH, code=3)
    assert "has no scores of polite. It has scores of harmless, honest, kind" in said
    assert f"The rules are those of {place}/rules.yaml (drafted from x.csv, edited since): --rules names others" in said
    assert (place / "rules.yaml").read_text() == kept


@pytest.mark.parametrize("content", ["edited", "mine"])
def test_a_file_beside_the_results_is_not_replaced_either(
    content: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("weigh", "--scores", "x.csv", "--output", "out/w.json")
    told(capsys, *words)
    rules = place / "out" / "rules.yaml"
    kept = edit(rules, "better", "worse") if content == "edited" else RuleSet.load(rules).to_yaml()
    rules.write_text(kept)
    said = told(capsys, *words, "--overwrite", code=2)
    assert ("drafted from x.csv, edited since" if content == "edited" else "no draft") in said
    line = said[said.rindex("encore-ray weigh") :]
    assert shlex.split(line)[1:] == [*words, "--overwrite", "--rules", "out/rules.yaml"]
    assert run(*shlex.split(line)[1:]) == 0
    assert rules.read_text() == kept


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"polite_chosen": 100.0}, ()),  # rules of different range
        ({"polite_chosen": "high"}, ()),
        ({}, ("--min-active", "1")),
        ({}, ("--scheme", "single", "--rule", "nobody")),
    ],
)
def test_no_draft_is_left_by_a_command_that_fails(
    changed: dict[str, object], words: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes.text(shapes.frame().dropna().assign(**changed), place / "x.csv")
    assert run(*WEIGH, *words) in (2, 3)
    assert "Traceback" not in capsys.readouterr().err
    assert not list(place.rglob("rules.yaml"))


def test_rules_of_ones_own_are_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, *WEIGH)
    rules = RuleSet.load(place / "rules.yaml")
    (place / "rules.yaml").write_text(RuleSet(list(rules)[:2]).to_yaml())
    said = told(capsys, *WEIGH)
    assert f"rules: {place}/rules.yaml " in said and "drafted" not in said
    assert "carried along, not as scores: 2 columns, polite_chosen, polite_rejected" in said
    made = encore_ray.weigh("x.csv")
    assert f"Rules: {place}/rules.yaml." in made.assumed and len(made.rules) == 2
    edit(place / "rules.yaml", "hi: 1.0", "hi: 0.25")
    said = told(capsys, *WEIGH, code=3)
    assert f"The rules are those of {place}/rules.yaml: --rules names others." in said
    (place / "rules.yaml").write_text("- name: harmless\n")
    assert "so it is taken for its rules: mend it, or name others with --rules" in told(capsys, *WEIGH, code=3)


def test_rules_that_leave_scores_out_say_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes.own().to_parquet(place / "own.parquet")
    told(capsys, *WEIGH)
    (place / "few").mkdir()
    (place / "few" / "rules.yaml").write_text(RuleSet(list(RuleSet.load(place / "rules.yaml"))[:2]).to_yaml())
    words = ("weigh", "--scores", "own.parquet", "--rules", "few/rules.yaml", "--output", "few/w.json")
    assert "the rules do not name polite: such scores are not used" in told(capsys, *words)


def test_corrected_names_are_those_of_lists(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with --rules: rules that stand beside a table are known before it is read."""
    (place / "x.csv").unlink()
    shapes.lists().to_parquet(place / "x.parquet")
    words = ("weigh", "--scores", "x.parquet", "--output", "w.json", "--overwrite")
    told(capsys, *words)
    text = (place / "rules.yaml").read_text()
    for number, name in enumerate(shapes.RULES, start=1):
        text = text.replace(f"name: rule_{number}", f"name: {name}")
    (place / "rules.yaml").write_text(text)
    told(capsys, *words)
    assert [rule.name for rule in encore_ray.Weights.load("w.json").rules] == [*shapes.RULES]
    assert [rule.name for rule in encore_ray.weigh("x.parquet").rules] == [*shapes.RULES]


def test_python_reads_off_the_scores_what_an_unchanged_draft_says(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, *WEIGH)
    shapes.text(shapes.frame() * 10, place / "x.csv")
    made = encore_ray.weigh("x.csv")
    assert "a higher score is taken to be better, from 0 to 10" in made.assumed
    assert RuleSet.load(place / "rules.yaml")[0].scale.hi == 1  # it is left as it is


def test_weights_say_what_the_rules_are_where_a_draft_is_of_another_table(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, *WEIGH)
    renamed = shapes.frame().rename(columns=lambda name: name.replace("polite", "kind"))
    shapes.text(renamed, place / "y.csv")
    told(capsys, "weigh", "--scores", "y.csv", "--output", "y/w.json")
    words = ("compose", "--scores", "y.csv", "--weights", "y/w.json", "--output", "rewards")
    assert "drafted" not in told(capsys, *words)
    assert pd.read_parquet(place / "rewards" / "data").shape[0] == 58
