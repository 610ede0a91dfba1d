"""`encore-ray compare` : the same figures as the other passes, however the table is cut."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.cli import main
from encore_ray.composition.compare.comparison import is_of_weights
from encore_ray.composition.weigh.weights import Weights
from encore_ray.corpora.planted.corpus import planted_ratings

NUM_PAIRS = 1200


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def scheme(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in comparison["schemes"] if found["name"] == name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Planted ratings and some single responses, as one file and shuffled in four."""
    folder = tmp_path_factory.mktemp("scores")
    planted = planted_ratings("noise_and_wrong_sign", num_pairs=NUM_PAIRS, seed=4)
    columns: dict[str, Any] = {
        "pair_id": [f"pair-{row}" for row in range(NUM_PAIRS)],
        "prompt_id": [f"prompt-{row // 2}" for row in range(NUM_PAIRS)],
        "subset": [("even", "odd")[row % 2] for row in range(NUM_PAIRS)],
        "chosen_tokens": [20 + row % 3 for row in range(NUM_PAIRS)],
        "rejected_tokens": [21] * NUM_PAIRS,
    }
    single_N = np.arange(NUM_PAIRS) % 50 == 0
    for k, name in enumerate(planted.rules.names):
        columns[f"chosen__{name}"] = planted.chosen_NK[:, k]
        columns[f"rejected__{name}"] = pa.array(planted.rejected_NK[:, k], mask=single_N)
    table = pa.table(columns)
    (folder / "rules.yaml").write_text(planted.rules.to_yaml())
    pq.write_table(table, folder / "one.parquet")
    shuffled = table.take(np.random.default_rng(1).permutation(NUM_PAIRS))
    (folder / "many").mkdir()
    for number in range(4):
        pq.write_table(shuffled.slice(number * 300, 300), folder / "many" / f"part-{number}.parquet")
    return folder


@pytest.fixture(scope="module")
def compared(place: Path) -> dict[str, Any]:
    arguments = ("--scores", place / "one.parquet", "--rules", place / "rules.yaml", "--output", place / "compared")
    assert run("compare", *arguments) == 0
    return json.loads((place / "compared" / "comparison.json").read_text())


def test_cutting_and_shuffling_the_table_changes_no_bit_but_of_the_fit(
    place: Path, compared: dict[str, Any], tmp_path: Path
) -> None:
    assert run("compare", "--scores", place / "many", "--rules", place / "rules.yaml", "--output", tmp_path) == 0
    cut, compared = json.loads((tmp_path / "comparison.json").read_text()), deepcopy(compared)
    for name in ("bradley_terry", "bradley_terry_simplex"):
        here, there = scheme(compared, name), scheme(cut, name)
        assert here["weights"] == pytest.approx(there["weights"], rel=1e-9)
        assert here["heldout"] == there["heldout"]
    for content in (compared, cut):
        content["schemes"] = [found for found in content["schemes"] if not found["name"].startswith("bradley_terry")]
        content["rules"] = [{**rule, "bradley_terry_weight": None} for rule in content["rules"]]
        assert content.pop("theory_check")["pearson"] < 0
    assert cut == compared


def test_a_scheme_counts_here_what_composing_with_its_weights_counts(
    place: Path, compared: dict[str, Any], tmp_path: Path
) -> None:
    common = ("--scores", place / "one.parquet", "--rules", place / "rules.yaml")
    weights = tmp_path / "weights.json"
    assert run("weigh", *common, "--scheme", "lowest_entropy", "--output", weights) == 0
    assert run("compose", *common, "--weights", weights, "--output", tmp_path / "rewards") == 0
    assert run("evaluate", "--rewards", tmp_path / "rewards", "--output", tmp_path) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    found = scheme(compared, "lowest_entropy")
    stored = json.loads(weights.read_text())
    assert found["weights"] == {rule["name"]: rule["weight"] for rule in stored["rules"]}
    assert found["all"] == metrics["overall"]
    assert found["subsets"] == metrics["subsets"]
    baselines = {baseline["name"]: baseline["all"] for baseline in compared["baselines"]}
    assert baselines == metrics["length_baselines"]
    assert (compared["num_pairs"], compared["num_singles"]) == (1176, 24)


def test_inspect_explains_a_comparison(
    place: Path, compared: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("inspect", place / "compared" / "comparison.json") == 0
    told = capsys.readouterr().out
    assert max(len(line) for line in told.splitlines() if str(place) not in line) <= 80
    assert "bradley_terry_simplex *" in told
    assert "shorter_wins" in told
    said = " ".join(told.split())
    assert compared["verdict"] in said.replace(" - ", " ")
    assert "Rule wrong_sign agrees with" in said


@pytest.mark.usefixtures("tracked")
def test_a_comparison_is_tracked_as_a_pass_of_its_own(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    arguments = ("--scores", place / "one.parquet", "--rules", place / "rules.yaml", "--output", tmp_path / "c")
    assert run("compare", *arguments, "--temperature", "0.5", "--min-active", "0.1") == 0
    comparison = json.loads((tmp_path / "c" / "comparison.json").read_text())
    client = mlflow.MlflowClient(store)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    (nested,) = [found for found in runs if found.info.run_name.startswith("compare: ")]
    assert nested.data.metrics["accuracy/encore"] == scheme(comparison, "encore")["heldout"]["accuracy"]
    assert nested.data.params["temperature"] == "0.5"
    assert "scheme" not in nested.data.params
    stored = client.download_artifacts(nested.info.run_id, "comparison.json", str(tmp_path))
    assert json.loads(Path(stored).read_text()) == comparison


def test_a_comparison_of_other_rules_or_options_than_the_runs_weights_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores").mkdir()
    shutil.copy(place / "one.parquet", tmp_path / "scores")
    rules = (place / "rules.yaml").read_text()
    (tmp_path / "rules.yaml").write_text(rules)
    for words in (["compare"], ["weigh"], ["compare"]):
        assert run(*words, "--run", tmp_path) == 0
    comparison = (tmp_path / "comparison.json").read_bytes()
    (tmp_path / "rules.yaml").write_text(rules.replace("higher_is: better", "higher_is: worse", 1))
    for options in ([], ["--temperature", "0.5"]):
        assert run("compare", "--run", tmp_path, *options) == 2
        assert "weights.json is of other options than this comparison would be" in " ".join(
            capsys.readouterr().err.split()
        )
        assert (tmp_path / "comparison.json").read_bytes() == comparison
        (tmp_path / "rules.yaml").write_text(rules)


def test_a_comparison_belongs_to_weights_of_the_same_scores_and_options(
    place: Path, compared: dict[str, Any], tmp_path: Path
) -> None:
    def weights(*options: str) -> Weights:
        where = ("--scores", place / "one.parquet", "--rules", place / "rules.yaml", "--output", tmp_path / "w.json")
        assert run("weigh", *where, "--overwrite", *options) == 0
        return Weights.from_dict(json.loads((tmp_path / "w.json").read_text()))

    assert is_of_weights(compared, weights())
    assert is_of_weights(compared, weights("--scheme", "uniform"))  # no temperature that could differ
    assert not is_of_weights(compared, weights("--temperature", "0.5"))
    assert not is_of_weights(compared, weights("--num-bins", "5"))  # other counts
    assert not is_of_weights(compared, weights("--estimator", "miller_madow"))
    for broken in ([], {}, compared | {"rules": None}, compared | {"rules": [{}]}):
        assert not is_of_weights(broken, weights())
    turned = deepcopy(compared)
    turned["rules"][0]["higher_is"] = {"better": "worse", "worse": "better"}[turned["rules"][0]["higher_is"]]
    assert not is_of_weights(turned, weights())  # the same counts


def test_scores_that_weigh_refuses_are_refused_alike(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(place / "one.parquet")
    column = table.column("chosen__noise_3").to_numpy().copy()
    column[[3, 5]] = np.nan, 11.0
    bad = table.set_column(table.column_names.index("chosen__noise_3"), "chosen__noise_3", pa.array(column))
    pq.write_table(bad, tmp_path / "bad.parquet")
    rules = ("--rules", place / "rules.yaml", "--output", tmp_path / "c")
    assert run("compare", "--scores", tmp_path / "bad.parquet", *rules) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "Rule noise_3: 1 scores are missing or not finite (null, NaN, infinite), first pair_ids pair-3" in said
    assert " scores are out of range, first pair_ids pair-5" in said
    assert not (tmp_path / "c" / "comparison.json").exists()


def test_single_responses_alone_cannot_be_compared(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(place / "one.parquet")
    for index, name in enumerate(table.column_names):
        if name.startswith("rejected__"):
            table = table.set_column(index, name, pa.nulls(NUM_PAIRS, pa.float32()))
    pq.write_table(table, tmp_path / "singles.parquet")
    rules = ("--rules", place / "rules.yaml", "--output", tmp_path / "c")
    assert run("compare", "--scores", tmp_path / "singles.parquet", *rules) == 3
    assert "holds 1,200 single responses and no pair" in " ".join(capsys.readouterr().err.split())


def test_rewards_of_the_same_pairs_stand_beside_the_schemes(
    place: Path, compared: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = ("--scores", place / "one.parquet", "--rules", place / "rules.yaml")
    assert run("weigh", *scores, "--output", tmp_path / "w.json") == 0
    assert run("compose", *scores, "--weights", tmp_path / "w.json", "--output", tmp_path / "rewards") == 0
    beside = ("--beside", f"mine={tmp_path}/rewards", "--output", tmp_path / "c")
    assert run("compare", *scores, *beside) == 0
    found = json.loads((tmp_path / "c" / "comparison.json").read_text())
    (mine,) = found.pop("beside")
    assert {key: mine[key] for key in ("all", "heldout", "subsets")} == {
        key: scheme(compared, "encore")[key] for key in ("all", "heldout", "subsets")
    }
    assert found["schemes"] == compared["schemes"]
    assert "rewards made elsewhere" in (tmp_path / "c" / "report" / "report.html").read_text()

    renamed = pq.read_table(place / "one.parquet")
    other = pa.array([f"other-{row}" for row in range(NUM_PAIRS)])
    pq.write_table(renamed.set_column(0, "pair_id", other), tmp_path / "other.parquet")
    scores = ("--scores", tmp_path / "other.parquet", "--rules", place / "rules.yaml")
    assert run("compare", *scores, *beside) == 2  # of another table than the one that stands
    assert run("compare", *scores, *beside, "--overwrite") == 3
    assert "has rewards of none of the pairs" in " ".join(capsys.readouterr().err.split())
    assert run("compare", *scores, "--beside", f"mine={place}/one.parquet", "--output", tmp_path / "d") == 3
    assert "holds no rewards. Expected chosen_reward and rejected_reward" in " ".join(capsys.readouterr().err.split())
    assert run("compare", *scores, "--beside", "rewards", "--output", tmp_path / "c") == 2
    assert "expected NAME=REWARDS" in " ".join(capsys.readouterr().err.split())
