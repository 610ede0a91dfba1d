"""A contract file is checked when it is read, and written back to the byte, with what other versions put into it."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encore_ray.artifacts import (
    Artifact,
    Comparison,
    FitReport,
    LabelErrors,
    Metrics,
    RefineReport,
    RuleRefineReport,
    TrainReport,
    WeightsFile,
)
from encore_ray.composition.evaluate.evaluation import RewardStatistics
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.composition.weigh.weights import Weights
from encore_ray.corpora.planted.corpus import planted_ratings
from encore_ray.errors import DataError
from encore_ray.storage import Folder, to_json
from tests.composition.compared import compare
from tests.patience import PATIENCE_S
from tests.report_contents import make_contents

PLANTED = planted_ratings("noise_and_degenerate", num_pairs=400, seed=3)
SUBSETS = [("a", "b", None)[row % 3] for row in range(400)]


KEYS = [f"p{row}" for row in range(400)]


def _weights() -> dict[str, Any]:
    statistics = RuleStatistics.measure(
        list(PLANTED.chosen_NK.T),
        list(PLANTED.rejected_NK.T),
        has_rejected_N=np.ones(400, dtype=bool),
        rules=PLANTED.rules,
        binnings=[choose_binning(rule) for rule in PLANTED.rules],
        pair_ids=KEYS,
        keys=KEYS,
        subsets=SUBSETS,
    )
    return weigh(statistics).to_dict()


def _metrics() -> dict[str, Any]:
    margin_N = np.random.default_rng(0).normal(0.3, 1.0, 400)
    measured = RewardStatistics.measure(
        margin_N, tolerance=0.0, reach=3.0, keys=KEYS, subsets=SUBSETS, shorter_N=np.arange(400.0) - 150
    )
    return measured.metrics(entropy_accuracy=Weights.from_dict(_weights()).entropy_accuracy)


@cache
def _compared() -> bytes:
    return to_json(compare(PLANTED.chosen_NK.T, PLANTED.rejected_NK.T, rules=PLANTED.rules, subsets=SUBSETS))


def _comparison() -> dict[str, Any]:
    return json.loads(_compared())


def _fit() -> dict[str, Any]:
    head = {"name": "kind", "fit": "logistic", "penalty": 0.3, "num_labels": 90, "num_yes": 40}
    figures = {"auc": 0.75, "auc_low": 0.7, "auc_high": 0.8, "r2": None, "r2_low": None, "r2_high": None}
    return {
        "schema_version": 1,
        "labels": "run/scores",
        "model": "d1",
        "num_responses": 90,
        "num_folds": 5,
        "mean_auc": {"value": 0.75, "num_rules": 1, "min_yes": 10},
        "logistic": {"num_passes": 9, "is_exact": True},
        "rules": [head | figures],
        "files": ["model.safetensors"],
        "origin": "f1",
    }


def _train() -> dict[str, Any]:
    best = {"step": 4, "num": 52, "loss": 0.5, "f1": None, "rules": {"kind": {"num": 13, "loss": 0.3, "f1": 0.96}}}
    return {
        "schema_version": 1,
        "objective": "multilabel",
        "base": "/models/base",
        "rows": {"rows": 64, "trained": 51, "heldout": 13, "left_out": 0, "ties": {"kind": 0}},
        "steps": 4,
        "num_steps": 4,
        "best": best,
        "evaluations": [best],
        "files": [],
        "made_from": {"seed": 0},
    }


def _refined() -> dict[str, Any]:
    contents = make_contents()
    assert contents.refined
    return copy.deepcopy(dict(contents.refined.content))


def _refined_rules() -> dict[str, Any]:
    contents = make_contents()
    assert contents.refined_rules
    return copy.deepcopy(dict(contents.refined_rules.content))


def _label_errors() -> dict[str, Any]:
    contents = make_contents()
    assert contents.label_errors
    return copy.deepcopy(dict(contents.label_errors.content))


MADE: list[tuple[type[Artifact], Callable[[], dict[str, Any]]]] = [
    (WeightsFile, _weights),
    (Metrics, _metrics),
    (Comparison, _comparison),
    (FitReport, _fit),
    (TrainReport, _train),
    (RefineReport, _refined),
    (RuleRefineReport, _refined_rules),
    (LabelErrors, _label_errors),
]
EACH = pytest.mark.parametrize(("kind", "make"), MADE, ids=[kind.__name__ for kind, _ in MADE])


@EACH
def test_a_file_is_written_back_to_the_byte_with_further_keys_in_their_places(
    kind: type[Artifact], make: Callable[[], dict[str, Any]], tmp_path: Path
):
    content = {"of_a_later_version": {"z": 1, "a": [None]}, **make()}
    folder = Folder(str(tmp_path))
    folder.write_json(kind.FILE, content)
    before = folder.read_bytes(kind.FILE)
    found = kind.read(folder)
    found.write(folder)
    assert folder.read_bytes(kind.FILE) == before == found.to_json() == to_json(content)
    assert found.content == content


@EACH
def test_every_key_that_is_missing_is_named_with_the_file_and_the_command_that_makes_it(
    kind: type[Artifact], make: Callable[[], dict[str, Any]]
):
    content = make()
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    for name in required:
        rest = {key: value for key, value in content.items() if key != name}
        with pytest.raises(DataError, match=rf"^/run/x\.json lacks {name}: .*again with `encore-ray {kind.MADE_BY}`"):
            kind.of(rest, where="/run/x.json")
    with pytest.raises(DataError, match=f"^{kind.FILE} lacks {', '.join(required)}: "):
        kind.of({})


@EACH
def test_what_is_no_object_or_of_another_version_is_refused(kind: type[Artifact], make: Callable[[], dict[str, Any]]):
    for content in ([1], None, "text"):
        with pytest.raises(DataError, match=rf"^{kind.FILE} cannot be read \(not a JSON object\)"):
            kind.of(content)
    with pytest.raises(DataError, match=r"cannot be read \(schema_version: expected 1, found 2\)"):
        kind.of(make() | {"schema_version": 2})


@pytest.mark.parametrize(
    ("kind", "make", "place", "value"),
    [
        (WeightsFile, _weights, ("rules", 0, "weight"), "0.5"),
        (WeightsFile, _weights, ("rules", 0, "wins"), None),  # of a rule with an accuracy
        (Metrics, _metrics, ("overall", "accuracy_low"), None),  # of 400 pairs
        (Metrics, _metrics, ("subsets", "a", "num_pairs"), 1.5),
        (Comparison, _comparison, ("schemes", 2, "heldout"), 7),
        (Comparison, _comparison, ("rules", 0, "histogram", "chosen"), [1]),
        (TrainReport, _train, ("best", "rules", "kind"), {"num": 13, "loss": 0.3}),
        (RefineReport, _refined, ("controls",), []),
        (RuleRefineReport, _refined_rules, ("rules", 0, "controls"), []),
        (LabelErrors, _label_errors, ("pairs", 1, "label_probability"), None),
    ],
)
def test_a_value_that_cannot_be_shown_is_named_by_its_place(
    kind: type[Artifact], make: Callable[[], dict[str, Any]], place: tuple[str | int, ...], value: object
):
    content = json.loads(to_json(make()))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(DataError) as caught:
        kind.of(content)
    # A rule of several values is named by the object that breaks it.
    named = {".".join(map(str, place[:length])) for length in range(len(place) - 1, len(place) + 1)}
    assert any(f"({name}: " in str(caught.value) for name in named), caught.value


def test_a_key_that_older_versions_lack_is_not_required():
    content = {key: value for key, value in _weights().items() if key not in ("num_keys", "uses_labels", "groups")}
    older = WeightsFile.of(content)
    (rule, *_) = older.rules
    assert older.interval(rule) == rule.interval(num_keys=400)  # over pairs


def test_the_view_of_weights_says_what_the_weights_say():
    weights = Weights.from_dict(_weights())
    found = WeightsFile.of_weights(weights)
    assert [rule.weight for rule in found.rules] == [rule.weight for rule in weights.rules]
    assert found.to_json() == to_json(weights.to_dict())
    sizes = [abs(rule.weight) for rule in found.by_weight]
    assert sizes == sorted(sizes, reverse=True)


def test_the_figures_of_metrics_are_named_by_subset_benchmark_and_baseline():
    content = _metrics()
    content |= {"rewardbench": {"chat": None, "safety": 0.8}, "rewardbench_safety": 0.8}
    found = Metrics.of(content).figures()
    names = "accuracy accuracy_strict accuracy_low accuracy_high num_pairs wins ties losses accuracy/a accuracy/b"
    names += " rewardbench_safety rewardbench/chat rewardbench/safety baseline/shorter_wins baseline/longer_wins"
    assert list(found) == [*names.split(), "entropy_accuracy_pearson"]
    assert found["num_pairs"] == 400
    assert found["baseline/shorter_wins"] == (249 + 1 / 2) / 400  # of 400 differences from -150 up one is 0


def test_the_figures_of_the_other_files_are_named_by_scheme_rule_and_reward():
    comparison = Comparison.of(_comparison())
    schemes = [scheme.name for scheme in comparison.schemes]
    assert list(comparison.figures()) == [
        "heldout_pairs",
        *(f"{figure}/{name}" for name in schemes for figure in ("accuracy", "difference_to_uniform")),
        "entropy_accuracy_pearson",
        *("consensus_explained", "consensus_trusted", "entropy_loading_pearson"),
        *(f"loading/{name}" for name in comparison.rule_names),
        "weight_error",
    ]
    assert FitReport.of(_fit()).figures() == {
        "mean_auc": 0.75, "responses": 90, "auc/kind": 0.75, "r2/kind": None, "penalty/kind": 0.3
    }  # fmt: skip
    assert RefineReport.of(_refined()).figures()["accuracy/linear_refit/noise_0.35"] == 0.6
    assert RuleRefineReport.of(_refined_rules()).figures()["accuracy/rule_1/refined"] == 0.65
    assert {name.split("/")[0] for name in WeightsFile.of(_weights()).figures()} == {
        "effective_num_rules", "entropy", "weight", "accuracy"
    }  # fmt: skip


def test_the_merit_of_a_training_is_the_one_that_its_objective_has():
    best = TrainReport.of(_train()).best
    assert (best.merit_name, best.merit) == ("f1", None)
    assert best.rules["kind"].merit == 0.96


def test_what_explains_and_reports_a_run_loads_neither_matplotlib_nor_torch_nor_ray():
    script = (
        "import sys; import encore_ray.artifacts, encore_ray.console.show, encore_ray.console.inspect, "
        "encore_ray.folder.status, encore_ray.passes.report, encore_ray.report.figure; "
        "print(*sorted({'matplotlib', 'torch', 'transformers', 'ray', 'mlflow', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout.strip() == ""
