"""Scores made elsewhere, through the command line: the same weights to the last bit, however the table is cut."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.cli import main
from encore_ray.folder.driver.lock import only_driver
from encore_ray.storage import Folder
from tests.passes import jobs

NUM_PAIRS = 600
RULES = """
- {name: kind, text: Is kind., higher_is: better, scale: {lo: 0, hi: 1}}
- {name: harm, text: Does harm., higher_is: worse, scale: {lo: 0, hi: 1}}
- {name: level, text: Rated., higher_is: better, scale: {levels: [0, 0.25, 0.5, 0.75, 1]}}
"""


def scores() -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {
        "pair_id": [f"pair-{i}" for i in range(NUM_PAIRS)],
        "prompt_id": [f"prompt-{i % 200}" for i in range(NUM_PAIRS)],
    }
    for side in ("chosen", "rejected"):
        columns[f"{side}__kind"] = rng.beta(2, 3, NUM_PAIRS).astype(np.float32)
        columns[f"{side}__harm"] = rng.random(NUM_PAIRS).astype(np.float32)
        columns[f"{side}__level"] = (rng.integers(0, 5, NUM_PAIRS) / 4).astype(np.float32)
    return pa.table({**columns, "subset": ["even", "odd"] * (NUM_PAIRS // 2)})


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as one file, as seven files in another order, and as one file of many row groups."""
    folder = tmp_path_factory.mktemp("scores")
    table = scores()
    (folder / "rules.yaml").write_text(RULES)
    pq.write_table(table, folder / "one.parquet")
    pq.write_table(table, folder / "groups.parquet", row_group_size=17)
    shuffled = table.take(np.random.default_rng(1).permutation(NUM_PAIRS))
    (folder / "many").mkdir()
    for number, start in enumerate(range(0, NUM_PAIRS, 90)):
        pq.write_table(shuffled.slice(start, 90), folder / "many" / f"part-{number}.parquet")
    return folder


@pytest.fixture(scope="module")
def weights(place: Path) -> bytes:
    assert (
        run("weigh", "--scores", place / "one.parquet", "--rules", place / "rules.yaml", "--output", place / "w.json")
        == 0
    )
    return (place / "w.json").read_bytes()


@pytest.mark.parametrize("table", ["many", "groups.parquet"])
def test_cutting_and_shuffling_the_table_leaves_the_weights_bit_identical(
    place: Path, weights: bytes, table: str, tmp_path: Path
) -> None:
    output = tmp_path / "weights.json"
    assert run("weigh", "--scores", place / table, "--rules", place / "rules.yaml", "--output", output) == 0
    assert output.read_bytes() == weights


def test_foreign_scores_are_composed_and_evaluated(place: Path, weights: bytes, tmp_path: Path) -> None:
    rewards, evaluated = tmp_path / "rewards", tmp_path / "evaluated"
    common = ("--scores", place / "many", "--rules", place / "rules.yaml")
    assert run("compose", *common, "--weights", place / "w.json", "--output", rewards) == 0
    assert run("evaluate", "--rewards", rewards, "--output", evaluated) == 0
    table = jobs.table(rewards)
    assert sorted(table.column("pair_id").to_pylist()) == sorted(scores().column("pair_id").to_pylist())
    metrics = json.loads((evaluated / "metrics.json").read_text())
    margin = table.column("margin").to_numpy()
    assert metrics["overall"]["wins"] == int((margin > 1e-12).sum())
    assert {name: subset["num_pairs"] for name, subset in metrics["subsets"].items()} == {"even": 300, "odd": 300}
    assert metrics["length_baselines"] == {"shorter_wins": None, "longer_wins": None}
    assert (rewards / "weights.json").read_bytes() == weights
    # 200 distinct prompts, not 600 pairs, make the interval: half-width 1.96 sqrt(.25 / 200) = .069, not .040.
    assert metrics["overall"]["accuracy_high"] - metrics["overall"]["accuracy_low"] == pytest.approx(0.137, abs=0.005)


@pytest.mark.parametrize("table", ["one.parquet", "many"])
def test_a_rules_yaml_beside_the_scores_need_not_be_named(
    place: Path, weights: bytes, table: str, tmp_path: Path
) -> None:
    """In the folder of the file, or in the one that holds the folder of the files."""
    assert run("weigh", "--scores", place / table, "--output", tmp_path / "weights.json") == 0
    assert (tmp_path / "weights.json").read_bytes() == weights


def test_scores_without_any_rules_are_composed_by_those_of_the_weights(
    place: Path, weights: bytes, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bare = tmp_path / "elsewhere" / "scores"
    bare.mkdir(parents=True)
    shutil.copy(place / "one.parquet", bare / "one.parquet")
    for scores, rules, output in (
        (place / "one.parquet", ("--rules", place / "rules.yaml"), "told"),
        (bare, (), "known"),
    ):
        common = ("--weights", place / "w.json", "--output", tmp_path / output)
        assert run("compose", "--scores", scores, *rules, *common) == 0
    assert jobs.table(tmp_path / "known").equals(jobs.table(tmp_path / "told"))
    # Where rules stand beside the scores, these count: others than those of the weights are told apart.
    (bare / "rules.yaml").write_text(RULES.replace("kind", "care"))
    assert run("compose", "--scores", bare, "--weights", place / "w.json", "--output", tmp_path / "other") == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "has no scores of care. It has scores of kind, harm, level." in told
    assert f"The rules are those of {bare}/rules.yaml: --rules names others." in told


def test_scores_out_of_scale_are_counted_where_they_are_composed(
    place: Path, weights: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = scores()
    column = next(name for name in table.column_names if name.startswith("chosen__"))
    spoilt = [99.0, -99.0, *table.column(column).to_pylist()[2:]]
    index = table.column_names.index(column)
    pq.write_table(table.set_column(index, column, pa.array(spoilt, pa.float32())), tmp_path / "spoilt.parquet")
    (tmp_path / "weights.json").write_bytes(weights)
    words = ("--scores", tmp_path / "spoilt.parquet", "--weights", tmp_path / "weights.json")
    assert run("compose", *words, "--output", tmp_path / "rewards") == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "2 scores lie outside of their rule's scale and count as they are" in said


def test_named_responses_of_rewardbench_2_are_evaluated_by_group(place: Path, tmp_path: Path) -> None:
    # Focus: .9 beats .1 and .2 (1), .5 ties with one of two (1/2); Ties: spread .25, gap .25, gap of the reference .5.
    groups = {
        "1": ("Focus", [0.9], [0.1, 0.2]),
        "2": ("Focus", [0.5], [0.5, 0.2]),
        "tied:7": ("Ties", [1.0, 0.75], [0.5, 0.0]),
        "ref:7": ("Ties", [0.75], [0.25, 0.0]),
    }
    rows = [
        {
            "pair_id": f"{group_id}:{i}", "group_id": group_id, "subset": subset,
            "chosen_response_id": f"c{i % len(correct)}", "rejected_response_id": f"r{i}",
            **{f"chosen__{rule}": correct[i % len(correct)] for rule in ("kind", "level")},
            **{f"rejected__{rule}": wrong[i] for rule in ("kind", "level")},
            "chosen__harm": 0.5, "rejected__harm": 0.5,
        }
        for group_id, (subset, correct, wrong) in groups.items()
        for i in range(2)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "scores.parquet")
    common = ("--scores", tmp_path / "scores.parquet", "--rules", place / "rules.yaml")
    weights, rewards = tmp_path / "w.json", tmp_path / "rewards"
    assert run("weigh", *common, "--scheme", "uniform", "--output", weights) == 0
    assert run("compose", *common, "--weights", weights, "--output", rewards) == 0
    assert run("evaluate", "--rewards", rewards, "--output", tmp_path) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())["rewardbench_2"]
    assert found["focus"] == 0.75
    # All accurate; a gap no larger than the spread is not preferred; tanh(.25 / .25 - 1) = 0.
    assert found["ties"] == pytest.approx(0.6, abs=1e-9)
    assert found["math"] is None


def test_other_weights_are_not_replaced_unasked(place: Path, weights: bytes, capsys: pytest.CaptureFixture) -> None:
    again = ("weigh", "--scores", place / "one.parquet", "--rules", place / "rules.yaml", "--output", place / "w.json")
    assert run(*again) == 0
    assert run(*again, "--temperature", "1") == 2
    assert "temperature was 2.0, is 1.0" in " ".join(capsys.readouterr().err.split())
    assert (place / "w.json").read_bytes() == weights


def test_bad_scores_end_with_the_rule_the_count_and_the_ids(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = scores()
    column = table.column("chosen__harm").to_numpy().copy()
    column[[3, 5]] = np.nan, 1.5
    table = table.set_column(table.column_names.index("chosen__harm"), "chosen__harm", pa.array(column))
    pq.write_table(table, tmp_path / "bad.parquet")
    weigh = (
        "weigh",
        "--scores",
        tmp_path / "bad.parquet",
        "--rules",
        place / "rules.yaml",
        "--output",
        tmp_path / "w.json",
    )
    assert run(*weigh) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "harm" in said
    assert "pair-3" in said
    assert "pair-5" in said
    assert not (tmp_path / "w.json").exists()


def test_observed_bins_are_possible_and_only_when_asked_for(place: Path, weights: bytes, tmp_path: Path) -> None:
    output = tmp_path / "weights.json"
    options = ("--edges", "observed", "--num-bins", "10")
    assert (
        run("weigh", "--scores", place / "one.parquet", "--rules", place / "rules.yaml", "--output", output, *options)
        == 0
    )
    binnings = [rule["binning"] for rule in json.loads(output.read_text())["rules"]]
    table = scores()
    low = min(table.column(f"{side}__kind").to_numpy().min() for side in ("chosen", "rejected"))
    assert binnings[0] == {"kind": "bins", "lo": float(low), "hi": pytest.approx(1, abs=0.2), "num_bins": 10}
    assert json.loads(weights)["rules"][0]["binning"] == {"kind": "bins", "lo": 0.0, "hi": 1.0, "num_bins": 20}


def test_a_damaged_copy_of_the_weights_is_of_no_weights_and_made_again(place: Path, tmp_path: Path) -> None:
    """`weigh` ended at it, and said nothing of what to do."""
    shutil.copytree(place / "many", tmp_path / "scores")
    shutil.copy(place / "rules.yaml", tmp_path / "rules.yaml")
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "weights.json").write_text("{")
    (tmp_path / "rewards" / "_SUCCESS").touch()
    assert run("weigh", "--run", tmp_path) == 0
    assert not (tmp_path / "rewards" / "_SUCCESS").exists()


def test_one_command_at_a_time_composes_into_a_folder(
    place: Path, weights: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --overwrite a second one deleted what the first had sealed and said was done."""
    common = ("--scores", place / "many", "--weights", place / "w.json", "--output", tmp_path / "rewards")
    with only_driver(Folder(str(tmp_path / "rewards"))):
        assert run("compose", *common, "--overwrite") == 2
    assert "Another process works on" in capsys.readouterr().err
    assert run("compose", *common) == 0  # the lock that stands there is nobody's
