"""The four planted worlds: accuracies within .02 of those measured for other seeds, and the right words for each."""

from typing import Any

import numpy as np
import pytest

from encore_ray.corpora.planted.corpus import World, planted_ratings
from tests.composition.builders import make_rules
from tests.composition.compared import compare

# uniform, ENCORE at .25, .5, 1 and 2, one_minus_entropy, bradley_terry
MEASURED: dict[World, list[float]] = {
    "noise": [0.662, 0.769, 0.740, 0.703, 0.682, 0.748, 0.773],
    "signal": [0.704, 0.615, 0.651, 0.677, 0.690, 0.661, 0.748],
    "noise_and_degenerate": [0.661, 0.691, 0.687, 0.694, 0.677, 0.734, 0.773],
    "noise_and_wrong_sign": [0.656, 0.548, 0.664, 0.682, 0.671, 0.719, 0.778],
}
PEARSON: dict[World, float] = {
    "noise": -0.97,
    "signal": 0.98,
    "noise_and_degenerate": 0.14,
    "noise_and_wrong_sign": 0.02,
}


@pytest.fixture(scope="module")
def worlds() -> dict[World, dict[str, Any]]:
    return {world: _compare(world) for world in MEASURED}


def _compare(world: World) -> dict[str, Any]:
    planted = planted_ratings(world, num_pairs=20_000, seed=17)
    return compare(planted.chosen_NK.T, planted.rejected_NK.T, rules=planted.rules)


def _scheme(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    return next(scheme for scheme in comparison["schemes"] if scheme["name"] == name)


@pytest.mark.parametrize("world", MEASURED)
def test_every_scheme_has_its_measured_accuracy(world: World, worlds: dict[World, dict[str, Any]]):
    comparison = worlds[world]
    cells = {cell["temperature"]: cell["accuracy"] for cell in comparison["sweep"]["cells"] if not cell["num_bins"]}
    found = [_scheme(comparison, "uniform")["all"]["accuracy"], *(cells[tau] for tau in (0.25, 0.5, 1.0, 2.0))]
    found.append(_scheme(comparison, "one_minus_entropy")["all"]["accuracy"])
    assert found == pytest.approx(MEASURED[world][:-1], abs=0.02)
    # On 4,000 held-out pairs the standard error alone is .0066.
    learned = _scheme(comparison, "bradley_terry")["heldout"]["accuracy"]
    assert learned == pytest.approx(MEASURED[world][-1], abs=0.03)
    assert comparison["entropy_accuracy"]["pearson"] == pytest.approx(PEARSON[world], abs=0.08)
    assert cells[2.0] == _scheme(comparison, "encore")["all"]["accuracy"]


def test_noise_drives_entropy_in_the_first_world(worlds: dict[World, dict[str, Any]]):
    comparison = worlds["noise"]
    assert comparison["world"] == "noise_drives_entropy"
    assert "what ENCORE builds on" in comparison["verdict"]
    assert "significantly better" in comparison["verdict"]
    assert "Of the schemes that look at no label consensus is best with 7" in comparison["verdict"]
    assert "Use consensus on this corpus" in comparison["verdict"]
    assert comparison["theory_check"]["pearson"] < -0.8
    assert comparison["warnings"] == []


def test_signal_drives_entropy_in_the_second_world(worlds: dict[World, dict[str, Any]]):
    comparison = worlds["signal"]
    assert comparison["world"] == "signal_drives_entropy"
    assert "significantly worse" in comparison["verdict"]
    assert "Without labels one would choose consensus here (consensus is trusted)" in comparison["verdict"]
    assert "Use consensus on this corpus" in comparison["verdict"]
    assert comparison["theory_check"]["pearson"] > 0.8


def test_the_degenerate_rules_of_the_third_world_are_flagged(worlds: dict[World, dict[str, Any]]):
    comparison = worlds["noise_and_degenerate"]
    assert comparison["world"] == "unclear"
    flags = {rule["name"]: set(rule["flags"]) for rule in comparison["rules"]}
    assert flags["constant"] == {"mode_share", "low_entropy", "rarely_active"}
    assert {"low_entropy", "rarely_active"} <= flags["rare"]
    assert not any(flags[name] for name in flags if name.startswith("noise_"))
    told = " ".join(comparison["warnings"])
    assert "2 of 13 rules whose scores hardly vary: constant" in told
    assert "no better than a coin: " in told and "tight_noise (" in told
    assert "First drop the rules whose scores hardly vary (weigh.min_active 0.10)" in comparison["verdict"]


def test_the_wrong_sign_rule_of_the_fourth_world_is_flagged(worlds: dict[World, dict[str, Any]]):
    comparison = worlds["noise_and_wrong_sign"]
    flags = {rule["name"]: rule["flags"] for rule in comparison["rules"]}
    assert [name for name in flags if "below_chance" in flags[name]] == ["wrong_sign"]
    assert next(rule for rule in comparison["rules"] if rule["name"] == "wrong_sign")["bradley_terry_weight"] < 0
    assert "First check the direction (higher_is)" in comparison["verdict"]


@pytest.mark.parametrize("world", MEASURED)
def test_what_is_told_without_labels_is_what_the_labels_tell(world: World, worlds: dict[World, dict[str, Any]]):
    consensus, label_free = (worlds[world][name] for name in ("consensus", "label_free"))
    assert consensus["trusted"]
    found = consensus["entropy_loading"]
    assert found["pearson"] == pytest.approx(worlds[world]["entropy_accuracy"]["pearson"], abs=0.1)
    assert found["pearson_low"] < found["pearson"] < found["pearson_high"]
    assert consensus["world"] == worlds[world]["world"]
    assert (label_free["choice"], label_free["best"]) == ("consensus", "consensus")
    assert label_free["difference"]["value"] > 0
    # no scheme that learns from labels is better by what 4,000 held-out pairs can show
    assert -0.01 < label_free["heldout"]["difference"]["value"] <= 0
    difference = _scheme(worlds[world], "consensus")["difference_to_uniform_all"]
    assert difference["low"] > 0.02


def test_consensus_times_encore_is_between_the_two_where_noise_drives_entropy(
    worlds: dict[World, dict[str, Any]],
):
    accuracies = {
        name: _scheme(worlds["noise"], name)["all"]["accuracy"] for name in ("encore", "consensus_encore", "consensus")
    }
    assert accuracies["encore"] < accuracies["consensus_encore"] < accuracies["consensus"] + 0.005


def test_rules_that_share_the_length_are_seen_to():
    rng = np.random.default_rng(5)
    shorter_N = rng.integers(-400, 400, 4000)
    score_2KN = 0.5 + rng.normal(0, 0.08, (2, 6, 4000))
    score_2KN[0] += shorter_N / 2500
    rules = make_rules(6)
    swapped_N = rng.random(4000) < 0.5  # which response was chosen says nothing, and changes nothing
    a_KN, b_KN = (np.where(swapped_N, x, y) for x, y in (score_2KN, score_2KN[::-1]))
    found = [
        compare(*sides, rules=rules, shorter_N=length_N)["consensus"]
        for sides, length_N in (
            ((np.clip(score_2KN[0], 0, 1), np.clip(score_2KN[1], 0, 1)), shorter_N),
            ((np.clip(b_KN, 0, 1), np.clip(a_KN, 0, 1)), np.where(swapped_N, -shorter_N, shorter_N)),
        )
    ]
    assert found[0] == found[1]
    assert found[0]["trusted"]
    assert found[0]["length"]["shorter_wins"] > 0.5
    assert found[0]["length"]["longer_wins"] == -found[0]["length"]["shorter_wins"]
    assert "the consensus goes with the shorter response" in found[0]["verdict"]


def test_fewer_pairs_give_wider_intervals_and_say_how_many_are_needed():
    planted = planted_ratings("noise", num_pairs=20_000, seed=17)
    # A twentieth of the pairs: errors grow by sqrt(20) = 4.5, the pairs that are needed stay.
    few, many = (
        compare(planted.chosen_NK[:n].T, planted.rejected_NK[:n].T, rules=planted.rules)["sample_size"]
        for n in (1_000, 20_000)
    )
    assert few["weight_error"] / many["weight_error"] == pytest.approx(4.5, rel=0.3)
    assert many["enough"] is True
    assert few["enough"] is False
    assert few["needed_pairs"] == pytest.approx(many["needed_pairs"], rel=0.6)


def test_where_noise_drives_entropy_the_rules_that_differ_most_are_the_noisiest(worlds: dict[World, dict[str, Any]]):
    masked, encore, uniform = (
        _scheme(worlds["noise"], name)["all"]["accuracy"]
        for name in ("max_discrepancy", "encore_max_discrepancy", "uniform")
    )
    assert masked + 0.015 < uniform
    assert masked + 0.01 < encore < uniform
