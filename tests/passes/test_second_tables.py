"""Tables beside the scores, of ratings and of rewards, are read in the forms that the scores themselves are read in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import encore_ray
from encore_ray.rules import RuleSet
from tests.cli.rated import save_rated
from tests.foreign import shapes
from tests.passes import jobs
from tests.passes.test_foreign_scores import run

RATED = {
    "CSV": lambda made, place: shapes.text(made, place / "rated.csv"),
    "Parquet": lambda made, place: made.to_parquet(place / "rated.parquet"),
    "JSON lines": lambda made, place: made.to_json(place / "rated.jsonl", orient="records", lines=True),
    "in our form": lambda made, place: ours(made).to_parquet(place / "rated.parquet"),
}


def ours(made: pd.DataFrame) -> pd.DataFrame:
    renamed = made.rename(columns=lambda name: "__".join(name.split("_")[::-1]))
    return renamed.assign(pair_id=[str(row) for row in renamed.index])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of scores with rules of its own, and what `compose` makes of it."""
    folder = tmp_path_factory.mktemp("scored")
    shapes.text(shapes.frame().dropna(), folder / "x.csv")
    made = encore_ray.weigh(folder / "x.csv")
    rules = RuleSet(encore_ray.Rule(rule.name, rule.name, rule.higher_is, rule.scale) for rule in made.rules)
    (folder / "rules.yaml").write_text(rules.to_yaml())
    made.save(folder / "weights.json")
    words = ("--scores", folder / "x.csv", "--weights", folder / "weights.json", "--output", folder / "rewards")
    assert run("compose", *words) == 0
    return folder


@pytest.mark.parametrize("form", RATED.values(), ids=[*RATED])
def test_ratings_count_in_every_form(
    form: Callable[[pd.DataFrame, Path], Any], place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings = shapes.frame().dropna().round(1)
    form(ratings, tmp_path)
    [file] = tmp_path.glob("rated.*")
    scores = ("--scores", place / "x.csv", "--ratings", file)
    assert run("weigh", *scores, "--output", tmp_path / "w.json") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (f"ratings: {file}: 57 pairs under 3 rules" in told) == (form is not RATED["in our form"])
    found = json.loads((tmp_path / "w.json").read_text())
    expected = encore_ray.weigh(ours(ratings), RuleSet.load(place / "rules.yaml")).weights  # entropies of the ratings
    assert [rule["entropy"] for rule in found["rules"]] == [rule.entropy.value for rule in expected.rules]
    in_python = encore_ray.weigh(place / "x.csv", options={"ratings": str(file)})
    assert in_python.weights.to_dict()["rules"] == found["rules"]
    assert run("compare", *scores, "--output", tmp_path / "compared") == 0
    assert not list(tmp_path.rglob(".tmp-*"))


def test_ratings_that_cannot_be_read_are_named_before_a_score_is(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes.text(shapes.frame().dropna().assign(polite_chosen="high"), tmp_path / "rated.csv")
    words = ("--scores", place / "x.csv", "--ratings", tmp_path / "rated.csv", "--output", tmp_path / "w.json")
    assert run("weigh", *words) == 3
    told = capsys.readouterr()
    assert f"--ratings: {tmp_path}/rated.csv: column polite_chosen must hold numbers; row 1 has 'high'" in told.err
    assert "weigh in this process" not in told.out


def test_a_run_stands_by_the_bytes_of_its_ratings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_rated(tmp_path, num_pairs=60)
    assert run("run", "job.yaml") == 0
    rules = RuleSet.load(tmp_path / "run" / "rules.yaml")
    scores = jobs.table(tmp_path / "run" / "scores").to_pandas()
    columns = [f"{side}__{rule}" for rule in rules.names for side in ("chosen", "rejected")]
    for number, stands in enumerate((False, True, False)):
        shapes.text(scores[columns][number // 2 :], tmp_path / "rated.csv")  # the same, then a row less
        capsys.readouterr()
        words = ("weigh", "--run", "run", "--ratings", "rated.csv", *(["--overwrite"] if not number else []))
        assert run(*words) == 0
        assert ("weigh: nothing to do, it stands" in capsys.readouterr().out) == stands


FORMS = {
    "CSV": lambda made, place: shapes.text(made, place / "rewards.csv"),
    "shuffled": lambda made, place: shapes.text(made.sample(frac=1, random_state=1), place / "rewards.csv"),
    "JSON lines": lambda made, place: made.to_json(place / "rewards.jsonl", orient="records", lines=True),
    "Parquet of many groups": lambda made, place: made.to_parquet(place / "rewards.parquet", row_group_size=7),
    "ids that are numbers": lambda made, place: made.astype({"pair_id": int}).to_parquet(place / "rewards.parquet"),
    "as refined": lambda made, place: shapes.text(made.rename(columns=refined), place / "rewards.csv"),
    "without ids": lambda made, place: shapes.text(made.drop(columns="pair_id"), place / "rewards.csv"),
}


def refined(name: str) -> str:
    return name.replace("_reward", "_refined")


@pytest.mark.parametrize("form", FORMS.values(), ids=[*FORMS])
def test_rewards_stand_beside_the_schemes_in_every_form(
    form: Callable[[pd.DataFrame, Path], Any], place: Path, tmp_path: Path
) -> None:
    rewards = jobs.table(place / "rewards").to_pandas()[["pair_id", "chosen_reward", "rejected_reward"]]
    form(rewards, tmp_path)
    [file] = tmp_path.glob("rewards.*")
    beside = ("--beside", f"mine={file}", "--beside", f"ours={place}/rewards")
    assert run("compare", "--scores", place / "x.csv", *beside, "--output", tmp_path / "c") == 0
    mine, own = json.loads((tmp_path / "c" / "comparison.json").read_text())["beside"]
    assert mine["all"] == own["all"] and mine["all"]["num_pairs"] == 57
    assert mine["heldout"] == own["heldout"]


def test_scores_in_many_units_find_their_rewards_in_any(place: Path, tmp_path: Path, monkeypatch) -> None:
    made = shapes.own().dropna()
    made.to_parquet(tmp_path / "scores.parquet")
    monkeypatch.setattr("encore_ray.folder.reading.foreign.FOREIGN_UNIT_ROWS", 10)
    made.to_parquet(tmp_path / "scores.parquet", row_group_size=10)
    rewards = made[["pair_id"]].assign(chosen_reward=np.arange(57.0), rejected_reward=20.0)
    shapes.text(rewards[::-1], tmp_path / "rewards.csv")
    words = ("--scores", tmp_path / "scores.parquet", "--rules", place / "rules.yaml", "--output", tmp_path / "c")
    assert run("compare", *words, "--beside", f"mine={tmp_path}/rewards.csv") == 0
    [mine] = json.loads((tmp_path / "c" / "comparison.json").read_text())["beside"]
    assert (mine["all"]["wins"], mine["all"]["ties"], mine["all"]["losses"]) == (36, 1, 20)  # 21 to 56, 20, 0 to 19


def test_a_table_beside_that_has_no_rewards_is_named(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes.text(shapes.frame(), tmp_path / "rewards.csv")
    words = ("--scores", place / "x.csv", "--output", tmp_path / "c", "--beside", f"mine={tmp_path}/rewards.csv")
    assert run("compare", *words) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert f"mine: {tmp_path}/rewards.csv holds no rewards. Expected chosen_reward and rejected_reward or" in told
    assert "found harmless_chosen, honest_chosen, " in told
