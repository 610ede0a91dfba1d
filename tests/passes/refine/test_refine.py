"""Energies fitted to a run's rewards and applied to them: what they see, what they write, what they refuse."""

import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from encore_ray.artifacts import LabelErrors
from encore_ray.composition.evaluate.calibration import COIN_LOSS
from encore_ray.config import RefineOptions
from encore_ray.engine.base import Send
from encore_ray.engine.on_ray.engine import RayEngine, Result
from encore_ray.engine.on_ray.remote_call import Work
from encore_ray.engine.progress import Progress
from encore_ray.errors import ConfigError, DataError, ModelError, ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.status import run_status
from encore_ray.models.energy.refiner import Refiner
from encore_ray.models.energy.training import EnergySettings
from encore_ray.passes.examples import read_examples
from encore_ray.passes.refine.apply import Refine, _RefineRewards
from encore_ray.passes.refine.energies import REWARD_ENERGY, energy_settings, fitted_energies
from encore_ray.passes.refine.fit_energies import Trainer, advice
from encore_ray.passes.refine.fit_reward import fit_refinement
from encore_ray.passes.refine.source import REWARD, embedded_units, training_blocks
from encore_ray.storage import Folder
from tests.passes import jobs
from tests.passes.doing import do
from tests.passes.long_work import dies_after_an_epoch
from tests.passes.refinable import SINGLE, WIDTH, in_test_half, write_run

QUICK = EnergySettings(num_negatives=8, learning_rate=1e-3, batch_responses=64, epochs=2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    run = write_run(tmp_path_factory.mktemp("refine") / "run")
    fit_refinement(run, settings=QUICK, trainer=Trainer(), noise=[0.35])
    return run


def test_the_report_counts_every_pair_once(fitted: Folder) -> None:
    report = fitted.read_json("refine/report.json")
    pairs = report["pairs"]
    ids = [f"p{unit}-{row}" for unit in range(5) for row in range(120) if row != SINGLE]
    assert pairs["test"] == in_test_half(ids).sum() > 20
    assert pairs["trainable"] + pairs["calibration"] + pairs["test"] == len(ids)
    assert pairs["agreeing"] + pairs["conflicting"] == pairs["trainable"]
    blocks = training_blocks(embedded_units(fitted, REWARD), noise=0.0, seed=0)
    agreeing = sum(int((blocks.read(n).agrees_NK[:, 0] & ~blocks.read(n).heldout_N).sum()) for n in range(5))
    assert pairs["agreeing"] == agreeing


def test_controls_are_evaluated_on_the_same_clean_pairs_at_every_level_of_noise(fitted: Folder) -> None:
    report = fitted.read_json("refine/report.json")
    controls = {(control["noise"], control["name"]): control for control in report["controls"]}
    assert list(controls) == [(level, name) for level in (0.0, 0.35) for name in ("base", "linear refit", "refined")]
    assert {control["num_pairs"] for control in controls.values()} == {report["pairs"]["test"]}
    assert controls[0.0, "base"] | {"noise": 0.35} == controls[0.35, "base"]
    assert controls[0.0, "base"]["difference_to_base"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    # Labels are right with 96%, and the embedding tells the rest: a refit that learns comes near that.
    assert controls[0.0, "linear refit"]["accuracy"] > 0.85
    rows = [unit.read_pairs() for unit in embedded_units(fitted, REWARD)]
    wins = sum(int((part.r_N2K[part.test_N, 0] > part.r_N2K[part.test_N, 1]).sum()) for part in rows)
    assert controls[0.0, "base"]["wins"] == wins
    assert f"{controls[0.0, 'refined']['accuracy']:.1%}" in report["verdict"]


def test_energies_that_still_got_better_at_the_end_are_said_to_need_more_training(fitted: Folder) -> None:
    facts = REWARD_ENERGY.load(fitted).facts
    assert facts["best_epoch"] == len(facts["heldout_losses"]) == QUICK.epochs
    assert "train longer (--epochs)" in fitted.read_json("refine/report.json")["verdict"]
    assert advice({**facts, "best_epoch": 1}) == ""
    assert advice({**facts, "settings": {"epochs": 3}}) == ""


def test_noise_turns_labels_round_and_leaves_pairs_whole(fitted: Folder) -> None:
    units = embedded_units(fitted, REWARD)
    clean, noisy = (training_blocks(units, noise=noise, seed=0).read(1) for noise in (0.0, 0.35))
    turned_N = clean.r_N2K[:, 0, 0] != noisy.r_N2K[:, 0, 0]
    assert 0.2 < turned_N.mean() < 0.5
    for before, after in ((clean.r_N2K, noisy.r_N2K), (clean.e_N2D, noisy.e_N2D)):
        np.testing.assert_array_equal(after[turned_N], before[turned_N][:, ::-1])
        np.testing.assert_array_equal(after[~turned_N], before[~turned_N])


def test_nothing_is_learnt_from_the_pairs_that_test(fitted: Folder, tmp_path: Path) -> None:
    spoilt = write_run(tmp_path / "run", spoil_test=True)
    report = fit_refinement(spoilt, settings=QUICK, trainer=Trainer())
    assert spoilt.read_bytes("refine/energy.safetensors") == fitted.read_bytes("refine/energy.safetensors")
    base = {run: run.read_json("refine/report.json")["controls"][0]["wins"] for run in (spoilt, fitted)}
    assert base[spoilt] == report["pairs"]["test"] - base[fitted]
    # On labels that were turned round, probabilities are worse than a coin's: none is used.
    first = report["calibration"]["sources"][0]
    assert (report["calibration"]["used"], first["log_loss"] > COIN_LOSS) == (None, True)
    assert "a coin .693: none is given" in report["verdict"]
    assert fitted.read_json("refine/report.json")["calibration"]["used"] is not None
    assert do(spoilt, Refine())["likely_label_errors"] == 0
    assert jobs.table(Path(spoilt.uri) / "refined").column("label_probability").null_count == 600
    assert LabelErrors.read(spoilt).pairs == []


def test_pairs_that_a_veto_decides_are_neither_learnt_from_nor_given_a_margin(tmp_path: Path) -> None:
    vetoed = [*range(0, 40, 2), SINGLE]
    run = write_run(tmp_path / "run", vetoed=vetoed)
    report = fit_refinement(run, settings=QUICK, trainer=Trainer())
    pairs = report["pairs"]
    left = 5 * (120 - 1 - (len(vetoed) - 1))  # a single response is no pair, whatever it breaks
    assert pairs["trainable"] + pairs["calibration"] + pairs["test"] == left
    counts = do(run, Refine())
    assert (counts["pairs"], counts["decided_by_veto"]) == (5 * 119, 5 * (len(vetoed) - 1))
    refined = jobs.table(Path(run.uri) / "refined")
    decided = [row % 120 in vetoed for row in range(600)]
    for name in ("refined_margin", "label_probability"):
        nulls = [value is None for value in refined[name].to_pylist()]
        assert nulls == [there or row % 120 == SINGLE for row, there in enumerate(decided)], name
    assert refined["chosen_vetoes"].to_pylist() == [["quality"] * there for there in decided]


def test_the_same_fit_stands_and_another_is_refused(fitted: Folder) -> None:
    before = fitted.info("refine/energy.json")["mtime"]
    report = fit_refinement(fitted, settings=QUICK, trainer=Trainer(), noise=[0.35])
    assert report == fitted.read_json("refine/report.json")
    assert fitted.info("refine/energy.json")["mtime"] == before
    with pytest.raises(ResumeRefused, match="seed"):
        fit_refinement(fitted, settings=replace(QUICK, seed=1), trainer=Trainer(), noise=[0.35])


def test_energies_of_other_rows_are_warned_of(fitted: Folder, caplog: pytest.LogCaptureFixture) -> None:
    units = embedded_units(fitted, REWARD)
    REWARD_ENERGY.warn_if_other(fitted, units)
    assert not caplog.records
    REWARD_ENERGY.warn_if_other(fitted, units[1:])
    assert "was fitted to other rows than are refined now" in caplog.text


def test_a_report_that_went_with_its_rewards_is_made_anew(fitted: Folder) -> None:
    names = ("refine/report.json", "refine/energy.safetensors")
    before = [fitted.read_bytes(name) for name in names]
    for name in pass_tables(fitted)["compose"].outdated:  # as where inputs were added and taken away again
        fitted.delete(name)
    assert [fitted.exists(name) for name in names] == [False, True]
    fit_refinement(fitted, settings=QUICK, trainer=Trainer(), noise=[0.35])
    assert [fitted.read_bytes(name) for name in names] == before


@pytest.mark.parametrize("name", ["refine/energy.safetensors", "refine/energy.json"])
def test_damaged_energies_are_named_and_fitted_anew(fitted: Folder, tmp_path: Path, name: str) -> None:
    run = Folder(str(shutil.copytree(fitted.uri, tmp_path / "run")))
    whole = run.read_bytes(name)
    run.delete(name)
    with pytest.raises(ModelError, match=r"is not there.*refine fit --overwrite"):
        REWARD_ENERGY.load(run)
    run.write_atomic(name, whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"is damaged"):
        REWARD_ENERGY.load(run)
    fit_refinement(run, settings=QUICK, trainer=Trainer(), noise=[0.35], overwrite=name.endswith("json"))
    assert run.read_bytes(name) == whole


@pytest.mark.parametrize("content", ["[]", '{"made_from": 3}', '{"schema_version": 1, "reward": {}}'])
def test_a_description_of_another_shape_is_no_energy(fitted: Folder, content: str) -> None:
    with pytest.raises(ModelError, match=r"is damaged"):
        Refiner.from_files(fitted.read_bytes("refine/energy.safetensors"), content.encode(), where="energy.json")


def test_a_domain_of_more_heads_than_energies_is_refused(fitted: Folder) -> None:
    found = fitted.read_json("refine/energy.json")
    found["domain"]["low"] *= 2
    with pytest.raises(ModelError, match="not as many"):
        Refiner.from_files(
            fitted.read_bytes("refine/energy.safetensors"), json.dumps(found).encode(), where="energy.json"
        )


def test_embeddings_of_another_model_than_the_scores_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for table, model in (("score", "a" * 64), ("embed", "b" * 64)):
        folder = pass_tables(run)[table].folder
        folder.write_json("plan.json", {**folder.read_json("plan.json"), "facts": {"model": model}})
    with pytest.raises(DataError, match=r"embeddings is of model bbbbbbbbbbbb, .* of model aaaaaaaaaaaa"):
        embedded_units(run, REWARD)


def test_too_few_held_out_pairs_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=1, unit_pairs=40)
    with pytest.raises(DataError, match="refine a larger corpus"):
        fit_refinement(run, settings=replace(QUICK, epochs=1), trainer=Trainer())


def test_rewards_without_energies_or_embeddings_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="run `encore-ray refine fit` first"):
        fitted_energies(run)
    embeddings = pass_tables(run)["embed"].open({})
    commits = embeddings.commits()
    embeddings.seal(sorted(commits)[1:], commits, {})
    with pytest.raises(DataError, match="lacks 1 of 5 units of rewards/, first of all u000"):
        embedded_units(run, REWARD)


def test_a_unit_is_refined_row_by_row_with_probabilities_of_its_labels(
    fitted: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encore_ray.passes.refine.apply.LIKELY_ERROR", 0.3)
    unit = embedded_units(fitted, REWARD)[2]
    place = Folder(str(tmp_path))
    attempt = Attempt(PassTable(place, place, "refine").open({}), "u002", unit.digest)
    counts = _RefineRewards(fitted)(unit, attempt)
    table = place.read_table(attempt.data[0].file)
    rewards = unit.table.read_all()
    assert (counts["rows"], counts["pairs"], counts["singles"]) == (120, 119, 1)
    assert table.column("pair_id").equals(rewards.column("pair_id"))
    for name in ("rejected_refined", "refined_margin", "rejected_at_end", "label_probability"):
        assert np.flatnonzero(table.column(name).is_null().to_numpy()).tolist() == [SINGLE]
    assert table.column("chosen_refined").null_count == 0
    rows = unit.read_pairs()
    refined = REWARD_ENERGY.load(fitted).refine(rows.e_N2D[:, 0], rows.r_N2K[:, 0])
    chosen_N = np.delete(table.column("chosen_refined").to_numpy(), SINGLE)
    np.testing.assert_allclose(chosen_N, refined.reward_NK[:, 0], rtol=0, atol=1e-3)  # of a deviation of about 25
    probability_N = np.delete(table.column("label_probability").to_numpy(), SINGLE)
    margin_N = rows.r_N2K[:, 0, 0] - rows.r_N2K[:, 1, 0]
    assert np.corrcoef(probability_N, margin_N)[0, 1] > 0.5
    assert counts["likely_label_errors"] == (probability_N < 0.3).sum() == len(attempt.notes["label_errors"]) > 0


def test_the_settings_of_a_training_are_those_of_the_configuration() -> None:
    assert energy_settings(RefineOptions()) == EnergySettings()  # the defaults are written in two places
    asked = {"sigma": 2.0, "beta": 0.2, "learning_rate": 0.5, "batch_responses": 8, "epochs": 7, "seed": 9}
    given = energy_settings(RefineOptions.model_validate({**asked, "negatives": 3, "noise": [0.2], "cpus": 1}))
    assert given == EnergySettings(num_negatives=3, **asked)
    no_settings = {"noise", "cpus", "gpus"}
    assert {*RefineOptions.model_fields} == {*asked, "negatives", *no_settings}


def test_apply_finishes_every_unit_and_lists_the_least_probable_labels(fitted: Folder) -> None:
    output = pass_tables(fitted)["refine"]
    counts = do(fitted, Refine())
    table = jobs.table(Path(fitted.uri) / "refined")
    assert (counts["rows"], counts["singles"], table.num_rows) == (600, 5, 600)
    errors = LabelErrors.read(fitted)
    unlikely = table.filter(pc.less(table.column("label_probability"), 0.05))
    assert errors.num_pairs == counts["likely_label_errors"] == unlikely.num_rows == len(errors.pairs) > 0
    assert {pair.pair_id for pair in errors.pairs} == set(unlikely.column("pair_id").to_pylist())
    probabilities = [pair.label_probability for pair in errors.pairs]
    assert probabilities == sorted(probabilities)
    first = {pair.pair_id for pair in errors.pairs[:3]}
    assert read_examples(fitted, first).keys() == first  # in the units that their records name
    again = commits_of(output)
    assert do(fitted, Refine()) == counts
    assert commits_of(output) == again
    assert [(status.name, status.state) for status in run_status(fitted)][-1] == ("refine", "finished")


def test_an_interrupted_fit_goes_on_after_its_last_epoch_and_ends_with_the_same_bits(
    fitted: Folder, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")

    def interrupt(sentence: str) -> None:
        if "epoch 1" in sentence:
            (status,) = [status for status in run_status(run) if status.name == "refine fit"]
            assert (status.state, status.total_units) == ("unfinished", 2) and status.total_rows > status.done_rows
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_refinement(run, settings=QUICK, trainer=Trainer(note=interrupt), noise=[0.35])
    assert len(run.child("refine/training").names()) == 2  # the state, and how far it is
    told: list[str] = []
    progress: list[Progress] = []
    trainer = Trainer(note=told.append, watch=progress.append)
    fit_refinement(run, settings=QUICK, trainer=trainer, noise=[0.35])
    assert told[0] == "fit: goes on after epoch 1" and told[1].startswith("fit, epoch 2 of 2: ")
    assert progress[0].done_rows == progress[0].resumed_rows > 0
    for name in ("refine/energy.safetensors", "refine/energy.json", "refine/report.json"):
        assert run.read_bytes(name) == fitted.read_bytes(name)
    assert not run.exists("refine/training") and "refine fit" not in [status.name for status in run_status(run)]
    assert (progress[-1].done_units, progress[-1].done_rows) == (progress[-1].total_units, progress[-1].total_rows)


def test_a_fit_that_fails_leaves_the_energies_of_before_and_one_that_ends_outdates_what_they_refined(
    fitted: Folder, tmp_path: Path
) -> None:
    run = Folder(str(shutil.copytree(fitted.uri, tmp_path / "run")))
    made = ("refined/_SUCCESS", "refine/label_errors.json")
    for name in made:
        run.write_atomic(name, b"{}")
    before = run.read_bytes("refine/energy.json")
    with pytest.raises(DataError, match="loss is nan"):
        fit_refinement(run, settings=replace(QUICK, learning_rate=1e30), trainer=Trainer(), overwrite=True)
    assert run.read_bytes("refine/energy.json") == before and all(run.exists(name) for name in made)
    fit_refinement(run, settings=replace(QUICK, epochs=1), trainer=Trainer(), overwrite=True)
    assert run.read_bytes("refine/energy.json") != before and not any(run.exists(name) for name in made)


@dataclass(frozen=True)
class Deadly(RayEngine):
    """Its first worker dies once it has told of an epoch.

    Attributes:
        died: where that is noted.
    """

    died: Path

    def call(
        self, work: Work[Result], receive: Send, *, cpus: float | None = None, gpus: float | None = None
    ) -> Result:
        return super().call(partial(dies_after_an_epoch, self.died, work), receive, cpus=cpus, gpus=gpus)


def test_a_fit_whose_worker_dies_goes_on_in_another(ray_engine: RayEngine, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in ("here", "apart")]
    told: list[str] = []

    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # as many as the worker has CPUs
    fit_refinement(runs[0], settings=QUICK, trainer=Trainer())
    torch.set_num_threads(threads)
    deadly = Deadly(ray_engine.resources, None, tmp_path / "died")
    fit_refinement(runs[1], settings=QUICK, trainer=Trainer(deadly, note=told.append))
    assert deadly.died.exists()
    assert [sentence.split(":")[0] for sentence in told[:2]] == ["fit, epoch 1 of 2", "fit"]
    assert [run.read_bytes("refine/energy.safetensors") for run in runs] == 2 * [
        runs[0].read_bytes("refine/energy.safetensors")
    ]
    assert runs[1].read_json("refine/report.json") == runs[0].read_json("refine/report.json")


def commits_of(table: PassTable) -> dict[str, float]:
    return {name: commit.finished_at for name, commit in table.commits().items()}


def test_width_of_the_planted_embeddings_is_what_the_energies_were_trained_on(fitted: Folder) -> None:
    assert REWARD_ENERGY.load(fitted).num_dims == WIDTH
    assert fitted.read_json("refine/energy.json")["made_from"]["settings"]["num_negatives"] == 8
