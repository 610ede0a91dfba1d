"""Heads fitted to labels over a run: they give back heads that are known, and learn from people's labels."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks import heads
from encore_ray.cli import main
from encore_ray.composition.heads.logistic import LogisticSums, fit_logistic
from encore_ray.composition.heads.ridge import ResponseSums, fit_ridge
from encore_ray.engine.base import Engine
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.pools import Node, Resources
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.passes.heads.fit_heads import require_place
from encore_ray.passes.heads.labels import find_labels, labelled_units, read_responses
from encore_ray.passes.heads.map_reduce_fit import fit_heads
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import chosen_column, rejected_column
from tests.models import tiny
from tests.passes import jobs
from tests.real_model import ENCODER

NUM_PAIRS = 160
RATED = [Rule(f"rule_{k}", f"Rule {k}.", "better", Scale(-9.0, 9.0), out_of_range="clip") for k in range(2)]
RULES = RuleSet([*RATED, Rule("rule_2", "Rule 2.", "worse", Scale(0.0, 1.0), link="sigmoid")])


def encore_ray(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(args))
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in five units, scored by heads of a tiny backbone, the last through a sigmoid."""
    folder = tmp_path_factory.mktemp("fit")
    corpus = jobs.write_corpus(folder / "corpus.jsonl", num_pairs=NUM_PAIRS)
    tiny.save_own_form(folder / "model", "llama", pooling="mean", rules=RULES)
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    run = ("--run", str(folder / "run"))
    assert encore_ray("prepare", *run, "--input", str(corpus), "--unit-pairs", "32") == 0
    assert encore_ray("score", *run, "--model", str(folder / "model")) == 0
    return folder


def fit(folder: Path, *more: str, output: str = "heads") -> int:
    return encore_ray(
        *("fit-heads", "--run", str(folder / "run"), "--model", str(folder / "model")),
        *("--rules", str(folder / "rules.yaml"), "--output", str(folder / output)),
        *("--labels", str(folder / "run" / "scores"), *more),
    )


@pytest.fixture(scope="module")
def fitted(scored: Path) -> Path:
    """The same folder with heads/, fitted to these scores on the same backbone."""
    assert fit(scored) == 0
    return scored


def test_heads_fitted_to_the_scores_of_a_model_give_these_scores(fitted: Path) -> None:
    figures = json.loads((fitted / "heads" / "fit.json").read_text())
    assert figures["num_responses"] == 2 * NUM_PAIRS
    assert [rule["fit"] for rule in figures["rules"]] == ["ridge", "ridge", "logistic"]
    for rule in figures["rules"]:
        assert rule["num_labels"] == 2 * NUM_PAIRS
        assert rule["r2"] > 0.9, rule
        assert rule["r2_low"] < rule["r2"] < rule["r2_high"]

    pairs, scores = jobs.table(fitted / "run" / "pairs"), jobs.table(fitted / "run" / "scores")
    model = load_model(fitted / "heads", device="cpu")
    texts = [pairs.column(name).to_pylist() for name in ("prompt", "chosen", "rejected")]
    ids = model.conversations.tokenize_pairs(texts[0], chosen=texts[1], rejected=texts[2])
    again_N2K = PairScorer(model).score(ids)
    for k, rule in enumerate(RULES):
        for side, column in enumerate((chosen_column(rule.name), rejected_column(rule.name))):
            assert np.corrcoef(scores.column(column).to_numpy(), again_N2K[:, side, k])[0, 1] > 0.95, column


def test_the_fit_over_units_is_that_of_all_rows_at_once(fitted: Path) -> None:
    units = labelled_units(str(fitted / "run" / "features"), str(fitted / "run" / "scores"))
    assert len(units) == NUM_PAIRS / 32
    rows = [read_responses(unit, RULES, find_labels([unit.labels], RULES)) for unit in units]
    names = ("embedding_ND", "label_NK", "fold_N")
    x_ND, y_NK, fold_N = (np.concatenate([getattr(part, name) for part in rows]) for name in names)
    groups = [[0, 1, 2]]
    sums = ResponseSums.of(x_ND, y_NK, fold_N=fold_N, groups=groups)
    ridge = fit_ridge(sums, groups=groups, rules=[0, 1])
    asked = fit_logistic(lambda at: LogisticSums.of(x_ND, y_NK, at, fold_N=fold_N), sums, groups=groups, rules=[2])
    saved = load_file(fitted / "heads" / "heads.safetensors")
    np.testing.assert_allclose(saved["weight"], [*ridge.weight_KD, *asked.heads.weight_KD], atol=1e-4)
    np.testing.assert_allclose(saved["bias"], [*ridge.bias_K, *asked.heads.bias_K], atol=1e-4)


def test_another_fit_reuses_the_embeddings_and_gives_the_same_bits(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads_file = fitted / "heads" / "heads.safetensors"
    before, commits = heads_file.read_bytes(), jobs.commit_times(fitted / "run", "features")
    written = heads_file.stat().st_mtime_ns
    assert fit(fitted) == 0
    assert "holds the heads of these labels already" in " ".join(capsys.readouterr().out.split())
    assert heads_file.stat().st_mtime_ns == written
    fit_file = fitted / "heads" / "fit.json"
    content = json.loads(fit_file.read_text())
    fit_file.write_text(json.dumps({key: value for key, value in content.items() if key != "made_from"}))
    assert fit(fitted) == 0  # as after a kill while it was saved
    assert heads_file.stat().st_mtime_ns != written
    assert heads_file.read_bytes() == before
    assert json.loads(fit_file.read_text()) == content
    fewer = RuleSet(list(RULES)[:2]).to_yaml()
    (fitted / "fewer.yaml").write_text(fewer)
    assert fit(fitted, "--rules", str(fitted / "fewer.yaml")) == ConfigError.exit_code
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(
        r"heads holds results with fingerprint \w{12}; this command would make \w{12}: rules\.\S+ was .* is not there",
        said,
    )
    assert "labels was" not in said  # which are the same
    assert jobs.commit_times(fitted / "run", "features") == commits
    assert fit(fitted, "--pooling", "last", output="other") == ConfigError.exit_code  # embeddings are others


def test_the_number_of_workers_does_not_move_a_bit(
    fitted: Path, ray_engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encore_ray.engine.work.reduce.ORDERED_TASK_ROWS", 32)  # a task a unit
    tables = [str(fitted / "run" / name) for name in ("features", "scores")]
    alone, several = Resources((Node(1, 0),)), Resources((Node(2, 0),) * 2)
    engines: list[Engine] = [*map(LocalEngine, (alone, several)), ray_engine, replace(ray_engine, resources=alone)]
    first, *others = [fit_heads(*tables, RULES, Reducer(engine)) for engine in engines]
    for other in others:
        assert other.weight_KD.tobytes() == first.weight_KD.tobytes()
        assert other.figures == first.figures


def test_the_backbones_own_folder_is_no_place_for_the_heads(fitted: Path) -> None:
    before = sorted((fitted / "model").iterdir())
    assert fit(fitted, "--overwrite", output="model") == ConfigError.exit_code
    assert sorted((fitted / "model").iterdir()) == before


def test_a_link_to_the_backbone_is_no_place_for_the_heads_either(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "fit.json").write_text("{}")  # heads were fitted to it, and are to be left out
    (tmp_path / "link").symlink_to(tmp_path / "model")
    with pytest.raises(ConfigError, match="is the folder of the model itself"):
        require_place(str(tmp_path / "link"), model=str(tmp_path / "model"))


def test_heads_fitted_to_human_labels_tell_unseen_completions_apart(corpora: Path, tmp_path: Path) -> None:
    figures = heads.measure(corpora / "rbr-gold" / "train.jsonl", str(ENCODER), tmp_path)
    assert figures["mean_auc"]["num_rules"] == 19
    assert figures["mean_auc"]["value"] >= 0.81  # a plain ridge regression gave .816
    assert len(figures["rules"]) == 22  # of 23: one is true of no completion
    assert all(rule["auc"] is not None for rule in figures["rules"])
