"""Rules selected for each pair of a run: how many, by what, and the label that they give it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.cli import main
from encore_ray.composition.select.discrepancy import top_rules
from encore_ray.config import SelectOptions, TrainOptions
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.reading.table_rules import stored_rules
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes import report as run_report
from encore_ray.passes.selection.select import Select, SelectionMethod, _Select, _Sources
from encore_ray.passes.selection.selected import check_unchanged_rules, find_selection, read_selection
from encore_ray.passes.train.plan import plan_training
from encore_ray.rules import RuleSet
from encore_ray.schema import selected_column
from encore_ray.storage import Folder
from tests.passes import jobs
from tests.passes.doing import do
from tests.passes.selectable import (
    RULES,
    SINGLE,
    UNIT_PAIRS,
    seal,
    turn_round,
    units,
    with_rules,
    write_relevance,
    write_run,
)

NUM_RULES = 3
WORLD = planted_text(3 * UNIT_PAIRS, seed=2).world
D_KN = (WORLD.chosen_NK.astype(np.float64) - WORLD.rejected_NK).T


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("select") / "run")


def select(sources: _Sources, tmp_path: Path, *, by_adapter: bool = False) -> tuple[pa.Table, dict[str, int]]:
    """One unit, as a worker does it."""
    place = Folder(str(tmp_path))
    attempt = Attempt(PassTable(place, place, "select").open({}), "u", "d")
    counts = _Select(RULES, SelectionMethod(NUM_RULES, "declared", "adapter" if by_adapter else "auto"))(
        sources, attempt
    )
    return place.read_table(attempt.data[0].file), dict(counts)


def mask_of(table: pa.Table) -> np.ndarray:
    return np.array([table.column(selected_column(name)).to_pylist() for name in RULES.names], dtype=bool)


def chosen(table: pa.Table) -> list[set[int]]:
    """The numbers of each pair's rules."""
    return [set(np.flatnonzero(mask_K).tolist()) for mask_K in mask_of(table).T]


def test_a_unit_gets_the_rules_that_tell_each_pair_most_apart_and_their_sum_as_label(
    scored: Folder, tmp_path: Path
) -> None:
    unit = units(scored, "scores")[1]
    table, counts = select(_Sources(unit, None), tmp_path)
    rows = np.delete(np.arange(UNIT_PAIRS, 2 * UNIT_PAIRS), SINGLE)
    mask_KN = top_rules(D_KN[:, rows], NUM_RULES)
    np.testing.assert_array_equal(mask_of(table), mask_KN)
    assert (mask_of(table).sum(axis=0) == NUM_RULES).all()
    margin_N = (mask_KN * D_KN[:, rows]).sum(axis=0)  # whole ratings: sums are exact
    assert table.column("selection_margin").to_pylist() == margin_N.tolist()
    assert table.column("selection_label").to_pylist() == np.sign(margin_N).tolist()
    assert table.schema.field("selection_label").type == pa.int8()
    ids = unit.read(["pair_id"]).column(0).to_pylist()
    assert table.column("pair_id").to_pylist() == ids[:SINGLE] + ids[SINGLE + 1 :]
    ties = int((margin_N == 0).sum())
    assert ties > 0
    assert counts == {
        "rows": UNIT_PAIRS,
        "pairs": UNIT_PAIRS - 1,
        "singles": 1,
        "without_relevance": 0,
        "chosen_better": int((margin_N > 0).sum()),
        "rejected_better": int((margin_N < 0).sum()),
        "ties": ties,
        **{f"selected.{name}": int(n) for name, n in zip(RULES.names, mask_KN.sum(axis=1), strict=True)},
    }


def test_relevance_counts_beside_the_scores_and_alone_for_an_adapter(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    relevance_NK = np.random.default_rng(0).random((3 * UNIT_PAIRS, len(RULES))).astype(np.float32)
    write_relevance(run, relevance_NK, facts={}, drop=(3,))
    scores, relevance = units(run, "scores")[0], units(run, "relevance")[0]
    rows = np.delete(np.arange(UNIT_PAIRS), [3, SINGLE])
    table, counts = select(_Sources(scores, relevance), tmp_path / "both")
    size_KN = np.abs(D_KN[:, rows]) / 10 + relevance_NK[rows].T
    assert chosen(table) == [set(rules) for rules in np.argsort(-size_KN.T, axis=1)[:, :NUM_RULES].tolist()]
    assert (counts["pairs"], counts["singles"], counts["without_relevance"]) == (UNIT_PAIRS - 2, 1, 1)

    for sources in (_Sources(scores, relevance), _Sources(None, relevance)):
        table, counts = select(sources, tmp_path / f"adapter-{sources.scores is None}", by_adapter=True)
        assert chosen(table) == [set(rules) for rules in np.argsort(-relevance_NK[rows])[:, :NUM_RULES].tolist()]
        margins = table.column("selection_margin").to_pylist()
        if sources.scores is None:
            assert table.num_rows == UNIT_PAIRS - 2
            assert margins == table.column("selection_label").to_pylist() == [None] * len(rows)
            assert "ties" not in counts
        else:
            assert margins == (mask_of(table) * D_KN[:, rows]).sum(axis=0).tolist()


def test_relevance_of_other_rules_or_units_is_refused_with_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    relevance_NK = np.full((3 * UNIT_PAIRS, len(RULES)), 0.5, dtype=np.float32)
    write_relevance(run, relevance_NK, facts={"by": "judge"})
    output = pass_tables(run)["select"]

    def refused(rules: RuleSet) -> str:
        """The message; it comes before any worker starts."""
        run.write_atomic("rules.yaml", rules.to_yaml().encode())
        method = SelectionMethod(NUM_RULES, "declared", "auto")
        with pytest.raises(DataError) as error:
            do(run, Select(method))
        return str(error.value)

    scores = pa.concat_tables([unit.read_all() for unit in units(run, "scores")])
    for side in ("chosen", "rejected"):
        scores = scores.append_column(f"{side}__newer", scores.column(f"{side}__{RULES.names[0]}"))
    newer = RuleSet([*RULES, replace(RULES[0], name="newer")])
    shutil.rmtree(tmp_path / "run" / "scores")
    seal(run, "score", with_rules(scores, newer))
    said = refused(newer)
    assert "relevance lacks 1 of the 11 rules of the scores: newer. Rate it again by `encore-ray rate --rele" in said
    assert "leave it out by `encore-ray select --by scores`" in said
    shutil.rmtree(tmp_path / "run" / "relevance")
    write_relevance(run, relevance_NK, facts={"by": "judge"}, num_units=2)
    assert "lacks 1 of the 3 units of the scores, first of all u002. Rate it again" in refused(RULES)
    assert not output.folder.exists()


def test_a_selection_is_read_back_for_pairs_in_any_order(scored: Folder, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=1)
    table, _ = select(_Sources(units(run, "scores")[0], None), tmp_path / "one")
    place = Folder(str(tmp_path / "one"))
    (file,) = place.names("data")
    unit = TableUnit("u", place, f"data/{file}", table.num_rows, "", row_groups=(0,))
    ids = table.column("pair_id").to_pylist()
    found_KN = read_selection(unit, pa.chunked_array([[ids[5], "unknown", ids[0]]]), RULES)
    mask_KN = mask_of(table)
    np.testing.assert_array_equal(found_KN.T, [mask_KN[:, 5], [False] * len(RULES), mask_KN[:, 0]])
    others = RuleSet(list(RULES)[:2])
    assert read_selection(unit, pa.chunked_array([ids]), others).shape == (2, len(ids))
    renamed = RuleSet([replace(RULES[0], name="other"), *list(RULES)[1:]])
    with pytest.raises(DataError, match=r"Rules differ: .* lacks selected__other\. Run `encore-ray select"):
        read_selection(unit, pa.chunked_array([ids]), renamed)


def test_a_selection_by_rules_that_have_changed_since_is_not_used(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=1)
    ids = units(run, "pairs")[0].read(["pair_id"])
    columns = {selected_column(name): pa.nulls(UNIT_PAIRS, pa.bool_()) for name in RULES.names}
    table = with_rules(pa.table({"pair_id": ids.column(0), **columns}), RULES)
    seal(run, "select", table, facts=SelectionMethod(NUM_RULES, "declared", "auto").facts(RULES, by_relevance=False))
    assert find_selection(run) is not None
    check_unchanged_rules(run.path("scores"))
    turn_round(run)
    check_unchanged_rules(run.path("scores"))  # no selection
    with pytest.raises(DataError, match=r"rules\.yaml is .* now.*Run `encore-ray select --overwrite`"):
        find_selection(run)
    assert run_report.make_report(run)  # leaves it out
    for objective in ("bradley-terry", "multilabel"):
        options = TrainOptions(objective=objective, cpus_per_worker=1)
        with pytest.raises(DataError, match="Rules differ"):
            plan_training(
                "no/model",
                options,
                rules=None,
                pairs=run.path("pairs"),
                labels=run.path("selection"),
                reducer=Reducer(LocalEngine()),
            )


def test_a_score_that_is_not_finite_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=1)
    unit = units(run, "scores")[0]
    table = unit.read_all()
    name = f"chosen__{RULES.names[2]}"
    values = table.column(name).to_numpy().copy()
    values[9] = np.nan
    run.write_table(f"scores/{unit.file}", table.set_column(table.column_names.index(name), name, pa.array(values)))
    broken = replace(unit, row_groups=(0,))  # as foreign scores: of no known digest
    with pytest.raises(
        DataError, match=rf"1 scores are not finite, first of all of pair \S+000009 under rule {RULES.names[2]}"
    ):
        select(_Sources(broken, None), tmp_path / "out")


def encore_ray(*args: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return int(end.value.code or 0)


def test_the_command_resumes_refuses_and_is_shown_by_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    run = write_run(tmp_path / "run")
    command = ("select", "--run", run.uri, "--by", "scores")
    write_relevance(run, np.zeros((UNIT_PAIRS, len(RULES))), facts={"by": "judge"}, num_units=1)  # of an older run
    assert encore_ray(*command[:3]) == DataError.exit_code
    assert "leave it out by `encore-ray select --by scores`" in " ".join(capsys.readouterr().err.split())
    assert encore_ray(*command, "--num-rules", 11) == ConfigError.exit_code
    assert "expected 1 to 10" in " ".join(capsys.readouterr().err.split())
    assert find_selection(run) is None
    assert encore_ray(*command, "--num-rules", NUM_RULES) == 0
    said = capsys.readouterr().out
    table = jobs.table(tmp_path / "run" / "selection")
    assert f"{table.num_rows} pairs" in said and "3 singles" in said
    share = np.mean(table.column(selected_column(RULES.names[0])).to_pylist())
    assert f"{RULES.names[0]} {share:.1%} of pairs" in " ".join(said.split())
    assert encore_ray("inspect", run.path("selection")) == 0
    assert f"{RULES.names[0]} {share:.1%} of pairs" in " ".join(capsys.readouterr().out.split())
    assert stored_rules(units(run, "selection")[0]) == RULES
    digest, times = run.read_json("selection/_SUCCESS"), jobs.commit_times(tmp_path / "run", "selection")
    # As after a kill: the seal and one unit are not there.
    run.delete("selection/_SUCCESS")
    lost = sorted(run.names("selection/commits"))[1]
    run.delete(f"selection/commits/{lost}")
    assert find_selection(run) is None
    assert encore_ray(*command, "--num-rules", NUM_RULES) == 0
    assert run.read_json("selection/_SUCCESS")["counts"] == digest["counts"]
    again = jobs.commit_times(tmp_path / "run", "selection")
    assert {name for name in times if again[name] == times[name]} == set(times) - {lost}
    assert jobs.table(tmp_path / "run" / "selection").equals(table)
    assert encore_ray(*command, "--num-rules", 2) == ConfigError.exit_code
    assert "num_rules" in capsys.readouterr().err

    assert encore_ray("compare", "--run", run.uri) == 0
    comparison = json.loads((tmp_path / "run" / "comparison.json").read_text())
    schemes = {scheme["name"]: scheme for scheme in comparison["schemes"]}
    labels = table.column("selection_label").to_numpy()
    stats = schemes["selected"]["all"]
    assert (stats["wins"], stats["ties"], stats["losses"]) == tuple(
        int((labels == label).sum()) for label in (1, 0, -1)
    )
    assert schemes["encore_selected"]["params"]["num_rules"] == NUM_RULES
    assert schemes["random_selected"]["all"]["num_pairs"] == table.num_rows
    assert "Selected rules" in (tmp_path / "run" / "report" / "report.html").read_text()
    assert encore_ray("status", run.uri) == 0
    assert "select" in capsys.readouterr().out


def test_how_rules_are_selected_is_what_the_configuration_says_unless_an_adapter_chooses() -> None:
    options = SelectOptions(num_rules=2, by="scores", score_range="unit")
    assert SelectionMethod.of(options, by_adapter=False) == SelectionMethod(2, "unit", "scores")
    assert SelectionMethod.of(options, by_adapter=True) == SelectionMethod(2, "unit", "adapter")
