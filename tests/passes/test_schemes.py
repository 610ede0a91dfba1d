"""Every scheme through the command line, on scores made elsewhere: fitted weights, and weights of each subset."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import encore_ray
from encore_ray.cli import main
from encore_ray.composition.hashing.keys import is_heldout
from encore_ray.composition.measure.differences import RuleAgreement, signed_differences
from encore_ray.composition.weigh.bradley_terry import Terms, fit
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import WeighOptions
from encore_ray.engine.base import Engine
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.pools import Node, Resources
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import DataError
from encore_ray.folder.reading.tables import table_units
from encore_ray.passes.bradley_terry import fit_bradley_terry, measure_agreement
from encore_ray.passes.weigh import weigh_units
from encore_ray.rules import RuleSet
from tests.passes import jobs

NUM_PAIRS = 900
RULES = RuleSet.from_yaml("""
- {name: kind, text: Is kind., higher_is: better, scale: {lo: 0, hi: 1}}
- {name: harm, text: Does harm., higher_is: worse, scale: {lo: 0, hi: 1}}
- {name: level, text: Rated., higher_is: better, scale: {levels: [0, 0.25, 0.5, 0.75, 1]}}
- {name: noise, text: Is noise., higher_is: worse, scale: {lo: 0, hi: 1}}
""")


def scores() -> pa.Table:
    """Chosen responses are a little kinder and better rated; every ninth row is a single response."""
    rng = np.random.default_rng(4)
    columns: dict[str, Any] = {
        "pair_id": [f"pair-{i}" for i in range(NUM_PAIRS)],
        "prompt_id": [f"prompt-{i % 300}" for i in range(NUM_PAIRS)],
        "subset": [("even", "odd", None)[i % 3] for i in range(NUM_PAIRS)],
    }
    single_N = np.arange(NUM_PAIRS) % 9 == 0
    for side, shift in (("chosen", 1), ("rejected", 0)):
        found = {
            "kind": rng.beta(2 + shift, 3, NUM_PAIRS),
            "harm": rng.beta(2, 2 + shift, NUM_PAIRS),
            "level": np.minimum(rng.integers(0, 4, NUM_PAIRS) + shift * rng.integers(0, 2, NUM_PAIRS), 4) / 4,
            "noise": rng.random(NUM_PAIRS),
        }
        for name, score_N in found.items():
            mask = single_N if side == "rejected" else None
            columns[f"{side}__{name}"] = pa.array(score_N.astype(np.float32), mask=mask)
    return pa.table(columns)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows in three cuts: one file, one of many row groups, and seven files in another order."""
    folder = tmp_path_factory.mktemp("schemes")
    table = scores()
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    pq.write_table(table, folder / "one.parquet")
    (folder / "groups").mkdir()
    for number, start in enumerate(range(0, NUM_PAIRS, 60)):
        pq.write_table(table.slice(start, 60), folder / "groups" / f"part-{number:02d}.parquet")
    shuffled = table.take(np.random.default_rng(1).permutation(NUM_PAIRS))
    (folder / "many").mkdir()
    for number, start in enumerate(range(0, NUM_PAIRS, 130)):
        pq.write_table(shuffled.slice(start, 130), folder / "many" / f"part-{number}.parquet")
    return folder


def differences() -> np.ndarray:
    """Signed differences of the calibration pairs, read straight from the table."""
    table = scores()
    keys = table.column("prompt_id").to_pylist()
    row_N = table.column("rejected__kind").is_valid().to_numpy() & ~is_heldout(keys)
    sides = [
        [table.column(f"{side}__{name}").to_numpy()[row_N] for name in RULES.names] for side in ("chosen", "rejected")
    ]
    return signed_differences(*sides, rules=RULES, score_range="declared")


def weigh(place: Path, output: Path, *words: object, table: str = "many", code: int = 0) -> dict[str, Any]:
    command = ["weigh", "--scores", place / table, "--rules", place / "rules.yaml", "--output", output, *words]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in command])
    assert int(ended.value.code or 0) == code
    return json.loads(output.read_bytes()) if code == 0 else {}


@pytest.mark.parametrize("table", ["one.parquet", "groups", "many"])
def test_a_table_is_fitted_as_its_pairs_at_once_however_it_is_cut(place: Path, table: str) -> None:
    d_KN = differences()
    expected = fit(lambda points: [Terms.of(d_KN, w) for w in points], num_rules=len(RULES))
    units = table_units(str(place / table))
    found = fit_bradley_terry(units, RULES, Reducer(LocalEngine()), score_range="declared")
    assert found.num_pairs == expected.num_pairs == d_KN.shape[1]
    assert found.free.is_exact
    assert found.simplex.is_exact
    for simplex in (False, True):
        assert found.weights[simplex] == pytest.approx(expected.weights[simplex], abs=1e-9)
    assert 0.0 in found.simplex.weight_K  # of the noise


def test_the_number_of_workers_changes_no_bit_of_a_fit(place: Path, ray_engine: RayEngine) -> None:
    units = table_units(str(place / "groups"))
    # One CPU: other tasks, of other numbers of units, one after another.
    resources = [Resources((Node(cpus, 0.0),)) for cpus in (1.0, 3.0)]
    engines: list[Engine] = [ray_engine, replace(ray_engine, resources=resources[0]), *map(LocalEngine, resources)]
    fits = [fit_bradley_terry(units, RULES, Reducer(engine), score_range="declared") for engine in engines]
    assert all(fit == fits[0] for fit in fits)


def test_rules_alone_are_evaluated_on_the_calibration_pairs(place: Path) -> None:
    units = table_units(str(place / "many"))
    found = measure_agreement(units, RULES, Reducer(LocalEngine()), score_range="declared")
    assert found == RuleAgreement.of(differences(), rules=RULES, score_range="declared")


def test_learned_weights_are_stored_with_their_number_of_pairs(place: Path, tmp_path: Path) -> None:
    free = weigh(place, tmp_path / "free.json", "--scheme", "bradley_terry")
    assert (free["scheme"], free["uses_labels"]) == ("bradley_terry", True)
    assert free["num_calibration_pairs"] == differences().shape[1]
    assert any("calibration pairs" in warning for warning in free["warnings"])
    simplex = weigh(place, tmp_path / "simplex.json", "--scheme", "bradley_terry_simplex")
    assert sum(rule["weight"] for rule in simplex["rules"]) == pytest.approx(1, abs=1e-12)
    best = weigh(place, tmp_path / "best.json", "--scheme", "best_single")
    accuracy_K = RuleAgreement.of(differences(), rules=RULES, score_range="declared").accuracy_K
    assert accuracy_K is not None
    top = RULES.names[int(np.argmax(accuracy_K))]
    assert {rule["name"]: rule["weight"] for rule in best["rules"] if rule["weight"]} == {top: 1.0}


def test_negative_weights_compose_and_evaluate(place: Path, tmp_path: Path) -> None:
    weights = weigh(place, tmp_path / "w.json", "--scheme", "bradley_terry")
    weight_K = np.array([rule["weight"] for rule in weights["rules"]])
    rewards = compose(place, tmp_path)
    table = scores()
    margins = dict(zip(rewards.column("pair_id").to_pylist(), rewards.column("margin").to_pylist(), strict=True))
    first = table.slice(1, 1).to_pylist()[0]
    d_K = [rule.polarity * (first[f"chosen__{rule.name}"] - first[f"rejected__{rule.name}"]) for rule in RULES]
    assert margins["pair-1"] == pytest.approx(weight_K @ d_K, abs=1e-12)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--rewards", str(tmp_path / "rewards"), "--output", str(tmp_path / "evaluated")])
    assert not ended.value.code
    metrics = json.loads((tmp_path / "evaluated" / "metrics.json").read_bytes())
    assert metrics["overall"]["accuracy"] > 0.6


def compose(place: Path, folder: Path) -> pa.Table:
    command = ["compose", "--scores", place / "many", "--rules", place / "rules.yaml", "--weights", folder / "w.json"]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in [*command, "--output", folder / "rewards"]])
    assert not ended.value.code
    return jobs.table(folder / "rewards")


def test_subsets_are_composed_by_weights_of_their_own(place: Path, tmp_path: Path) -> None:
    weights = weigh(place, tmp_path / "w.json", "--by-group", "--temperature", "0.2")
    assert set(weights["groups"]) == {"even", "odd"}
    rewards = compose(place, tmp_path)
    table = scores()
    row_of = {pair_id: row for row, pair_id in enumerate(table.column("pair_id").to_pylist())}
    by_rule = {rule["name"]: rule["weight"] for rule in weights["rules"]}
    chosen = {name: table.column(f"chosen__{name}").to_numpy() for name in RULES.names}
    for pair_id, subset, reward in zip(
        *(rewards.column(name).to_pylist() for name in ("pair_id", "subset", "chosen_reward")), strict=True
    ):
        own = weights["groups"][subset]["weights"] if subset else by_rule
        expected = sum(own[rule.name] * rule.polarity * float(chosen[rule.name][row_of[pair_id]]) for rule in RULES)
        assert reward == pytest.approx(expected, abs=1e-12)
    commits = [json.loads(path.read_bytes()) for path in (tmp_path / "rewards" / "commits").glob("*.json")]
    assert sum(commit["counts"]["without_group"] for commit in commits) == NUM_PAIRS / 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scheme", "max_discrepancy"], "gives margins and no reward of a response; `encore-ray compare`"),
        (["--scheme", "encore_max_discrepancy"], "gives margins and no reward"),
        (["--scheme", "single"], "scheme single needs the name of its rule"),
        (["--rule", "kind"], "no other scheme has one"),
        (["--num-rules", "3"], "num_rules belongs to scheme lowest_entropy; encore would weigh all rules"),
        (["--scheme", "uniform", "--by-group"], "by_group needs a scheme that weighs by entropy"),
        (["--scheme", "single", "--rule", "nobody"], "weigh.rule names 'nobody'; rules that can have a weight: kind,"),
        (["--scheme", "lowest_entropy"], "lowest_entropy keeps 5 rules, of 4 that can have a weight"),
    ],
)
def test_options_that_cannot_be_met_are_the_users_mistake(
    place: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weigh(place, tmp_path / "w.json", *words, code=2)
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "w.json").exists()


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["lowest_entropy", "--num-rules", "2"], {"num_rules": 2}),
        (["random", "--seed", "3"], {"seed": 3, "draw": 0}),
        (["single", "--rule", "harm"], {"rule": "harm"}),
        (["inverse_variance"], {}),
        (["consensus"], {"force_consensus": False}),
        (["consensus_encore", "--force-consensus"], {"force_consensus": True}),
        (["one_minus_entropy", "--by-group"], {"by_group": True}),
    ],
)
def test_a_scheme_is_stored_with_its_own_options(
    place: Path, tmp_path: Path, words: list[str], params: dict[str, Any]
) -> None:
    weights = weigh(place, tmp_path / "w.json", "--scheme", *words)
    assert weights["scheme"] == words[0]
    shared = {"estimator": "plugin", "score_range": "declared", "min_active": None, "clip": False}
    assert weights["params"] == shared | params
    assert weights["uses_labels"] is False
    # the same command again finds its own weights; another scheme there is refused
    weigh(place, tmp_path / "w.json", "--scheme", *words)
    weigh(place, tmp_path / "w.json", "--scheme", "uniform", code=2)


OF_BEFORE = '{"schema_version": 1, "scheme": "encore", "rules": []}'


def test_weights_that_are_not_whole_are_replaced_only_on_demand(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.json").write_text(OF_BEFORE)
    weigh(place, tmp_path / "w.json", code=2)
    assert "holds no whole weights of this version to compare with. Name another file, or replace it:" in " ".join(
        capsys.readouterr().err.split()
    )
    assert (tmp_path / "w.json").read_text() == OF_BEFORE
    assert weigh(place, tmp_path / "w.json", "--overwrite")["scheme"] == "encore"


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
@pytest.mark.parametrize("content", ["{", "[]", "[{}]", "3", '{"schema_version": 2, "rules": []}', "a,b\n1,2\n"])
def test_a_file_that_is_no_weights_is_never_replaced(
    place: Path, tmp_path: Path, content: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.json").write_text(content)
    weigh(place, tmp_path / "w.json", *words, code=2)
    told = " ".join(capsys.readouterr().err.split())
    assert "is no weights file: it is not replaced. Name another file, or move it away." in told
    assert "--overwrite" not in told
    assert (tmp_path / "w.json").read_text() == content


def test_results_go_where_a_folder_or_file_can_be(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weigh(place, tmp_path, code=2)  # a folder, where a file is expected
    assert f"{tmp_path} is a folder. Name a file for the weights." in " ".join(capsys.readouterr().err.split())
    (tmp_path / "file").write_text("mine")
    weigh(place, tmp_path / "file" / "w.json", code=2)  # a file, where a folder is expected
    assert f"Cannot reach or write {tmp_path}/file" in " ".join(capsys.readouterr().err.split())


def test_weights_by_consensus_are_the_same_to_the_last_bit_however_the_table_is_cut(
    place: Path, tmp_path: Path, ray_engine: RayEngine
) -> None:
    options = WeighOptions(scheme="consensus", force_consensus=True)
    found = [
        weigh_units(table_units(str(place / table)), RULES, options, Reducer(engine)).to_dict()
        for table in ("one.parquet", "groups", "many")
        for engine in (LocalEngine(), ray_engine)
    ]
    found.append(weigh(place, tmp_path / "w.json", "--scheme", "consensus", "--force-consensus"))
    found.append(encore_ray.weigh(scores(), RULES, options=options).weights.to_dict())
    assert found == [found[0]] * 8
    assert found[0]["explained"] is not None


def test_weights_by_consensus_say_what_they_rest_on(place: Path, tmp_path: Path) -> None:
    weights = weigh(place, tmp_path / "w.json", "--scheme", "consensus")
    assert (weights["trusted"], weights["num_groups"], len(weights["groups"])) == (False, 4, 4)
    assert [rule["weight"] for rule in weights["rules"]] == [0.25] * 4
    assert all(-1 < rule["loading"] < 1 for rule in weights["rules"])
    assert set(weights["subsets"]) == {"even", "odd"}  # whose entropies stand under groups elsewhere
    [said] = [warning for warning in weights["warnings"] if "groups of rules differ" in warning]
    assert "4 groups of rules differ, which is not enough (it takes 5" in said
    forced = weigh(place, tmp_path / "f.json", "--scheme", "consensus", "--force-consensus")
    assert len({rule["weight"] for rule in forced["rules"]}) > 1
    assert any("were forced all the same" in warning for warning in forced["warnings"])


def test_weights_by_consensus_compose(place: Path, tmp_path: Path) -> None:
    weights = weigh(place, tmp_path / "w.json", "--scheme", "consensus", "--force-consensus")
    margin_N = compose(place, tmp_path).column("margin").drop_null().to_numpy()
    assert len(margin_N) == weights["num_pairs"]


def test_single_responses_to_one_prompt_tell_the_consensus_of_rules(tmp_path: Path) -> None:
    table = scores()
    single = {name: table.column(name) for name in table.column_names if not name.startswith("rejected__")}
    nothing = pa.nulls(NUM_PAIRS, pa.float32())
    answers = pa.table(single | {f"rejected__{name}": nothing for name in RULES.names})
    by_consensus = encore_ray.weigh(answers, RULES, options={"scheme": "consensus"}).weights.to_dict()
    assert by_consensus["consensus"]["num_pairs"] == 300 * 3  # three responses a prompt, three pairs of them
    # whatever weighs the rules, what can be told of them without a label is told
    assert encore_ray.weigh(answers, RULES).weights.to_dict()["consensus"] == by_consensus["consensus"]
    alone = answers.drop_columns(["prompt_id"])
    assert encore_ray.weigh(alone, RULES).weights.consensus is None
    with pytest.raises(DataError, match="needs pairs, or several responses to one prompt"):
        encore_ray.weigh(alone, RULES, options={"scheme": "consensus"})


def test_single_responses_that_stand_in_several_units_are_not_compared_and_that_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    score_KN = np.clip(0.5 + 0.1 * (rng.normal(size=600) + rng.normal(size=(6, 600))), 0, 1).astype(np.float32)
    columns = {f"chosen__r{k}": score_N for k, score_N in enumerate(score_KN)}
    columns |= {f"rejected__r{k}": pa.nulls(600, pa.float32()) for k in range(6)}
    ids = {"pair_id": [f"s{row}" for row in range(600)], "prompt_id": [f"p{row // 3}" for row in range(600)]}
    table = pa.table(ids | columns)

    def weighed(name: str, cuts: list[pa.Table]) -> Weights:
        (tmp_path / name).mkdir()
        for number, part in enumerate(cuts):
            pq.write_table(part, tmp_path / name / f"{number}.parquet")
        return encore_ray.weigh(tmp_path / name, [f"r{k}" for k in range(6)]).weights

    by_prompt = weighed("sorted", [table.slice(start, 150) for start in range(0, 600, 150)])
    assert by_prompt == encore_ray.weigh(table).weights  # whole prompts: as in one piece
    assert by_prompt.consensus is not None and by_prompt.consensus.num_pairs == 200 * 3
    assert not any("several units" in warning for warning in by_prompt.warnings)
    halves = weighed("halves", [table.slice(0, 301), table.slice(301)])  # one prompt is cut in 1 and 2 responses
    assert halves.consensus is not None and halves.consensus.num_pairs == 199 * 3 + 1
    assert any("Those to 0.5% of the prompts stand in several units" in warning for warning in halves.warnings)
    dealt = weighed("dealt", [table.take(list(range(start, 600, 3))) for start in range(3)])
    assert dealt.consensus is None
    assert any("Those to 100.0% of the prompts stand in several units" in warning for warning in dealt.warnings)


def test_a_second_table_of_ratings_gives_the_entropies(place: Path, tmp_path: Path) -> None:
    ratings = scores().take(np.arange(500))
    (tmp_path / "rated").mkdir()
    pq.write_table(ratings, tmp_path / "rated" / "ratings.parquet")
    (tmp_path / "rated" / "rules.yaml").write_text(RuleSet(RULES[::-1]).to_yaml())  # in another order
    by_ratings = weigh(place, tmp_path / "w.json", "--ratings", tmp_path / "rated")
    of_ratings, of_scores = (encore_ray.weigh(table, RULES).weights.to_dict() for table in (ratings, scores()))
    figures = ("entropy", "weight")
    assert [[rule[key] for key in figures] for rule in by_ratings["rules"]] == [
        [rule[key] for key in figures] for rule in of_ratings["rules"]
    ]
    # all else is of the scores, whose own entropies and weights stand beside
    assert by_ratings["counts_sha256"] == of_scores["counts_sha256"]
    assert [rule["accuracy"] for rule in by_ratings["rules"]] == [rule["accuracy"] for rule in of_scores["rules"]]
    beside = by_ratings["ratings"]["by_scores"]
    assert beside["entropies"] == {rule["name"]: rule["entropy"] for rule in of_scores["rules"]}
    assert beside["weights"] == {rule["name"]: rule["weight"] for rule in of_scores["rules"]}
    assert by_ratings["ratings"]["counts_sha256"] == of_ratings["counts_sha256"]
    weigh(place, tmp_path / "w.json", code=2)  # weights by the scores' entropies are others


def test_encore_competes_by_the_entropies_of_ratings_too(place: Path, tmp_path: Path) -> None:
    pq.write_table(scores().take(np.arange(500)), tmp_path / "ratings.parquet")
    options = {"ratings": str(tmp_path / "ratings.parquet")}
    compared = encore_ray.compare(scores(), RULES, options=options)
    lines = {line.name: line for line in compared.comparison.schemes}
    by_ratings = encore_ray.weigh(scores(), RULES, options=options).weights
    assert lines["encore_by_ratings"].weights == {rule.name: rule.weight for rule in by_ratings.rules}
    assert by_ratings.rated is not None
    assert lines["encore"].weights == by_ratings.rated.weights
    assert {"consensus", "consensus_encore", "encore", "encore_by_ratings"} <= {*compared.to_pandas()["scheme"]}


def test_ratings_that_cannot_weigh_are_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rated").mkdir()
    pq.write_table(scores(), tmp_path / "rated" / "ratings.parquet")
    (tmp_path / "rated" / "rules.yaml").write_text(RuleSet(RULES[:2]).to_yaml())
    weigh(place, tmp_path / "w.json", "--ratings", tmp_path / "rated", code=3)
    assert "has no rule level, noise, of which there are scores" in " ".join(capsys.readouterr().err.split())
    weigh(place, tmp_path / "w.json", "--ratings", tmp_path / "rated", "--scheme", "uniform", code=2)
    assert "ratings belongs to schemes that weigh by entropy" in " ".join(capsys.readouterr().err.split())
    wide = scores()
    columns = [name for name in wide.column_names if "__" in name]
    for name in columns:
        wide = wide.set_column(wide.column_names.index(name), name, pc.add(wide.column(name), np.float32(4)))
    pq.write_table(wide, tmp_path / "wide.parquet")
    for command in (encore_ray.weigh, encore_ray.compare):
        with pytest.raises(DataError, match=r"(?s)weigh\.ratings, .*wide\.parquet: Rule .* out of .*a rules\.yaml"):
            command(scores(), RULES, options={"ratings": str(tmp_path / "wide.parquet")})
    weigh(place, tmp_path / "w.json", "--ratings", tmp_path / "nothing", code=2)
