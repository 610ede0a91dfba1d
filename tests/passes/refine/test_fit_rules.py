"""Energies for each rule's scores: what each learns from, and that the refined scores are scores like any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encore_ray.config import WeighOptions
from encore_ray.errors import ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.reading.score_block import read_scores
from encore_ray.folder.reading.table_rules import table_rules
from encore_ray.folder.reading.tables import table_units
from encore_ray.models.energy.training import EnergySettings
from encore_ray.passes.refine.apply import RefineScores, _RefineScores
from encore_ray.passes.refine.energies import RULE_ENERGIES, fitted_energies
from encore_ray.passes.refine.fit_energies import Trainer
from encore_ray.passes.refine.fit_rules import fit_rules
from encore_ray.passes.refine.source import embedded_units, rule_heads
from encore_ray.passes.weigh import Weigh
from encore_ray.rules import RuleSet
from encore_ray.storage import Folder
from tests.passes import jobs
from tests.passes.doing import do
from tests.passes.refinable import RULES, SINGLE, in_test_half, write_run

QUICK = EnergySettings(num_negatives=8, learning_rate=1e-3, batch_responses=64, epochs=2)
WRONG_WAY = RuleSet(replace(rule, higher_is="better") for rule in RULES)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    run = write_run(tmp_path_factory.mktemp("rules") / "run")
    fit_rules(run, rules=None, settings=QUICK, trainer=Trainer())
    return run


def test_each_rule_learns_from_the_pairs_that_it_agrees_with_in_its_own_direction(fitted: Folder) -> None:
    report = fitted.read_json("refine/rules/report.json")
    ids = np.array([f"p{unit}-{row}" for unit in range(5) for row in range(120) if row != SINGLE])
    assert report["pairs"]["test"] == in_test_half(list(ids)).sum()
    assert report["pairs"]["trainable"] + report["pairs"]["calibration"] + report["pairs"]["test"] == len(ids)
    quality, harm = report["rules"]
    # harm is 10 - quality and less of it is better: the same pairs agree, the same are won.
    assert (quality["name"], harm["name"]) == ("quality", "harm")
    assert quality["agreeing"] == harm["agreeing"] > 300
    assert [control["name"] for control in harm["controls"]] == ["base", "linear refit", "refined"]
    assert quality["controls"][0] == harm["controls"][0]
    assert harm["controls"][1]["accuracy"] > 0.85  # labels are right with 96%, and the embedding tells the rest
    assert harm["controls"][2]["accuracy"] > 0.6


def test_another_direction_is_another_fit_of_which_other_pairs_are_learnt(fitted: Folder, tmp_path: Path) -> None:
    assert fit_rules(fitted, rules=RULES, settings=QUICK, trainer=Trainer()) == fitted.read_json(
        "refine/rules/report.json"
    )
    with pytest.raises(ResumeRefused, match="directions"):
        fit_rules(fitted, rules=WRONG_WAY, settings=QUICK, trainer=Trainer())
    turned = write_run(tmp_path / "run")
    report = fit_rules(turned, rules=WRONG_WAY, settings=replace(QUICK, epochs=1), trainer=Trainer())
    quality, harm = report["rules"]
    assert quality["agreeing"] + harm["agreeing"] == report["pairs"]["trainable"]  # of each pair, one of the two
    assert harm["controls"][0]["wins"] == quality["controls"][0]["losses"]


def test_refined_scores_are_those_of_the_rules_with_all_else_as_it_was(fitted: Folder, tmp_path: Path) -> None:
    unit = embedded_units(fitted, rule_heads(RULES))[1]
    place = Folder(str(tmp_path))
    attempt = Attempt(PassTable(place, place, "refine_scores").open({}), "u001", unit.digest)
    clipping = RuleSet(replace(rule, out_of_range="clip") for rule in RULES)
    counts = _RefineScores(fitted, clipping)(unit, attempt)
    before, after = unit.table.read_all(), place.read_table(attempt.data[0].file)
    assert after.column_names == before.column_names
    assert [field.type for field in after.schema] == [field.type for field in before.schema]
    for name in ("pair_id", "prompt_id", "chosen_tokens"):
        assert after.column(name).equals(before.column(name))
    for name in ("rejected__quality", "rejected__harm"):
        assert np.flatnonzero(after.column(name).is_null().to_numpy()).tolist() == [SINGLE]
    rows = unit.rows(before)
    there_N = np.arange(120) != SINGLE
    expected = RULE_ENERGIES.load(fitted).refine(rows.e_N2D[there_N, 1], rows.r_N2K[there_N, 1])
    found = [np.delete(after.column(f"rejected__{name}").to_numpy(), SINGLE) for name in ("quality", "harm")]
    # In the rules' own units and directions, though the energies see harm with its sign turned.
    np.testing.assert_allclose(found[0], expected.reward_NK[:, 0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[1], -expected.reward_NK[:, 1], rtol=0, atol=1e-3)
    assert np.corrcoef(found[0], found[1])[0, 1] < -0.5
    assert np.abs(found[0] - np.delete(before.column("rejected__quality").to_numpy(), SINGLE)).max() > 0.1
    assert counts["rows"] == 120 and counts["without_embedding"] == 0


def test_a_pair_without_an_embedding_keeps_its_scores_and_is_counted(fitted: Folder, tmp_path: Path) -> None:
    unit = embedded_units(fitted, rule_heads(RULES))[0]
    lacking = Attempt(PassTable(Folder(str(tmp_path)), Folder(str(tmp_path)), "embed").open({}), "u000", "")
    lacking.write(unit.embeddings.read_all().slice(3))
    (file,) = lacking.data
    short = replace(unit.embeddings, folder=Folder(str(tmp_path)), file=file.file, rows=file.rows, digest=file.digest)
    unit = replace(unit, embeddings=short)
    place = Folder(str(tmp_path / "out"))
    attempt = Attempt(PassTable(place, place, "refine_scores").open({}), "u000", unit.digest)
    assert _RefineScores(fitted, RULES)(unit, attempt)["without_embedding"] == 3
    before, after = unit.table.read_all(), place.read_table(attempt.data[0].file)
    for name in ("chosen__quality", "rejected__harm"):
        assert after.column(name).slice(0, 3).equals(before.column(name).slice(0, 3))
        assert not after.column(name).slice(3).equals(before.column(name).slice(3))
    assert len(unit.read_pairs().hash_N) == 120 - 1 - 3  # nor is it learnt from


def test_weigh_takes_refined_scores_as_it_takes_any(fitted: Folder, tmp_path: Path) -> None:
    output = pass_tables(fitted)["refine_scores"]
    counts = do(fitted, RefineScores())
    assert (counts["rows"], output.sealed()["num_rows"]) == (600, 600)  # type: ignore[index]
    assert fitted_energies(fitted) == [RULE_ENERGIES]
    refined = fitted.child("refined_scores")
    rules = table_rules(table_units(refined.uri), None)
    assert [rule.out_of_range for rule in rules] == ["clip", "clip"]
    weights = do(Folder(str(tmp_path)), Weigh(WeighOptions(), scores=refined.uri))
    block = [read_scores(unit, rules) for unit in table_units(refined.uri)]
    wins = sum(int(np.nansum(part.chosen_KN[1] < part.rejected_KN[1])) for part in block)
    assert [rule["wins"] for rule in weights.to_dict()["rules"]][1] == wins > 300
    fitted.write_atomic("rules.yaml", WRONG_WAY.to_yaml().encode())
    with pytest.raises(ResumeRefused, match="other directions"):
        do(fitted, RefineScores())
    assert jobs.table(Path(refined.uri)).num_rows == 600
