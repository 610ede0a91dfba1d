"""Tables in memory: whatever holds them, the digits are those of the commands, and mistakes are told in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

import encore_ray
from encore_ray import Rule, RuleSet, Scale
from encore_ray.cli import main
from encore_ray.errors import ConfigError, DataError, EncoreError
from tests.passes import jobs

NUM_PAIRS, NUM_RULES = 3000, 10
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
RULES = RuleSet(
    Rule(
        f"rule_{k}",
        f"Rule {k}.",
        "worse" if k % 3 == 2 else "better",
        Scale(0.0, 1.0, LEVELS) if k % 4 == 1 else Scale(0.0, 1.0),
    )
    for k in range(NUM_RULES)
)
REWARDS = ("chosen_reward", "rejected_reward", "margin")
Source = Callable[[pa.Table, Path], Any]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Every 50th row is a single response, two rows share a group, and every third has no subset."""
    rng = np.random.default_rng(7)
    single_N = np.arange(NUM_PAIRS) % 50 == 0
    columns: dict[str, Any] = {
        "pair_id": [f"pair-{row}" for row in range(NUM_PAIRS)],
        "group_id": [f"group-{row // 2}" for row in range(NUM_PAIRS)],
        "subset": [("safe", "chat", None)[row % 3] for row in range(NUM_PAIRS)],
    }
    for k, rule in enumerate(RULES):
        quality_N = rng.normal(0.1 * (-1 if rule.higher_is == "worse" else 1), 0.15, NUM_PAIRS)
        for side, sign in (("chosen", 0.5), ("rejected", -0.5)):
            score_N = np.clip(0.5 + sign * quality_N + rng.normal(0, 0.02 * (k + 1), NUM_PAIRS), 0, 1)
            if rule.scale.levels:
                score_N = np.round(4 * score_N) / 4
            # Some tables are of float32, others of float64.
            score_N = score_N.astype(np.float32 if k % 2 else np.float64)
            columns[f"{side}__{rule.name}"] = pa.array(score_N, mask=single_N if side == "rejected" else None)
    return pa.table(columns)


@pytest.fixture(scope="module")
def written(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands write of the table, and the table as a file, as a folder of one and as one of three."""
    place = tmp_path_factory.mktemp("written")
    pq.write_table(table, place / "scores.parquet")
    for name, num_files in (("whole", 1), ("parts", 3)):
        (place / name).mkdir()
        size = NUM_PAIRS // num_files
        for part in range(num_files):
            pq.write_table(table.slice(part * size, size), place / name / f"{part}.parquet")
    (place / "rules.yaml").write_text(RULES.to_yaml())
    scores = ("--scores", str(place / "scores.parquet"), "--rules", str(place / "rules.yaml"), "--engine", "local")
    for words in (
        ("weigh", *scores, "--output", str(place / "weights.json")),
        ("compose", *scores, "--weights", str(place / "weights.json"), "--output", str(place / "rewards")),
        ("compare", *scores, "--output", str(place / "compared")),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*words])
        assert not ended.value.code
    return place


def with_chunks(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 11), table.slice(11, 0), table.slice(11)])


def shuffled_index(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().set_axis(np.random.default_rng(0).permutation(NUM_PAIRS) + 100, axis=0)


SOURCES: dict[str, Source] = {
    "pandas": lambda table, place: table.to_pandas(),
    "pandas with another index": lambda table, place: shuffled_index(table),
    "pandas with ids in its index": lambda table, place: table.to_pandas().set_index("pair_id"),
    "pandas with categories": lambda table, place: table.to_pandas().astype(
        {name: "category" for name in table.column_names if name == "subset" or name.startswith("chosen__")}
    ),
    "polars": lambda table, place: pl.DataFrame(table),
    "polars with categories": lambda table, place: pl.DataFrame(table).cast({"group_id": pl.Categorical}),
    "arrow": lambda table, place: table,
    "arrow in chunks": lambda table, place: with_chunks(table),
    "arrow in another order": lambda table, place: table.select(table.column_names[::-1]),
    "mapping of arrow arrays": lambda table, place: {name: table[name] for name in table.column_names},
    "mapping of numpy arrays": lambda table, place: {
        name: column.to_numpy() for name, column in table.to_pandas().items()
    },
    "mapping of lists": lambda table, place: {
        name: table[name].to_pylist() if name in ("pair_id", "group_id", "subset") else table[name]
        for name in table.column_names
    },
    "file": lambda table, place: place / "scores.parquet",
    "name of a file": lambda table, place: str(place / "scores.parquet"),
    "folder": lambda table, place: place / "whole",
}
EVERY = pytest.mark.parametrize("source", SOURCES.values(), ids=[*SOURCES])


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def bits(column: pa.ChunkedArray) -> np.ndarray:
    """Of float64, nulls as a value that no reward has."""
    assert pa.types.is_float64(column.type)
    return pc.fill_null(column, 1e300).to_numpy().view(np.uint64)  # type: ignore[attr-defined]


@EVERY
def test_weights_are_those_of_the_command_to_the_last_bit(table: pa.Table, written: Path, source: Source) -> None:
    made = encore_ray.weigh(source(table, written), RULES)
    assert made.weights.to_dict() == read(written / "weights.json")
    assert made.weights.num_pairs == NUM_PAIRS - NUM_PAIRS // 50  # the others are singles
    assert made.assumed == ""


@EVERY
def test_rewards_are_those_of_the_command_to_the_last_bit(table: pa.Table, written: Path, source: Source) -> None:
    expected = jobs.table(written / "rewards")
    made = encore_ray.compose(source(table, written), encore_ray.weigh(table, RULES))
    for name in ("pair_id", "group_id", "subset"):
        assert made.table[name].to_pylist() == expected[name].to_pylist()
    for name in REWARDS:
        np.testing.assert_array_equal(bits(made.table[name]), bits(expected[name]))
        assert made.table[name].null_count == expected[name].null_count
    assert made.table["margin"].null_count == NUM_PAIRS // 50


@EVERY
def test_a_comparison_is_that_of_the_command_to_the_last_bit(table: pa.Table, written: Path, source: Source) -> None:
    made = encore_ray.compare(source(table, written), RULES)
    assert json.loads(made.comparison.to_json()) == read(written / "compared" / "comparison.json")


def test_a_folder_of_several_files_has_the_same_weights_and_rewards(table: pa.Table, written: Path) -> None:
    weights = encore_ray.weigh(written / "parts", RULES)
    assert weights.weights.to_dict() == read(written / "weights.json")
    made = encore_ray.compose(written / "parts", weights).table
    for name in REWARDS:
        np.testing.assert_array_equal(bits(made[name]), bits(jobs.table(written / "rewards")[name]))


def test_options_are_those_of_the_command(table: pa.Table) -> None:
    options = {"scheme": "uniform"}
    assert {rule.weight for rule in encore_ray.weigh(table, RULES, options=options).weights.rules} == {0.1}
    by_group = encore_ray.weigh(table, RULES, options={"by_group": True})
    assert {*by_group.weights.group_weights} == {"safe", "chat"}
    assert encore_ray.compose(table, by_group).table.num_rows == NUM_PAIRS


def test_rules_that_lie_beside_a_file_are_taken_as_the_command_takes_them(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "scores.parquet")
    with pytest.warns(encore_ray.AssumedWarning, match="a higher score is taken to be worse") as caught:
        guessed = encore_ray.weigh(tmp_path / "scores.parquet")
    assert [warning.filename for warning in caught] == [__file__]
    assert [rule.higher_is for rule in guessed.rules] == [rule.higher_is for rule in RULES]  # of 2,940 labels each
    assert "a higher score is taken to be worse, by the labels, from 0 to 1" in guessed.assumed
    (tmp_path / "rules.yaml").write_text(RULES.to_yaml())
    made = encore_ray.weigh(tmp_path / "scores.parquet")
    assert made.weights == encore_ray.weigh(table, RULES).weights
    assert made.assumed == f"Rules: {tmp_path}/rules.yaml."
    compared = encore_ray.compare(str(tmp_path / "scores.parquet"))
    assert compared.comparison.content == encore_ray.compare(table, tmp_path / "rules.yaml").comparison.content


def test_weights_may_be_the_path_of_a_file(table: pa.Table, written: Path) -> None:
    expected = encore_ray.compose(table, encore_ray.weigh(table, RULES)).table
    assert encore_ray.compose(table, written / "weights.json").table.equals(expected)


def test_weights_are_saved_as_the_command_writes_them(table: pa.Table, written: Path, tmp_path: Path) -> None:
    encore_ray.weigh(table, RULES).save(tmp_path / "weights.json")
    assert (tmp_path / "weights.json").read_bytes() == (written / "weights.json").read_bytes()


# Other forms; the files of tests/foreign have all of them


@pytest.fixture(scope="module")
def sides() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {side: rng.normal(mean, 0.1, (50, 3)).clip(0, 1) for side, mean in (("chosen", 0.55), ("rejected", 0.5))}


NAMES = ("harm", "honesty", "care")


def as_frame(sides: dict[str, np.ndarray], pattern: str = "{side}__{rule}") -> pd.DataFrame:
    return pd.DataFrame(
        {pattern.format(side=side, rule=rule): of[:, k] for side, of in sides.items() for k, rule in enumerate(NAMES)}
    )


def test_scores_that_weigh_would_refuse_are_counted_where_they_are_composed() -> None:
    rules = RuleSet(
        [Rule("wide", "W.", "better", Scale(0.0, 1.0)), Rule("star", "S.", "better", Scale(0.0, 1.0, LEVELS))]
    )
    scores = {f"{side}__{name}": [0.0, 0.25, 1.0] for side in ("chosen", "rejected") for name in rules.names}
    weights = encore_ray.weigh(scores, rules)
    assert encore_ray.compose(scores, weights).assumed == ""
    beyond = {**scores, "chosen__wide": [7.0, 0.5, -0.01], "rejected__star": [1.12, 1.13, 0.5]}  # a level ends at 1.125
    told = encore_ray.compose(beyond, weights).assumed
    assert told == "3 scores lie outside of their rule's scale and count as they are; `weigh` refuses such scores."
    with pytest.raises(DataError, match="out of range"):
        encore_ray.weigh(beyond, rules)
    assert encore_ray.compose(beyond, encore_ray.weigh(beyond, rules, options={"clip": True})).assumed == ""


def test_arrays_and_frames_of_scores_are_composed(sides: dict[str, np.ndarray]) -> None:
    weights = encore_ray.weigh(as_frame(sides), NAMES)
    expected = encore_ray.compose(as_frame(sides), weights).table
    both = encore_ray.compose((sides["chosen"], torch.from_numpy(sides["rejected"])), weights).table
    assert [bits(both[name]).tolist() for name in REWARDS] == [bits(expected[name]).tolist() for name in REWARDS]
    frame = pd.DataFrame(sides["chosen"], columns=list(NAMES), index=range(100, 150))
    for single in (sides["chosen"], frame, pl.DataFrame(frame[["care", "harm", "honesty"]])):
        made = encore_ray.compose(single, weights)
        assert bits(made.table["chosen_reward"]).tolist() == bits(expected["chosen_reward"]).tolist()
        assert made.table["rejected_reward"].null_count == 50
    assert encore_ray.compose(frame, weights).to_pandas().index.tolist() == frame.index.tolist()
    assert encore_ray.weigh((sides["chosen"], sides["rejected"]), NAMES).weights == weights.weights
    with pytest.raises(DataError, match="lists of 2 scores, and there are 3 rules"):
        encore_ray.compose(sides["chosen"][:, :2], weights)


def test_data_sets_and_lists_of_rows_are_tables(sides: dict[str, np.ndarray]) -> None:
    expected = encore_ray.weigh(as_frame(sides), NAMES).weights
    back = list(range(50))[::-1]
    turned_twice = datasets.Dataset.from_pandas(as_frame(sides).iloc[back], preserve_index=False).select(back)
    for scores in (turned_twice, as_frame(sides).to_dict("records")):
        assert encore_ray.weigh(scores, NAMES).weights == expected
        assert encore_ray.compose(scores, expected).table["pair_id"].to_pylist()[:2] == ["0", "1"]


def test_frames_with_other_columns_are_read_and_told(sides: dict[str, np.ndarray]) -> None:
    expected = encore_ray.weigh(as_frame(sides), NAMES)
    frame = as_frame(sides, "score_{side}_{rule}").assign(prompt="Hi")
    frame.loc[50] = [np.nan] * 6 + ["nobody scored it"]
    with pytest.warns(encore_ray.AssumedWarning) as caught:
        made = encore_ray.weigh(frame)
    told = "Left out: 1 row without any score. `.assumed` of the result says how the table was read."
    assert [str(warning.message) for warning in caught] == [told]
    assert made.weights == expected.weights
    assert "50 pairs under 3 rules: harm, honesty, care" in made.assumed
    assert "Left out: 1 row without any score. Carried along, not as scores: 1 column, prompt." in made.assumed
    assert "Of harm, honesty, care a higher score is taken to be better, from 0 to 1." in made.assumed
    with pytest.warns(encore_ray.AssumedWarning, match="Left out: 1 row"):
        rewards = encore_ray.compose(frame[::-1], made)
    assert rewards.to_pandas().index.tolist() == [*range(49, -1, -1)]
    assert rewards.assumed in rewards._repr_html_()
    swapped = as_frame(sides, "{rule}.{side}").rename(columns=lambda name: name.replace("rejected", "b"))
    named = encore_ray.compare(swapped, chosen="{rule}.chosen", rejected="{rule}.b", columns={})
    assert named.comparison.content == encore_ray.compare(as_frame(sides), NAMES).comparison.content


def test_flags_that_would_decide_are_told_as_arguments(sides: dict[str, np.ndarray], tmp_path: Path) -> None:
    frame = as_frame(sides, "{rule}_{side}").rename(
        columns=lambda name: name.replace("chosen", "a").replace("rejected", "b")
    )
    frame.to_csv(tmp_path / "x.csv")
    for scores in (frame, tmp_path / "x.csv"):
        with pytest.raises(ConfigError) as caught:
            encore_ray.weigh(scores)
        assert "  encore_ray.weigh(scores, chosen='{rule}_a', rejected='{rule}_b')" in str(caught.value).splitlines()
        assert "--" not in str(caught.value)


def test_weights_are_loaded_as_they_were_saved(sides: dict[str, np.ndarray], tmp_path: Path) -> None:
    made = encore_ray.weigh(as_frame(sides), NAMES)
    made.save(tmp_path / "w.json")
    found = encore_ray.Weights.load(tmp_path / "w.json")
    assert found.weights == made.weights
    assert repr(found) == repr(made) == repr(made.weights)
    assert repr(found).startswith("<encore weights of 3 rules: harm 0.3")
    with pytest.raises(DataError, match=r"nowhere.json is not there"):
        encore_ray.Weights.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}), "several splits: train. Name one"),
        (datasets.IterableDataset.from_generator(lambda: iter([{"a": 1}])), "streams, and is read more than once"),
    ],
    ids=["splits", "stream"],
)
def test_data_sets_that_are_no_table_are_told_apart(scores: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        encore_ray.weigh(scores)


# What is shown


def small(name: str = "kind", *, num_pairs: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {f"{side}__{name}": rng.random(num_pairs) for side in ("chosen", "rejected")}


def test_results_are_pandas_frames_of_a_row_each(table: pa.Table) -> None:
    weights = encore_ray.weigh(table, RULES)
    frame = weights.to_pandas()
    assert frame["name"].tolist() == RULES.names
    assert frame["weight"].tolist() == [rule.weight for rule in weights.weights.rules]
    rewards = encore_ray.compose(table, weights).to_pandas()
    assert rewards.shape[0] == NUM_PAIRS and rewards["margin"].isna().sum() == NUM_PAIRS // 50
    compared = encore_ray.compare(table, RULES)
    assert compared.to_pandas()["scheme"].tolist() == [line.name for line in compared.comparison.lines]


def test_rewards_of_a_frame_stand_under_its_index(table: pa.Table) -> None:
    frame = shuffled_index(table)
    weights = encore_ray.weigh(frame, RULES)
    rewards = encore_ray.compose(frame, weights).to_pandas()
    assert rewards.index.equals(frame.index)
    joined = frame.assign(margin=rewards["margin"])  # by index: row by row
    np.testing.assert_array_equal(joined["margin"], encore_ray.compose(table, weights).to_pandas()["margin"])
    by_id = encore_ray.compose(frame.set_index("pair_id"), weights).to_pandas()
    assert by_id.index.tolist() == by_id["pair_id"].tolist() == frame["pair_id"].tolist()


def test_a_notebook_shows_tables_in_which_names_are_escaped() -> None:
    scores = small("<b>kind</b> & so on")
    weights = encore_ray.weigh(scores)
    scores |= {"pair_id": [f"<i>{row}</i>" for row in range(40)]}
    for made in (weights, encore_ray.compose(scores, weights), encore_ray.compare(scores)):
        shown = made._repr_html_()
        assert "<table" in shown and "<td>" in shown
        assert "<b>" not in shown and "<i>" not in shown
    assert "&lt;b&gt;kind&lt;/b&gt; &amp; so on" in weights._repr_html_()
    assert "&lt;i&gt;0&lt;/i&gt;" in encore_ray.compose(scores, weights)._repr_html_()


@pytest.mark.parametrize("rules", [None, ["kind"], ("kind",), pd.Index(["kind"]), np.array(["kind"])], ids=type)
def test_what_is_taken_for_granted_of_rules_by_name_is_told(rules: Any) -> None:
    for made in (encore_ray.weigh(small(), rules), encore_ray.compare(small(), rules)):
        assert made.assumed == "Of kind a higher score is taken to be better, from 0 to 1."
        assert made.assumed in made._repr_html_()


# Mistakes


def changed(column: Any, *, name: str = "chosen__kind") -> dict[str, Any]:
    return {**small(), name: column}


def at_3(value: Any) -> np.ndarray:
    column = np.full(40, 0.5)
    column[3] = value
    return column


def twice(name: str) -> pa.Table:
    table = pa.table({"pair_id": [str(row) for row in range(40)], **small()})
    return table.append_column(name, table[name])


TEXTS = "column {} must hold texts or numbers, found {}"
GAP = r"1 of 40 rows lacks some of their scores: chosen__kind in 1 \((row 4|index 3)\)\. .* fill these cells, .*`rules`"
HALVES = np.full(40, 0.5)
WRONG: dict[str, tuple[Any, type[EncoreError], str]] = {
    "nothing": (None, ConfigError, "expected an Arrow table, .* found NoneType"),
    "a list": ([1], ConfigError, "found list"),
    "an array of three dimensions": (np.zeros((3, 2, 3)), ConfigError, "found ndarray"),
    "arrays of two shapes": ((np.zeros((3, 3)), np.zeros((3, 2))), ConfigError, r"found \(3, 3\), \(3, 2\)"),
    "a polars plan": (pl.DataFrame(small()).lazy(), ConfigError, r"found LazyFrame. Call its collect\(\) first"),
    "a series": (pd.Series(HALVES), DataError, "cannot be read as a table"),
    "no file": ("/nowhere/x.parquet", ConfigError, "/nowhere/x.parquet: no such table"),
    "no column": ({}, DataError, "scores is empty"),
    "no row": (pd.DataFrame(small()).iloc[:0], DataError, "scores is empty"),
    "no row of polars": (pl.DataFrame(small()).head(0), DataError, "scores is empty"),
    "no chunk": (pa.table({name: pa.chunked_array([], pa.float64()) for name in small()}), DataError, "is empty"),
    "no rule": ({"x": [1.0]}, DataError, "^scores: no scores are seen: expected the columns chosen__RULE"),
    "numbers for names": (pd.DataFrame({0: [1.0], 1: [2.0]}), DataError, "expected the columns chosen__RULE"),
    "one side": (changed(HALVES, name="chosen__harm"), DataError, "of harm it has one of the two"),
    "the other side": (changed(HALVES, name="rejected__harm"), DataError, "of harm it has one of the two"),
    "twice in pandas": (twice("chosen__kind").to_pandas(), DataError, "column chosen__kind more than once"),
    "twice in arrow": (twice("rejected__kind"), DataError, "column rejected__kind more than once"),
    "ids twice": (twice("pair_id"), DataError, "column pair_id more than once"),
    "NaN": (changed(at_3(np.nan)), DataError, GAP),
    "NaN of pandas": (pd.DataFrame(changed(at_3(np.nan))), DataError, GAP),
    "NaN of polars": (pl.DataFrame(changed(at_3(np.nan))), DataError, GAP),
    "null": (pl.DataFrame(changed(at_3(np.nan))).fill_nan(None), DataError, GAP),
    "infinite": (changed(at_3(np.inf)), DataError, r"Rule kind: 1 .* not finite .*3"),
    "half a single": (
        {**small(), **{f"{side}__x": at_3(np.nan if side == "rejected" else 0.5) for side in ("chosen", "rejected")}},
        DataError,
        GAP.replace("chosen__kind", "rejected__x"),
    ),
    "texts": (changed([str(x) for x in HALVES]), DataError, "chosen__kind must hold numbers, and holds them as texts"),
    "truths": (changed(HALVES > 0), DataError, "chosen__kind must hold numbers, found bool. Write 1 and 0"),
    "categories": (changed(pa.array(["a"] * 40).dictionary_encode()), DataError, "must hold numbers; row 1 has 'a'"),
    "of two kinds": (changed([0.5, "a"] * 20), DataError, "column chosen__kind, row 2: 'a' is no number"),
    "of two kinds in pandas": (pd.DataFrame(changed([0.5, "a"] * 20)), DataError, "chosen__kind, index 1: 'a' is no"),
    "of two kinds in rows": (
        [{"chosen__kind": x, "rejected__kind": 0.5} for x in (0.5, 0.5, "a")],
        DataError,
        "row 3: 'a' is no number",
    ),
    "of two dimensions": (changed(np.zeros((40, 2))), DataError, "column chosen__kind cannot be read as an array"),
    "a number alone": (changed(0.5), DataError, "column chosen__kind cannot be read as an array"),
    "too short": (changed(HALVES[:3]), DataError, "cannot be read as a table, each column as long as the others"),
    "objects": (pd.DataFrame(changed([object()] * 40, name="x")), DataError, "cannot be read as a table.*column x"),
    "ids of lists": (changed([[row] for row in range(40)], name="pair_id"), DataError, TEXTS.format("pair_id", "list")),
    "a row without an id": (changed([None, *"abc"] * 10, name="pair_id"), DataError, "10 rows have no pair_id"),
    "subsets of bytes": (changed([b"\xff"] * 40, name="subset"), DataError, TEXTS.format("subset", "binary")),
}


@pytest.mark.parametrize("do", [encore_ray.weigh, encore_ray.compare], ids=["weigh", "compare"])
@pytest.mark.parametrize("name", WRONG)
def test_scores_that_cannot_be_used_are_refused_in_a_sentence(name: str, do: Callable[..., Any]) -> None:
    scores, kind, said = WRONG[name]
    with pytest.raises(kind, match=said) as caught:
        do(scores)
    assert "/memory" not in str(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_scores_that_cannot_be_weighed_are_not_composed(name: str) -> None:
    scores, _, _ = WRONG[name]
    rules = ["kind", *{"one side": ["harm"], "the other side": ["harm"], "half a single": ["x"]}.get(name, [])]
    weights = encore_ray.weigh({key: value for rule in rules for key, value in small(rule).items()})
    with pytest.raises((ConfigError, DataError)) as caught:
        encore_ray.compose(scores, weights)
    assert "/memory" not in str(caught.value)


def test_whole_numbers_are_scores(tmp_path: Path) -> None:
    whole = {name: (column > 0.5).astype(int) for name, column in small().items()}
    real = {name: column.astype(float) for name, column in whole.items()}
    assert encore_ray.weigh(whole).weights == encore_ray.weigh(real).weights
    weights = encore_ray.weigh(real)
    assert encore_ray.compose(whole, weights).table.equals(encore_ray.compose(real, weights).table)


@pytest.mark.parametrize("rules", [3, [], {"kind"}, {"kind": 1}, [1], [RULES[1]]], ids=repr)
def test_rules_that_are_no_names_in_order_are_refused(rules: Any) -> None:
    with pytest.raises(ConfigError, match=r"rules: expected names in their order"):
        encore_ray.weigh(small(), rules)


def test_rules_that_the_scores_lack_are_named() -> None:
    with pytest.raises(DataError, match=r"scores has no scores of harm\. It has scores of kind\. Name .* by `rules`"):
        encore_ray.weigh(small(), ["harm"])
    with pytest.raises(DataError, match=r"scores has no scores of kimd: did you mean kind\? It has scores of kind"):
        encore_ray.weigh(small(), ["kimd"])
    with pytest.raises(DataError, match=r"scores has no scores of kind\. .* of harm\. Weights are of .* anew"):
        encore_ray.compose(small("harm"), encore_ray.weigh(small()))
    with pytest.raises(DataError, match="found kind more than once"):
        encore_ray.weigh(small(), ["kind", "kind"])
    with pytest.raises(ConfigError, match=r"Cannot read the rules in .*/kind"):
        encore_ray.weigh(small(), "kind")


def test_options_and_weights_that_are_none_are_refused() -> None:
    for options, said in (({"tau": 1}, "tau: unknown key"), ({"temperature": 0}, "temperature: .*found 0"), (3, "int")):
        with pytest.raises(ConfigError, match=said):
            encore_ray.weigh(small(), options=options)  # type: ignore[arg-type]
    for weights in (None, {"kind": 1.0}):
        with pytest.raises(ConfigError, match=r"weights: expected what `encore_ray.weigh` gives"):
            encore_ray.compose(small(), weights)  # type: ignore[arg-type]


def test_a_file_with_a_column_twice_is_refused_as_a_table_is(tmp_path: Path) -> None:
    pq.write_table(twice("chosen__kind"), tmp_path / "scores.parquet")
    with pytest.raises(DataError, match=r"scores.parquet has the column chosen__kind more than once"):
        encore_ray.weigh(tmp_path / "scores.parquet", ["kind"])
    with pytest.raises(DataError, match=r"scores.parquet has the column chosen__kind more than once"):
        encore_ray.compose(tmp_path / "scores.parquet", encore_ray.weigh(small()))


def test_copies_of_two_rules_tell_no_world() -> None:
    """Nine judges of two families have two votes: any two points lie on a line."""
    rng = np.random.default_rng(1)
    quality = rng.normal(size=(3000, 2))
    quality[:, 0] += 0.5
    families = [quality + noise * rng.normal(size=(3000, 2)) for noise in (1.2, 1.2, 0.8)][::2]
    scores = {}
    for number in range(9):
        side_N2 = 1 / (1 + np.exp(-families[number > 6] - 0.1 * rng.normal(size=(3000, 2))))
        scores |= {f"chosen__judge_{number}": side_N2[:, 0], f"rejected__judge_{number}": side_N2[:, 1]}
    found = encore_ray.compare(scores)
    comparison = found.comparison
    assert comparison.consensus is not None and comparison.consensus.num_groups == 2
    assert abs(comparison.entropy_accuracy.pearson or 0) > 0.9
    assert comparison.world == "unclear"
    assert "it takes three rules that differ in both" in found.verdict


@pytest.mark.parametrize("labels", [[*range(1000, 1050)], [*range(50)], [f"p{row}" for row in range(50)]])
def test_a_row_of_a_frame_is_called_by_its_index(sides: dict[str, np.ndarray], labels: list[Any]) -> None:
    frame = as_frame(sides).set_axis(labels, axis=0)
    lacking, odd = frame.copy(), frame.astype(object)
    lacking.iloc[3, 0] = np.nan
    odd.iloc[3, 0] = "good"
    for scores in (lacking, odd):
        with pytest.raises(DataError, match=rf"index {labels[3]}\b"):
            encore_ray.weigh(scores)
    with pytest.raises(DataError, match=r"row 4\b"):
        encore_ray.weigh(lacking.to_dict("list"))
