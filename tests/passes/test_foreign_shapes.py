"""Tables in other forms, by the commands: rules are read off them and written down, results stand and resume."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from encore_ray.cli.scores import ScoreColumns, open_rewards, open_scores
from encore_ray.errors import ConfigError
from encore_ray.rules import RuleSet
from tests.foreign import shapes
from tests.passes import jobs
from tests.passes.test_foreign_scores import run


def said(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    return " ".join((shown.out + shown.err).split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shapes.text(shapes.frame().assign(source="web"), tmp_path / "x.csv")
    shapes.own().to_parquet(tmp_path / "own.parquet")
    return tmp_path


def test_a_csv_without_rules_goes_all_the_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weigh", "--scores", "x.csv", "--output", "out/weights.json") == 0
    told = said(capsys)
    assert f"x.csv: {shapes.NUM_PAIRS - shapes.NUM_EMPTY} pairs under 3 rules: harmless, honest, polite" in told
    assert "left out: 2 rows without any score" in told
    assert "carried along, not as scores: 1 column, source" in told
    assert "assumed: of harmless, honest, polite a higher score is taken to be better, from 0 to 1" in told
    assert f"rules: {place}/out/rules.yaml (drafted from x.csv)" in told
    assert "encore-ray weigh --scores x.csv --output out/weights.json --rules out/rules.yaml --overwrite" in told
    assert RuleSet.load(place / "out" / "rules.yaml").names == [*shapes.RULES]
    assert run("compose", "--scores", "x.csv", "--weights", "out/weights.json", "--output", "out/rewards") == 0
    assert run("evaluate", "--rewards", "out/rewards", "--output", "out") == 0
    assert run("compare", "--scores", "x.csv", "--output", "out", "--beside", "again=out/rewards") == 0
    of_own = ("--scores", "own.parquet", "--rules", "out/rules.yaml")
    assert run("weigh", *of_own, "--output", "own/weights.json") == 0
    assert (place / "own" / "weights.json").read_bytes() == (place / "out" / "weights.json").read_bytes()
    rewards = jobs.table(place / "out" / "rewards")
    assert rewards["source"].to_pylist() == ["web"] * 58
    compared = json.loads((place / "out" / "comparison.json").read_text())
    assert [line["all"]["num_pairs"] for line in compared["beside"]] == [57]  # one is a single response
    assert not [path for path in (place / "out").rglob("*") if ".tmp-" in str(path)]


def test_rewards_of_a_csv_resume_and_are_refused_where_its_bytes_have_changed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("weigh", "--scores", "x.csv", "--output", "weights.json") == 0
    compose = ("compose", "--scores", "x.csv", "--weights", "weights.json", "--output", "rewards")
    assert run(*compose) == 0
    [record] = (place / "rewards" / "commits").iterdir()
    (place / "rewards" / "_SUCCESS").unlink()
    assert run(*compose) == 0
    assert list((place / "rewards" / "commits").iterdir()) == [record]  # nothing was done anew
    before = jobs.table(place / "rewards").column("margin").to_pylist()
    shapes.text(shapes.frame()[::-1].assign(source="web"), place / "x.csv")
    capsys.readouterr()
    assert run(*compose) == 2
    assert f"({place}/x.csv). Use --overwrite" in said(capsys)
    assert run(*compose, "--overwrite") == 0
    assert jobs.table(place / "rewards").column("margin").to_pylist() == before[::-1]


def test_columns_are_named_by_flags(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = shapes.frame().rename(columns=lambda name: name.replace("chosen", "a").replace("rejected", "b"))
    made.assign(uid=[f"u{row}" for row in made.index]).to_csv(place / "ab.csv", index=False)
    weigh = ("weigh", "--scores", "ab.csv", "--output", "ab/weights.json")
    assert run(*weigh) == 2
    assert "weigh --scores ab.csv --output ab/weights.json --chosen '{rule}_a' --rejected '{rule}_b'" in said(capsys)
    sides = ("--chosen", "{rule}_a", "--rejected", "{rule}_b", "--map", "pair_id=uid")
    assert run(*weigh, *sides) == 0
    common = ("--weights", "ab/weights.json", "--output", "ab/rewards")
    assert run("compose", "--scores", "ab.csv", *sides, *common) == 0
    assert jobs.table(place / "ab" / "rewards")["pair_id"].to_pylist()[:3] == ["u0", "u1", "u2"]
    capsys.readouterr()
    assert run(*weigh, "--map", "pair_id") == 2
    assert "--map pair_id: expected NAME=COLUMN, as pair_id=uid" in said(capsys)


def test_names_of_columns_are_none_of_a_run() -> None:
    run_of_job: Any = None  # it is not asked for anything
    with pytest.raises(ConfigError, match="name columns of --scores; with --run there are none"):
        open_scores(run_of_job, None, ScoreColumns(chosen="x"), None).__enter__()
    with pytest.raises(ConfigError, match="are of --rewards; with --run there are none"):
        open_rewards(run_of_job, None, ScoreColumns(), "weights.json").__enter__()


def test_scores_of_another_range_are_seen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = pd.DataFrame({f"{side}_stars": [1, 2, 5, 4] for side in ("chosen", "rejected")})
    scores.to_csv(place / "stars.csv", index=False)
    run("weigh", "--scores", "stars.csv", "--output", "stars/weights.json")
    assert "assumed: of stars a higher score is taken to be better, of levels 1, 2, 3, 4, 5" in said(capsys)


def test_rewards_of_elsewhere_are_evaluated_as_those_that_compose_wrote(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("weigh", "--scores", "x.csv", "--output", "weights.json") == 0
    assert run("compose", "--scores", "x.csv", "--weights", "weights.json", "--output", "rewards") == 0
    assert run("evaluate", "--rewards", "rewards", "--output", "expected") == 0
    made = jobs.table(place / "rewards").to_pandas()[["pair_id", "chosen_reward", "rejected_reward"]]
    (place / "other").mkdir()
    made.to_csv(place / "other" / "rewards.csv", index=False)
    made.rename(columns={"chosen_reward": "a", "rejected_reward": "b"}).to_parquet(place / "other" / "rewards.parquet")
    assert run("evaluate", "--rewards", "other/rewards.csv", "--output", "made") == 2
    told = said(capsys)
    assert "has no weights.json beside it: name the weights of these rewards:" in told
    assert told.endswith("encore-ray evaluate --rewards other/rewards.csv --output made --weights weights.json")
    for file, more in (("rewards.csv", ()), ("rewards.parquet", ("--chosen", "a", "--rejected", "b"))):
        evaluate = ("evaluate", "--rewards", f"other/{file}", "--weights", "weights.json", "--output", file[8:])
        assert run(*evaluate, *more) == 0
        found, expected = (json.loads((place / name / "metrics.json").read_text()) for name in (file[8:], "expected"))
        assert found["overall"] == expected["overall"]
        assert found["margin"]["mean"] == pytest.approx(expected["margin"]["mean"], rel=1e-12)  # another order of sums
    assert run("evaluate", "--rewards", "rewards", "--weights", "weights.json", "--output", "made") == 2
    assert "was made by `compose`, with its weights beside it" in said(capsys)
