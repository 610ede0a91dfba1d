"""A pair counts under all rules or not at all, in whichever form its scores come.

A row without any score is left out and told; one that lacks some is refused, with all of its kind.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import encore_ray
from encore_ray import Rule, RuleSet, Scale
from encore_ray.errors import DataError

Form = Callable[[pd.DataFrame, Path], Any]

# That rows are left out is told by a warning, for which there is a test.
pytestmark = pytest.mark.filterwarnings("ignore::encore_ray.errors.AssumedWarning")


def frame(*, gaps: bool = False) -> pd.DataFrame:
    """Five rows under two rules: the second is a single response, the third has no score at all."""
    sides = {"chosen__harm": 0.5, "rejected__harm": 0.25, "chosen__kind": 0.75, "rejected__kind": 0.5}
    made = pd.DataFrame([sides] * 5).assign(pair_id=list("abcde"))
    made.loc[1, ["rejected__harm", "rejected__kind"]] = np.nan
    made.loc[2, [*sides]] = np.nan
    if gaps:
        made.loc[0, "rejected__kind"] = made.loc[3, "rejected__kind"] = np.nan
        made.loc[3, "chosen__harm"] = np.nan
    return made


def named(made: pd.DataFrame) -> pd.DataFrame:
    return made.rename(columns=lambda name: "_".join(name.split("__")[::-1]) if "__" in name else name)


def long(made: pd.DataFrame) -> pd.DataFrame:
    """A row a score."""
    found = made.melt("pair_id", var_name="column", value_name="score")
    sides = found.pop("column").str.split("__", expand=True)
    return found.assign(side=sides[0], rule=sides[1])


def responses(made: pd.DataFrame) -> pd.DataFrame:
    """A row a response."""
    return long(made).pivot(index=["pair_id", "side"], columns="rule", values="score").reset_index()


def written(made: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        made.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        made.to_json(path, orient="records", lines=True)
    else:
        made.to_parquet(path)
    return path


FORMS: dict[str, Form] = {
    "pandas": lambda made, place: made,
    "pandas, other names": lambda made, place: named(made),
    "polars with null": lambda made, place: pl.DataFrame(pa.Table.from_pandas(made)),
    "polars with NaN": lambda made, place: pl.DataFrame({name: made[name].to_numpy() for name in made}),
    "arrow": lambda made, place: pa.Table.from_pandas(named(made)),
    "arrays": lambda made, place: {name: made[name].to_numpy() for name in made},
    "rows": lambda made, place: made.to_dict("records"),
    "CSV": lambda made, place: written(named(made), place / "x.csv"),
    "CSV in our form": lambda made, place: written(made, place / "x.csv"),
    "JSON lines": lambda made, place: written(named(made), place / "x.jsonl"),
    "Parquet": lambda made, place: written(named(made), place / "x.parquet"),
    "Parquet in our form": lambda made, place: written(made, place / "x.parquet"),
    "a row a score": lambda made, place: written(long(made), place / "x.csv"),
    "a row a score, typed": lambda made, place: long(made),
    "a row a response": lambda made, place: written(responses(made), place / "x.csv"),
    "a row a response, typed": lambda made, place: responses(made),
}
EVERY = pytest.mark.parametrize("form", FORMS.values(), ids=[*FORMS])
RULES = RuleSet(Rule(name, name, "better", Scale(0.0, 1.0)) for name in ("harm", "kind"))


@EVERY
def test_a_row_without_any_score_is_left_out_and_told(form: Form, tmp_path: Path) -> None:
    with pytest.warns(encore_ray.AssumedWarning, match="Left out: "):
        weights = encore_ray.weigh(form(frame(), tmp_path), RULES)
    assert (weights.weights.num_pairs, weights.weights.num_responses) == (3, 7)
    assert "without any score" in weights.assumed
    with pytest.warns(encore_ray.AssumedWarning, match="Left out: "):
        rewards = encore_ray.compose(form(frame(), tmp_path), weights)
    assert sorted(rewards.table["pair_id"].to_pylist()) == ["a", "b", "d", "e"]
    assert "without any score" in rewards.assumed


@EVERY
def test_a_row_that_lacks_some_scores_is_refused_with_its_rule_count_and_place(form: Form, tmp_path: Path) -> None:
    whole = encore_ray.weigh(frame(), RULES)
    for do in (
        lambda scores: encore_ray.weigh(scores, RULES),
        encore_ray.weigh,
        encore_ray.compare,
        lambda scores: encore_ray.compose(scores, whole),
    ):
        with pytest.raises(DataError, match="2 of 4 rows lack some of their scores") as caught:
            do(form(frame(gaps=True), tmp_path))
        said = str(caught.value)
        assert "harm" in said and "kind" in said
        assert "in 1 (" in said and "in 2 (first " in said  # of harm one, of kind two
        assert "pair a" in said and "pair d" in said


@EVERY
def test_a_rule_without_any_score_is_named(form: Form, tmp_path: Path) -> None:
    empty = frame().assign(chosen__kind=np.nan, rejected__kind=np.nan)
    with pytest.raises(DataError, match=r"kind.* no score in any row: take .* out, or name the rules that count"):
        encore_ray.weigh(form(empty, tmp_path))


def test_a_gap_under_a_rule_that_does_not_count_is_none(tmp_path: Path) -> None:
    only = RuleSet(rule for rule in RULES if rule.name == "harm")
    made = frame().assign(rejected__kind=np.nan)
    for form in FORMS.values():
        assert encore_ray.weigh(form(made, tmp_path), only).weights.num_pairs == 3


def test_what_is_no_number_in_a_gap_is_one() -> None:
    made = frame()
    made.loc[0, "chosen__kind"] = np.inf
    with pytest.raises(DataError, match=r"Rule kind: 1 scores are missing or not finite .* first pair_ids a\."):
        encore_ray.weigh(made, RULES)
