"""Every scheme on the same pairs: golden counts, and what must not depend on how the corpus is cut."""

import math
from typing import Any

import numpy as np
import pytest

from encore_ray.composition.compare.comparison import _correlations
from encore_ray.composition.hashing.keys import is_heldout
from encore_ray.composition.sums.moments import Moments
from encore_ray.rules import RuleSet, Scale
from encore_ray.storage import to_json
from tests.composition.builders import RATINGS, make_rule, make_rules
from tests.composition.compared import compare

LEVELS = Scale(0.0, 2.0, (0.0, 1.0, 2.0))
LEARNED = {"best_single", "bradley_terry", "bradley_terry_simplex"}


def scheme(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    return next(scheme for scheme in comparison["schemes"] if scheme["name"] == name)


def counts(stats: dict[str, Any]) -> tuple[int, int, int]:
    return stats["wins"], stats["ties"], stats["losses"]


def keys_of(*heldout: bool) -> list[str]:
    """Keys of which those asked for are held out."""
    names = iter(range(1000))
    return [next(f"k{n}" for n in names if is_heldout([f"k{n}"])[0] == wanted) for wanted in heldout]


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """Differences of rule a: +2 +1 0 -2; of rule b: 0 -1 +2 0. Only the first pair is held out."""
    return compare(
        [[2, 2, 1, 0], [0, 0, 2, 2]],
        [[0, 1, 1, 2], [0, 1, 0, 2]],
        rules=RuleSet(make_rule(name, scale=LEVELS) for name in ("a", "b")),
        keys=keys_of(True, False, False, False),
        subsets=["x", "x", "y", None],
        shorter_N=[3, -1, 0, math.nan],
        temperature=0.25,
    )


def test_the_schemes_count_what_paper_and_pencil_count(table: dict[str, Any]):
    # Uniform: margins (d_a + d_b) / 2 = +1, 0, +1, -1.
    assert counts(scheme(table, "uniform")["all"]) == (2, 1, 1)
    # Ratings of a: 2 3 3 in cells 0 1 2, of b: 4 1 3. H = log 8 - sum(c log c) / 8: 1.082 and .974.
    # Weights exp(-H / .25): a .394, b .606. Margins +.79, -.21, +1.21, -.79.
    encore = scheme(table, "encore")
    assert encore["weights"] == pytest.approx({"a": 0.394, "b": 0.606}, abs=5e-4)
    assert counts(encore["all"]) == (2, 0, 2)
    assert encore["difference_to_uniform_all"]["value"] == (2 - 2.5) / 4
    assert encore["effective_num_rules"] == pytest.approx(1 / (0.394**2 + 0.606**2), abs=2e-3)
    # Rewards .394 a + .606 b of the eight responses; their sd by numpy.
    rewards = 0.39374 * np.array([2, 2, 1, 0, 0, 1, 1, 2]) + 0.60626 * np.array([0, 0, 2, 2, 0, 1, 0, 2])
    assert encore["reward_sd"] == pytest.approx(rewards.std(), abs=1e-4)
    # 1 - H / log 3 is .015 and .113: b outweighs a as 7.5 to 1, and wins wherever it speaks.
    assert counts(scheme(table, "one_minus_entropy")["all"]) == (2, 0, 2)
    # Both rules are the two that differ most, so the mask leaves uniform weights and ENCORE's as they are.
    assert counts(scheme(table, "max_discrepancy")["all"]) == (2, 1, 1)
    assert counts(scheme(table, "encore_max_discrepancy")["all"]) == (2, 0, 2)


def test_a_scheme_that_learns_is_evaluated_on_held_out_pairs_only(table: dict[str, Any]):
    assert {found["name"] for found in table["schemes"] if found["uses_labels"]} == LEARNED
    # On the calibration pairs a wins, ties, loses (.5), b loses, wins, ties (.5): equal, so the first one, a.
    best = scheme(table, "best_single")
    assert best["weights"] == {"a": 1.0, "b": 0.0}
    assert best["all"] is None
    assert best["difference_to_uniform_all"] is None
    assert counts(best["heldout"]) == (1, 0, 0)
    assert best["subsets"]["y"]["num_pairs"] == 0
    assert (best["subsets"]["x"]["num_pairs"], scheme(table, "encore")["subsets"]["x"]["num_pairs"]) == (1, 2)
    assert table["heldout"] == {"num_pairs": 1, "num_keys": 1}


def test_the_lengths_judge_only_pairs_whose_lengths_are_known(table: dict[str, Any]):
    shorter, longer = table["baselines"]
    assert (shorter["name"], counts(shorter["all"])) == ("shorter_wins", (1, 1, 1))
    assert (longer["name"], counts(longer["all"])) == ("longer_wins", (1, 1, 1))
    # On these three pairs uniform weights have 2.5 points of 3.
    assert shorter["difference_to_uniform_all"]["value"] == pytest.approx((1.5 - 2.5) / 3)


def test_rules_are_described_with_their_histograms(table: dict[str, Any]):
    rule = table["rules"][0]
    assert (counts(rule), rule["accuracy"]) == ((2, 1, 1), 2.5 / 4)
    assert rule["histogram"] == {
        "kind": "levels",
        "levels": [0.0, 1.0, 2.0],
        "chosen": [1, 1, 2],
        "rejected": [1, 2, 1],
        "single": [0, 0, 0],
    }
    # Differences +2 +1 0 -2 and 0 -1 +2 0: means 1/4 and 1/4, covariance (-1 - 4/16) / 4, variances 35/16 and 19/16.
    r = (-1 / 4 - 1 / 16) / math.sqrt(35 / 16 * 19 / 16)
    assert table["correlations"]["matrix"][0][1] == pytest.approx(r, abs=1e-4)
    assert table["world"] == "unclear"


def test_the_sweep_has_the_default_cell_and_every_other(table: dict[str, Any]):
    sweep = table["sweep"]
    assert sweep["temperatures"] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert sweep["num_bins"] == [None, 5, 20]
    assert len(sweep["cells"]) == 15
    (default,) = [cell for cell in sweep["cells"] if (cell["temperature"], cell["num_bins"]) == (0.25, None)]
    assert (default["largest_weight_change"], default["accuracy"]) == (0.0, 0.5)
    (warm,) = [cell for cell in sweep["cells"] if (cell["temperature"], cell["num_bins"]) == (4.0, 20)]
    # At tau = 4 the weights are exp(-1.082 / 4) to exp(-.974 / 4): .493 of a instead of .394.
    assert warm["largest_weight_change"] == pytest.approx(0.493 - 0.394, abs=1e-3)


def _noisy(num_pairs: int, *, num_rules: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    quality_N = rng.standard_normal(num_pairs)
    noise = np.geomspace(0.5, 4, num_rules)[:, None]
    sides = [5 + sign * 0.4 + quality_N + noise * rng.standard_normal((num_rules, num_pairs)) for sign in (1, -1)]
    return tuple(np.clip(np.round(side), 0, 10).astype(np.float32) for side in sides)  # type: ignore[return-value]


def test_cuts_change_no_bit_of_the_comparison():
    chosen_KN, rejected_KN = _noisy(9_000)
    how: dict[str, Any] = {
        "rules": make_rules(4, scale=RATINGS),
        "keys": [f"q{row // 2}" for row in range(9_000)],
        "subsets": [("a", "b", None)[row % 3] for row in range(9_000)],
        "shorter_N": [float(row % 5 - 2) for row in range(9_000)],
        "by_group": True,
    }
    whole = compare(chosen_KN, rejected_KN, **how)
    assert compare(chosen_KN, rejected_KN, cuts=[1, 700, 8_000], **how) == whole


def test_permuting_the_rules_permutes_their_weights_and_leaves_the_counts():
    chosen_KN, rejected_KN = _noisy(3_000)
    rules = make_rules(4, scale=RATINGS)
    order = [2, 0, 3, 1]
    here = compare(chosen_KN, rejected_KN, rules=rules)
    there = compare(chosen_KN[order], rejected_KN[order], rules=RuleSet(rules[k] for k in order))
    for name in ("encore", "uniform", "lowest_entropy", "max_discrepancy", "best_single"):
        assert counts(scheme(here, name)["heldout"]) == counts(scheme(there, name)["heldout"]), name
        assert scheme(here, name)["weights"] == scheme(there, name)["weights"], name


def test_polarity_is_applied_to_every_scheme():
    chosen_KN, rejected_KN = _noisy(3_000)
    better = compare(chosen_KN, rejected_KN, rules=make_rules(4, scale=RATINGS))
    worse_rules = RuleSet(make_rule(f"rule{k}", scale=RATINGS, higher_is="worse") for k in range(4))
    worse = compare(10 - chosen_KN, 10 - rejected_KN, rules=worse_rules)
    for found in better["schemes"]:
        assert scheme(worse, found["name"])["heldout"] == found["heldout"], found["name"]
    assert worse["entropy_accuracy"] == better["entropy_accuracy"]


def test_mapped_to_the_unit_range_a_wide_scale_counts_as_a_narrow_one():
    chosen_KN, rejected_KN = _noisy(3_000)
    wide = Scale(0.0, 1000.0, tuple(100.0 * level for level in range(11)))
    rules = RuleSet(make_rule(f"rule{k}", scale=wide if k == 1 else RATINGS) for k in range(4))
    factor_K1 = np.array([1.0, 100.0, 1.0, 1.0], dtype=np.float32)[:, None]
    mixed = compare(chosen_KN * factor_K1, rejected_KN * factor_K1, rules=rules, score_range="unit")
    plain = compare(chosen_KN, rejected_KN, rules=make_rules(4, scale=RATINGS))
    for name in ("encore", "uniform", "max_discrepancy", "inverse_variance"):
        assert scheme(mixed, name)["all"] == scheme(plain, name)["all"], name
    assert scheme(mixed, "encore")["reward_sd"] == pytest.approx(scheme(plain, "encore")["reward_sd"] / 10, rel=1e-4)


def test_dropped_rules_have_no_weight_in_any_scheme():
    chosen_KN, rejected_KN = _noisy(3_000)
    chosen_KN[1], rejected_KN[1] = 7, 7
    comparison = compare(chosen_KN, rejected_KN, rules=make_rules(4, scale=RATINGS), min_active=0.1)
    for found in comparison["schemes"]:
        assert not found["weights"] or found["weights"]["rule1"] == 0, found["name"]
    assert scheme(comparison, "lowest_entropy")["params"] == {"num_rules": 3}
    assert comparison["rules"][1]["bradley_terry_weight"] is None
    without = compare(chosen_KN[[0, 2, 3]], rejected_KN[[0, 2, 3]], rules=make_rules(3, scale=RATINGS))
    for name in ("uniform", "max_discrepancy", "bradley_terry", "random"):
        assert scheme(comparison, name)["heldout"] == scheme(without, name)["heldout"], name


def test_rules_that_tell_the_same_are_named():
    chosen_KN, rejected_KN = _noisy(2_000)
    chosen_KN[3], rejected_KN[3] = 10 - chosen_KN[0], 10 - rejected_KN[0]
    comparison = compare(chosen_KN, rejected_KN, rules=make_rules(4, scale=RATINGS))
    assert comparison["correlations"]["redundant"] == [{"a": "rule0", "b": "rule3", "r": -1.0}]
    assert any("rule0 and rule3 (r = -1.00)" in warning for warning in comparison["warnings"])


def test_a_scheme_without_weights_is_left_out_with_its_reason():
    # Every level equally often under both rules: H = log 2, and 1 - H / log 2 = 0.
    halves = Scale(0.0, 1.0, (0.0, 1.0))
    rules = RuleSet(make_rule(name, scale=halves) for name in ("a", "b"))
    comparison = compare([[1, 1, 1], [1, 0, 1]], [[0, 0, 0], [0, 1, 0]], rules=rules)
    assert "one_minus_entropy" not in {found["name"] for found in comparison["schemes"]}
    assert any(warning.startswith("Not compared: one_minus_entropy. ") for warning in comparison["warnings"])


def test_without_calibration_pairs_nothing_learns_and_without_held_out_pairs_nothing_is_evaluated_on_them():
    rules = make_rules(2, scale=LEVELS)
    ratings = [[2, 2], [1, 0]], [[0, 1], [0, 2]]
    unlearned = compare(*ratings, rules=rules, keys=keys_of(True, True))
    assert not LEARNED & {found["name"] for found in unlearned["schemes"]}
    for name in LEARNED:
        assert any(f"Not compared: {name}. " in warning for warning in unlearned["warnings"])
    unevaluated = compare(*ratings, rules=rules, keys=keys_of(False, False))
    assert scheme(unevaluated, "encore")["heldout"]["accuracy"] is None
    assert scheme(unevaluated, "encore")["difference_to_uniform"] == {"value": None, "low": None, "high": None}
    assert any("No pair is held out" in warning for warning in unevaluated["warnings"])
    assert "held-out" not in unevaluated["verdict"]


def test_weights_of_each_subset_compete_where_asked_for():
    # Rule a is constant in subset x and b in y, so ENCORE weighs a up in x and b in y.
    rules = make_rules(2, scale=LEVELS)
    chosen, rejected = [[1, 1, 0, 1], [0, 1, 1, 1]], [[1, 1, 1, 0], [1, 0, 1, 1]]
    comparison = compare(chosen, rejected, rules=rules, subsets=["x", "x", "y", "y"], by_group=True, temperature=0.1)
    grouped = scheme(comparison, "encore_by_group")
    assert grouped["weights"] is None
    # Differences of a: 0 0 -1 +1, of b: -1 +1 0 0. In x only b differs, in y only a: margins -w +w -w +w of small w.
    assert counts(grouped["all"]) == (2, 0, 2)


@pytest.mark.parametrize("temperature", [1e-2, 3e-4, 1e-4])
def test_at_a_low_temperature_the_sample_size_is_of_the_rules_that_have_weight(temperature):
    # Entropies of 30 pairs differ by tenths, and weights by exp(-.1 / temperature).
    ratings_KN = np.random.default_rng(2).random((2, 3, 30))
    size = compare(*ratings_KN, rules=make_rules(3), temperature=temperature)["sample_size"]
    # No weight is above 1, none that counts under .001: an error of 500, and (500 / .01)^2 times the pairs.
    assert 0 < size["weight_error"] <= 500
    assert size["needed_pairs"] <= 30 * 50_000**2


def test_rewards_made_elsewhere_stand_beside_the_schemes() -> None:
    rng = np.random.default_rng(5)
    chosen_KN, rejected_KN = rng.integers(0, 3, (2, 2, 400)).astype(np.float64)
    uniform_N = (chosen_KN - rejected_KN).mean(axis=0)
    some_N = np.where(np.arange(400) % 4 == 0, np.nan, uniform_N)
    arguments = {
        "rules": RuleSet(make_rule(name, scale=LEVELS) for name in ("a", "b")),
        "subsets": [("x", "y")[n % 2] for n in range(400)],
        "shorter_N": rng.normal(size=400),
        "beside": {"same": uniform_N, "some": some_N},
    }
    found = compare(chosen_KN, rejected_KN, **arguments)
    same, some = found["beside"]
    uniform = scheme(found, "uniform")
    for part in ("all", "heldout", "subsets"):
        assert same[part] == uniform[part]
    assert same["difference_to_uniform_all"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (some["name"], some["params"]) == ("some", {"rewards": "some/rewards"})
    known_N = ~np.isnan(some_N)
    assert counts(some["all"]) == tuple(
        int((test(some_N[known_N])).sum()) for test in (lambda m: m > 0, lambda m: m == 0, lambda m: m < 0)
    )
    # Intervals are those of the pairs it knows, whose keys are three quarters of all.
    width, width_of_all = (stats["accuracy_high"] - stats["accuracy_low"] for stats in (some["all"], same["all"]))
    assert width > 1.1 * width_of_all
    assert [line["name"] for line in found["baselines"]] == ["shorter_wins", "longer_wins"]
    assert found["baselines"] == compare(chosen_KN, rejected_KN, **{**arguments, "beside": None})["baselines"]
    assert compare(chosen_KN, rejected_KN, **arguments, cuts=(7, 300))["beside"] == found["beside"]


def test_selected_rules_compete_with_equal_weights_with_encores_and_against_as_many_at_random():
    rng = np.random.default_rng(5)
    chosen, rejected = rng.integers(0, 11, (2, 6, 300)).astype(np.float32)
    mask_KN = np.zeros((6, 300), dtype=bool)
    mask_KN[0], mask_KN[3, :100], mask_KN[4, 100:] = True, True, True
    rules = make_rules(6, scale=RATINGS)
    whole = compare(chosen, rejected, rules=rules, mask_KN=mask_KN, temperature=0.5)
    assert [found["name"] for found in whole["schemes"]][-3:] == ["selected", "encore_selected", "random_selected"]
    d_KN = chosen.astype(np.float64) - rejected
    weights = scheme(whole, "encore")["weights"]
    other_N = np.where(np.arange(300) < 100, 3, 4)
    for name, weight_K in (("selected", np.ones(6)), ("encore_selected", np.array(list(weights.values())))):
        kept_2N = np.stack([np.full(300, weight_K[0]), weight_K[other_N]])
        margin_N = (kept_2N * np.stack([d_KN[0], d_KN[other_N, np.arange(300)]])).sum(axis=0) / kept_2N.sum(axis=0)
        expected = int((margin_N > 1e-9).sum()), int((abs(margin_N) <= 1e-9).sum()), int((margin_N < -1e-9).sum())
        assert counts(scheme(whole, name)["all"]) == expected
    assert scheme(whole, "selected")["params"] == {"num_rules": 2, "by": "scores"}
    assert scheme(whole, "encore_selected")["params"] == {"temperature": 0.5, "num_rules": 2, "by": "scores"}
    assert scheme(whole, "random_selected")["params"] == {"num_rules": 2, "seed": 0}
    cut = compare(chosen, rejected, rules=rules, mask_KN=mask_KN, temperature=0.5, cuts=[70, 71, 200])
    for name in ("selected", "encore_selected", "random_selected"):
        assert scheme(cut, name) == scheme(whole, name)
    without = compare(chosen, rejected, rules=rules, temperature=0.5)["schemes"]
    masked = {"max_discrepancy", "encore_max_discrepancy"}  # of as many rules as are selected, else of five
    assert [found for found in without if found["name"] not in masked] == [
        found for found in whole["schemes"][:-3] if found["name"] not in masked
    ]
    assert scheme(whole, "max_discrepancy")["params"] == {"num_rules": 2}


def test_a_pair_without_selected_rules_is_a_tie():
    mask_KN = np.array([[True, False, True], [False, False, False]])
    found = compare([[3, 5, 1], [5, 5, 5]], [[1, 1, 2], [1, 1, 1]], rules=make_rules(2, scale=RATINGS), mask_KN=mask_KN)
    assert counts(scheme(found, "selected")["all"]) == (1, 1, 1)


def test_a_selection_that_does_not_beat_rules_drawn_at_random_is_warned_about():
    # Rule 0 is right about every pair, rule 1 about none.
    sides = [[3] * 40, [1] * 40], [[1] * 40, [3] * 40]
    for k, is_warned in ((0, False), (1, True)):
        mask_KN = np.zeros((2, 40), dtype=bool)
        mask_KN[k] = True
        found = compare(*sides, rules=make_rules(2, scale=RATINGS), mask_KN=mask_KN)
        said = [warning for warning in found["warnings"] if "drawn at random" in warning]
        assert bool(said) == is_warned
        if said:
            assert "The rules selected for each pair agree with 0.0% of the labels" in said[0]


def test_of_many_rules_the_closest_pairs_are_told_and_how_many_are_nearly_the_same():
    names = [f"rule{k}" for k in range(300)]
    values_KN = np.random.default_rng(0).normal(size=(300, 50))
    values_KN[250:] = values_KN[249]  # 51 rules are the same: 51 * 50 / 2 pairs
    found = _correlations(Moments.of(values_KN), names)
    assert [len(row) for row in found["matrix"]] == [100] * 100
    assert len(found["closest"]) == len(found["redundant"]) == 100
    assert found["num_redundant"] == 51 * 50 // 2
    assert all({pair["a"], pair["b"]} <= set(names[249:]) for pair in found["closest"])
    assert len(to_json(found)) < 400_000
