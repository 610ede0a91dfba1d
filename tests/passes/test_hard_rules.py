"""Vetoes and points from rules.yaml to every file that tells of rewards: commands, functions and exports."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encore_ray
from encore_ray.cli import main
from encore_ray.composition.measure.vetoes import BrokenRules
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.reading.vetoes import decided_pairs, read_vetoes, veto_columns
from encore_ray.passes.compose import Compose
from encore_ray.passes.export.rewards import export_rewards
from encore_ray.passes.export.selection import export_selection
from encore_ray.passes.external_rewards import open_rewards, other_margins
from encore_ray.passes.selection.select import SelectionMethod, _Select, _Sources
from encore_ray.rules import Rule, RuleSet, Scale, Veto
from encore_ray.schema import MESSAGES
from encore_ray.storage import Folder
from tests.passes import jobs
from tests.passes.doing import do
from tests.passes.selectable import RULES as PLANTED
from tests.passes.selectable import SINGLE, UNIT_PAIRS, seal, units, with_rules, write_run

NUM_PAIRS = 600
UNIT = Scale(0.0, 1.0)
RULES = RuleSet(
    [
        Rule("kind", "Is kind.", "better", UNIT, points=2.0),
        Rule("safe", "Is safe.", "better", UNIT, veto=Veto("below", 0.3)),
        Rule("harm", "Harms.", "worse", UNIT, veto=Veto("above", 0.8)),
    ]
)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Every 50th row is a single response; scores are of float32, as stored."""
    rng = np.random.default_rng(5)
    single_N = np.arange(NUM_PAIRS) % 50 == 0
    columns: dict[str, Any] = {
        "pair_id": [f"p{row}" for row in range(NUM_PAIRS)],
        "subset": [("a", "b", None)[row % 3] for row in range(NUM_PAIRS)],
    }
    for rule in RULES:
        for side, sign in (("chosen", rule.polarity), ("rejected", -rule.polarity)):
            score_N = np.clip(0.5 + 0.05 * sign + rng.normal(0, 0.2, NUM_PAIRS), 0, 1).astype(np.float32)
            columns[f"{side}__{rule.name}"] = pa.array(score_N, mask=single_N if side == "rejected" else None)
    return pa.table(columns)


@pytest.fixture(scope="module")
def place(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands make of the table as a folder of three files."""
    place = tmp_path_factory.mktemp("hard")
    (place / "scores").mkdir()
    for part in range(3):
        pq.write_table(table.slice(200 * part, 200), place / "scores" / f"{part}.parquet")
    (place / "rules.yaml").write_text(RULES.to_yaml())
    return place


def command(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert not ended.value.code


@pytest.fixture(scope="module")
def told(place: Path) -> str:
    """What the commands print, once they have made everything."""
    scores = ("--scores", str(place / "scores"), "--rules", str(place / "rules.yaml"), "--engine", "local")
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        patch.setenv("COLUMNS", "200")
        command("weigh", *scores, "--output", str(place / "weights.json"))
        command("compose", *scores, "--weights", str(place / "weights.json"), "--output", str(place / "rewards"))
        command("evaluate", "--rewards", str(place / "rewards"), "--output", str(place), "--engine", "local")
        command("compare", *scores, "--output", str(place))
    return shown.getvalue()


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def decided_by_hand(table: pa.Table) -> list[int]:
    """1 where only the rejected response is under .3 of safe or over .8 of harm, -1 where only the chosen is."""
    rows = table.to_pylist()
    breaks = [
        [
            row[f"{side}__safe"] is not None and (row[f"{side}__safe"] < 0.3 or row[f"{side}__harm"] > np.float32(0.8))
            for row in rows
        ]
        for side in ("chosen", "rejected")
    ]
    single = [row["rejected__safe"] is None for row in rows]
    return [0 if alone else int(b) - int(a) for a, b, alone in zip(*breaks, single, strict=True)]


def test_the_functions_make_what_the_commands_make(table: pa.Table, place: Path, told: str) -> None:
    weights = encore_ray.weigh(table, RULES)
    assert weights.weights.to_dict() == read(place / "weights.json")
    made, stored = encore_ray.compose(table, weights).table, jobs.table(place / "rewards")
    for name in ("chosen_reward", "rejected_reward", "margin", "chosen_vetoes", "rejected_vetoes"):
        assert made[name].to_pylist() == stored[name].to_pylist(), name
    stored = read(place / "comparison.json")
    assert json.loads(encore_ray.compare(place / "scores", RULES).comparison.to_json()) == stored
    compared = json.loads(encore_ray.compare(table, RULES).comparison.to_json())  # a fit in other units: other digits
    assert compared["decided_by_veto"] == stored["decided_by_veto"]
    for one, other in zip(compared["schemes"], stored["schemes"], strict=True):
        assert one["uses_labels"] or one == other
    assert [*weights.to_pandas().columns[-2:]] == ["veto", "points"]


def test_a_pair_that_a_veto_decides_has_no_margin_and_counts_as_decided(
    table: pa.Table, place: Path, told: str
) -> None:
    stored, expected = jobs.table(place / "rewards"), decided_by_hand(table)
    assert decided_pairs(stored).tolist() == expected
    margins = stored["margin"].to_pylist()
    assert [margin is None for margin in margins] == [bool(sign) or row % 50 == 0 for row, sign in enumerate(expected)]
    metrics = read(place / "metrics.json")
    signs = [sign or int(np.sign(margin or 0)) for sign, margin in zip(expected, margins, strict=True)]
    signs = [sign for row, sign in enumerate(signs) if row % 50]
    overall = metrics["overall"]
    assert [overall[key] for key in ("wins", "ties", "losses")] == [signs.count(sign) for sign in (1, 0, -1)]
    veto = metrics["decided_by_veto"]
    assert (veto["num_pairs"], veto["right"]) == (sum(map(abs, expected)), expected.count(1))
    compared = read(place / "comparison.json")["decided_by_veto"]
    assert {key: compared[key] for key in ("num_pairs", "right", "both_break")} == {
        key: veto[key] for key in ("num_pairs", "right", "both_break")
    }


def test_the_commands_and_the_report_say_what_vetoes_decide(place: Path, told: str) -> None:
    veto = read(place / "metrics.json")["decided_by_veto"]
    said = " ".join(told.split())
    assert f"{veto['num_pairs']} decided by veto" in said
    assert f"safe: {veto['rules']['safe']['chosen']} chosen and" in said
    assert f"Vetoes of safe, harm decide {veto['num_pairs']} pairs, {veto['right']} (" in said
    assert f"The vetoes of safe, harm decide {veto['num_pairs']} of 588 pairs under every scheme" in said
    page = (place / "report" / "report.html").read_text()
    assert 'id="hard-rules"' in page
    assert "below 0.3" in page
    found = pq.read_table(place / "report" / "tables" / "hard_rules.parquet").to_pylist()
    assert found == [{"rule": name, **broken} for name, broken in veto["rules"].items()]


# Other readers


def test_columns_of_broken_rules_are_read_as_they_were_written() -> None:
    rng = np.random.default_rng(0)
    is_pair_N = np.arange(20) % 7 != 0
    chosen_VN, rejected_VN = rng.random((2, 2, 20)) < 0.3
    broken = BrokenRules(("safe", "harm"), chosen_VN, rejected_VN & is_pair_N, is_pair_N)
    table = pa.table(veto_columns(broken))
    found = read_vetoes(table, broken.names, where="here")
    assert found is not None
    for name in ("chosen_VN", "rejected_VN", "is_pair_N"):
        np.testing.assert_array_equal(getattr(found, name), getattr(broken, name))
    np.testing.assert_array_equal(decided_pairs(table), broken.decided_N)
    with pytest.raises(DataError, match=r"here names harm, which has no veto in the weights\. Compose again"):
        read_vetoes(table, ["safe"], where="here")
    with pytest.raises(DataError, match="lacks the column chosen_vetoes"):
        read_vetoes(table.drop_columns(["chosen_vetoes"]), broken.names, where="here")


TURNS = {
    "prompt": [{"role": "user", "content": "Is tea hot?"}],
    "chosen": [{"role": "assistant", "content": "Usually."}],
    "rejected": [{"role": "assistant", "content": "No."}],
}


@pytest.fixture
def rewards(tmp_path: Path) -> Folder:
    """Right by margin, wrong by margin, decided for the chosen and for the rejected response, a single response."""
    margins = [2.0, -1.5, None, None, None]
    broken = [([], []), ([], []), ([], ["safe"]), (["safe", "harm"], []), (["safe"], None)]
    rows = [
        {"pair_id": f"p{n}", **TURNS, "margin": margin, "chosen_vetoes": chosen, "rejected_vetoes": rejected}
        for n, (margin, (chosen, rejected)) in enumerate(zip(margins, broken, strict=True))
    ]
    rows[-1]["rejected"] = None
    names = pa.list_(pa.string())
    types = [("pair_id", pa.string()), *((name, MESSAGES) for name in TURNS), ("margin", pa.float64())]
    schema = pa.schema([*types, ("chosen_vetoes", names), ("rejected_vetoes", names)])
    (tmp_path / "rewards").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "rewards" / "0.parquet")
    return Folder(str(tmp_path))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("keep", [("Usually.", 2.0), ("Usually.", -1.5), ("Usually.", None), ("Usually.", None)]),
        ("drop", [("Usually.", 2.0), ("Usually.", None)]),
        ("swap", [("Usually.", 2.0), ("No.", 1.5), ("Usually.", None), ("No.", None)]),
    ],
)
def test_an_exported_pair_has_the_direction_of_the_veto_that_decides_it(
    rewards: Folder, choice: str, expected: list[tuple[str, float | None]]
) -> None:
    report = export_rewards(rewards, rewards.child("out"), layout="trl", on_negative_margin=choice, margin="gap")
    lines = [json.loads(line) for line in rewards.child("out").read_bytes("train.jsonl").splitlines()]
    assert [(line["chosen"][0]["content"], line["gap"]) for line in lines] == expected
    assert (report.negative, report.vetoed, report.vetoed_against, report.singles) == (1, 2, 1, 1)
    assert "A veto decides 2 pairs, 1 against their label" in str(report)


def test_margins_for_a_loss_are_refused_where_a_pair_may_have_none(rewards: Folder) -> None:
    with pytest.raises(ConfigError, match="--margin as-loss: a pair that a veto decides has no margin"):
        export_rewards(rewards, rewards.child("out"), layout="trl", on_negative_margin="keep", margin="as-loss")


def test_rewards_made_elsewhere_are_held_by_their_own_vetoes(tmp_path: Path) -> None:
    ids = ["a", "b", "c", "d"]
    Folder(str(tmp_path)).write_table("scores/t.parquet", pa.table({"pair_id": ids}))
    names = pa.list_(pa.string())
    columns = {
        "pair_id": ["d", "c", "a"],
        "chosen_reward": [1.0, 3.0, 1.0],
        "rejected_reward": [2.0, 1.0, 1.0],
        "chosen_vetoes": pa.array([[], ["x"], []], names),
        "rejected_vetoes": pa.array([["x"], [], []], names),
    }
    Folder(str(tmp_path)).write_table("rewards/t.parquet", pa.table(columns))
    scores = table_units(str(tmp_path / "scores"))
    found = other_margins(open_rewards("mine", str(tmp_path / "rewards"), scores), scores[0].unit, ids)
    np.testing.assert_array_equal(found, [0.0, np.nan, -np.inf, np.inf])


HARD = RuleSet([replace(PLANTED[0], veto=Veto("below", 5.0)), *list(PLANTED)[1:]])


def select(place: Folder, unit, rules: RuleSet) -> tuple[pa.Table, dict[str, int]]:
    attempt = Attempt(PassTable(place, place, "select").open({}), "u", "d")
    counts = _Select(rules, SelectionMethod(3, "declared", "auto"))(_Sources(unit, None), attempt)
    return place.read_table(attempt.data[0].file), dict(counts)


def test_selected_rules_leave_a_pair_that_a_veto_decides_to_it(tmp_path: Path) -> None:
    unit = units(write_run(tmp_path / "run", num_units=1), "scores")[0]
    hard, counts = select(Folder(str(tmp_path / "hard")), unit, HARD)
    soft, _ = select(Folder(str(tmp_path / "soft")), unit, PLANTED)
    scores = unit.read_all().filter(pa.array(np.arange(UNIT_PAIRS) != SINGLE))
    name = PLANTED.names[0]
    below = [np.array(scores[f"{side}__{name}"].to_pylist()) < 5 for side in ("chosen", "rejected")]
    decided_N = below[1].astype(int) - below[0]
    labels, margins = (np.array(soft[column].to_pylist()) for column in ("selection_label", "selection_margin"))
    assert hard["selection_label"].to_pylist() == np.where(decided_N != 0, decided_N, labels).tolist()
    expected = [None if sign else margin for sign, margin in zip(decided_N, margins, strict=True)]
    assert hard["selection_margin"].to_pylist() == expected
    assert counts["decided_by_veto"] == np.count_nonzero(decided_N) > 0


def test_a_selection_with_vetoes_exports_no_margins_for_a_loss(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=1, scored=False)
    ids = units(run, "pairs")[0].read(["pair_id"]).column(0)
    labels = np.ones(UNIT_PAIRS, dtype=np.int8)
    columns = {
        "pair_id": ids,
        "selection_label": pa.array(labels),
        "selection_margin": pa.array(np.ones(UNIT_PAIRS), mask=np.arange(UNIT_PAIRS) == 3),
    }
    seal(run, "select", with_rules(pa.table(columns), HARD), facts={"num_rules": 3, "by": "scores"}, drop=(SINGLE,))
    with pytest.raises(ConfigError, match="--margin as-loss: a pair that a veto decides has no margin"):
        export_selection(run, run.child("out"), layout="trl", margin="as-loss")
    export_selection(run, run.child("out"), layout="trl", margin="gap")
    lines = [json.loads(line) for line in run.child("out").read_bytes("train.jsonl").splitlines()]
    assert [line["gap"] for line in lines].count(None) == 1


def test_rewards_of_weights_from_before_a_veto_are_refused(table: pa.Table, place: Path, tmp_path: Path) -> None:
    before = RuleSet([RULES[0], replace(RULES[1], veto=Veto("below", 0.2)), replace(RULES[2], veto=None)])
    weights = encore_ray.weigh(table, before).weights
    said = r"safe \(veto below 0\.3, weighed with below 0\.2\), harm \(veto above 0\.8, weighed with none\)"
    for rules in (None, RULES):  # a rules.yaml lies beside the scores
        with pytest.raises(DataError, match=said):
            do(Folder(str(tmp_path / "a")), Compose(weights, str(place / "scores"), rules))
    counts = do(Folder(str(tmp_path / "b")), Compose(weights, str(place / "scores"), before))
    assert counts["chosen_breaks.safe"] == sum(score < 0.2 for score in table["chosen__safe"].to_pylist())


def test_weights_may_have_a_veto_that_a_table_of_scores_does_not_know_yet(table: pa.Table, tmp_path: Path) -> None:
    older = RuleSet(replace(rule, veto=None) for rule in RULES)
    (tmp_path / "scores").mkdir()
    pq.write_table(with_rules(table, older), tmp_path / "scores" / "0.parquet")
    weights = encore_ray.weigh(table, RULES).weights
    counts = do(Folder(str(tmp_path / "a")), Compose(weights, str(tmp_path / "scores")))
    assert counts["decided_by_veto"] == sum(map(abs, decided_by_hand(table)))
    with pytest.raises(DataError, match="veto none, weighed with below"):
        do(Folder(str(tmp_path / "b")), Compose(weights, str(tmp_path / "scores"), older))
