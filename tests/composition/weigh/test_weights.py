import copy
import json

import numpy as np
import pytest

from encore_ray.composition.weigh.schemes import LowestEntropy, Random
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import DataError
from tests.composition.builders import RATINGS, make_rules, measure


@pytest.fixture(scope="module")
def weights():
    ratings_KN = np.random.default_rng(0).integers(0, 11, (2, 3, 50)).astype(np.float32)
    return weigh(measure(*ratings_KN, rules=make_rules(3, scale=RATINGS), subsets=["a"] * 50), min_active=0.1)


def test_weights_survive_their_json_unchanged(weights):
    assert Weights.from_dict(json.loads(json.dumps(weights.to_dict()))) == weights


@pytest.mark.parametrize(("scheme", "by_group"), [(Random(3), False), (LowestEntropy(2), True)])
def test_weights_of_other_schemes_survive_too(scheme, by_group):
    ratings_KN = np.random.default_rng(0).integers(0, 11, (2, 3, 50)).astype(np.float32)
    statistics = measure(*ratings_KN, rules=make_rules(3, scale=RATINGS), subsets=["a", "b"] * 25)
    weights = weigh(statistics, scheme=scheme, by_group=by_group)
    value = json.loads(json.dumps(weights.to_dict()))
    found = Weights.from_dict(value)
    assert found == weights
    assert found.facts == weights.facts
    assert scheme.params.items() <= value["params"].items()


def test_what_is_composed_decides_the_fingerprint():
    # SHA-256 of {"rules":[["rule0","better",{"hi":1.0,"lo":0.0},1.0]],"score_range":"declared","version":1}
    one = weigh(measure([[0.1]], [[0.2]], rules=make_rules(1), subsets=["a"]))
    assert one.fingerprint == "a466d7214b36c0ce6c93f69e9d2e81fe6a4b7db41073cf30c6a19e8006fb45cc"
    grouped = weigh(measure([[0.1]], [[0.2]], rules=make_rules(1), subsets=["a"]), by_group=True)
    assert grouped.fingerprint != one.fingerprint
    assert grouped.of_group("a").fingerprint == one.fingerprint


def test_a_weight_of_a_group_changed_by_hand_is_refused():
    statistics = measure([[0.1], [0.9]], [[0.2], [0.9]], rules=make_rules(2), subsets=["a"])
    value = weigh(statistics, by_group=True).to_dict()
    value["groups"]["a"]["weights"]["rule0"] = 0.0
    with pytest.raises(DataError, match="was changed after"):
        Weights.from_dict(value)
    del value["groups"]["a"]["weights"]["rule0"]
    with pytest.raises(DataError, match="key 'rule0' is missing"):
        Weights.from_dict(value)


def test_weights_written_before_schemes_learned_from_labels_are_read(weights):
    value = weights.to_dict()
    del value["uses_labels"], value["num_calibration_pairs"]
    assert Weights.from_dict(value) == weights


def test_weights_json_has_the_keys_of_the_contract_in_order(weights):
    value = weights.to_dict()
    assert list(value) == [
        "schema_version", "scheme", "params", "temperature", "log_base", "num_pairs", "num_responses", "counts_sha256",
        "effective_num_rules", "rules", "entropy_accuracy", "warnings", "groups", "num_keys", "uses_labels",
        "num_calibration_pairs", "fingerprint",
    ]  # fmt: skip
    assert list(value["rules"][0]) == [
        "name", "higher_is", "binning", "entropy", "entropy_low", "entropy_high", "weight", "mode_share",
        "active_pair_share", "contribution_share", "wins", "ties", "losses", "accuracy", "flags", "scale",
    ]  # fmt: skip
    assert list(value["entropy_accuracy"]) == ["pearson", "pearson_p", "spearman", "spearman_p", "num_rules"]
    assert value["params"] == {"estimator": "plugin", "score_range": "declared", "min_active": 0.1, "clip": False}
    assert value["rules"][0]["entropy_low"] < value["rules"][0]["entropy"] < value["rules"][0]["entropy_high"]


def test_weights_of_another_version_are_refused(weights):
    with pytest.raises(DataError, match="expected weights of schema_version 1, found 99"):
        Weights.from_dict(weights.to_dict() | {"schema_version": 99})
    with pytest.raises(DataError, match="found list"):
        Weights.from_dict([])  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["scheme", "params", "rules", "entropy_accuracy", "groups", "counts_sha256"])
def test_a_missing_key_is_named(weights, key):
    value = weights.to_dict()
    del value[key]
    with pytest.raises(DataError, match=f"w.json is not a whole weights file: key '{key}' is missing"):
        Weights.from_dict(value, where="w.json")


@pytest.mark.parametrize(
    ("key", "found"), [("weight", 0.9), ("weight", float("nan")), ("higher_is", "worse"), ("name", "other")]
)
def test_weights_changed_by_hand_are_refused(weights, key, found):
    value = copy.deepcopy(weights.to_dict())
    value["rules"][0][key] = found
    with pytest.raises(DataError, match=r"encore-ray weigh"):
        Weights.from_dict(value)


@pytest.mark.parametrize(
    "path", [("params", "score_range"), ("rules", 0, "higher_is"), ("rules", 0, "binning", "kind")]
)
def test_a_word_that_is_not_known_is_refused(weights, path):
    value = copy.deepcopy(weights.to_dict())
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "sideways"
    with pytest.raises(DataError, match=f"{path[-1]} must be .* found 'sideways'"):
        Weights.from_dict(value)


@pytest.mark.parametrize("key", ["groups", "rules", "params", "warnings", "entropy_accuracy"])
def test_a_value_of_another_kind_is_refused(weights, key):
    with pytest.raises(DataError, match="is not a whole weights file"):
        Weights.from_dict(weights.to_dict() | {key: 3})
