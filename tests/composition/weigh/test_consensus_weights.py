"""Weights by consensus from scores to weights.json: no label enters, and the file says what they rest on."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.composition.weigh.schemes import Consensus, ConsensusEncore, Encore
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.composition.weigh.weights import Weights
from encore_ray.corpora.planted.corpus import planted_ratings
from encore_ray.rules import RuleSet
from tests.composition.builders import make_rule, measure

N = 200
PLANTED = planted_ratings("noise_and_wrong_sign", num_pairs=N, seed=6)
SIDES = PLANTED.chosen_NK.T, PLANTED.rejected_NK.T


def weighed(chosen_KN: np.ndarray, rejected_KN: np.ndarray, scheme=None) -> Weights:
    statistics = measure(chosen_KN, rejected_KN, rules=PLANTED.rules, with_products=True)
    return weigh(statistics, scheme=scheme or Consensus(force_consensus=True))


@settings(max_examples=15)
@given(st.lists(st.booleans(), min_size=N, max_size=N))
def test_swapped_labels_change_no_bit_of_weights_or_figures(swapped):
    a_KN, b_KN = (np.where(swapped, x, y) for x, y in (SIDES[::-1], SIDES))
    plain, turned = weighed(*SIDES), weighed(a_KN, b_KN)
    assert [rule.weight for rule in turned.rules] == [rule.weight for rule in plain.rules]
    assert turned.consensus == plain.consensus
    assert turned.fingerprint == plain.fingerprint


def test_the_file_names_the_fit_the_groups_and_the_loadings_and_is_read_back():
    weights = weighed(*SIDES)
    content = json.loads(json.dumps(weights.to_dict()))
    assert Weights.from_dict(content) == weights
    assert {"explained", "trusted", "num_groups", "groups", "subsets"} <= content.keys()
    assert sorted(name for group in content["groups"] for name in group) == sorted(PLANTED.rules.names)
    wrong = next(rule for rule in content["rules"] if rule["name"] == "wrong_sign")
    assert wrong["loading"] < -0.2
    assert wrong["weight"] == 0
    assert "disagrees" in wrong["flags"]
    assert any("disagrees with the others" in warning and "wrong_sign (-" in warning for warning in content["warnings"])


def test_other_schemes_say_nothing_of_the_consensus_of_pairs():
    content = weighed(*SIDES, scheme=Encore()).to_dict()
    assert not {"explained", "consensus", "subsets"} & content.keys()
    assert "loading" not in content["rules"][0]


def test_consensus_times_encore_is_temperature_and_consensus_in_the_file():
    content = weighed(*SIDES, scheme=ConsensusEncore(temperature=0.5)).to_dict()
    assert (content["scheme"], content["temperature"]) == ("consensus_encore", 0.5)
    assert content["params"]["force_consensus"] is False


@pytest.mark.parametrize("force", [False, True])
def test_of_consensus_weights_that_are_equal_nothing_is_said_that_holds_for_others_alone(force: bool):
    chosen_KN, rejected_KN = np.random.default_rng(8).random((2, 3, 200)).astype(np.float32)
    chosen_KN[1], rejected_KN[1] = chosen_KN[0], rejected_KN[0]
    chosen_KN[2], rejected_KN[2] = 1 - chosen_KN[0], 1 - rejected_KN[0]
    rules = RuleSet([make_rule(name) for name in ("one", "copy", "against")])
    statistics = measure(chosen_KN, rejected_KN, rules=rules, with_products=True)
    content = weigh(statistics, scheme=Consensus(force_consensus=force)).to_dict()
    assert content["trusted"] is False
    assert (len({rule["weight"] for rule in content["rules"]}) > 1) is force
    said = " ".join(content["warnings"])
    assert "2 groups of rules differ, which is not enough (it takes 5" in said
    assert ("share the weight of one" in said) is force
    assert ("gets no weight from consensus" in said) is force
    flags = {flag for rule in content["rules"] for flag in rule["flags"]}
    assert ({"disagrees", "loading_clipped"} & flags != set()) is force
