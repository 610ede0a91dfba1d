import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.weigh.bradley_terry import BradleyTerryFit, Solution
from encore_ray.composition.weigh.evidence import Learned
from encore_ray.composition.weigh.schemes import (
    BestSingle,
    BradleyTerry,
    BradleyTerrySimplex,
    Encore,
    InverseVariance,
    LowestEntropy,
    OneMinusEntropy,
    Single,
    Uniform,
)
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.errors import ConfigError, DataError
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import RATINGS, make_rule, make_rules, measure, plant_world

BY_RULE_ALONE = [Encore(), OneMinusEntropy(), LowestEntropy(2), Uniform(), InverseVariance()]


def corpus(num_rules, n=60, *, seed=0):
    rng = np.random.default_rng(seed)
    spread_K = np.linspace(0.1, 1, num_rules)[:, None]
    return tuple((rng.random((2, num_rules, n)) * spread_K).astype(np.float32))


def weight_of(weights):
    return {rule.name: rule.weight for rule in weights.rules}


def test_two_rules_get_the_weights_of_the_formula():
    # rule0: a fair coin, H = ln 2; rule1: constant, H = 0. exp(-ln 2 / 2) = 1 / sqrt 2 against 1
    weights = weigh(measure([[0, 1], [1, 1]], [[1, 0], [1, 1]], rules=make_rules(2), num_bins=2))
    root = math.sqrt(0.5)
    assert [rule.entropy.value for rule in weights.rules] == pytest.approx([math.log(2), 0.0], abs=1e-15)
    assert [rule.weight for rule in weights.rules] == pytest.approx([root / (1 + root), 1 / (1 + root)], abs=1e-15)
    assert weights.rules[1].mode_share == 1.0
    assert weights.rules[0].active_pair_share == 1.0
    assert [rule.contribution_share for rule in weights.rules] == [1.0, 0.0]
    assert (weights.rules[0].wins, weights.rules[0].ties, weights.rules[0].losses) == (1, 0, 1)
    assert weights.rules[1].accuracy == 0.5


@given(st.integers(2, 50), st.lists(st.integers(0, 50), max_size=3), st.randoms())
def test_splitting_a_corpus_leaves_weights_bit_identical(n, cuts, random):
    chosen_KN, rejected_KN = corpus(3, n)
    rules, order = make_rules(3), random.sample(range(n), n)
    bounds = [0, *sorted(min(cut, n) for cut in cuts), n]
    merged = measure(chosen_KN, rejected_KN, rules=rules, rows=[])
    for a, b in itertools.pairwise(bounds):
        merged = merged + measure(chosen_KN, rejected_KN, rules=rules, rows=order[a:b])
    expected = weigh(measure(chosen_KN, rejected_KN, rules=rules))
    assert json.dumps(weigh(merged).to_dict()) == json.dumps(expected.to_dict())


@given(st.permutations(range(6)), st.sampled_from(BY_RULE_ALONE))
def test_permuting_rules_permutes_weights_to_the_last_bit(order, scheme):
    chosen_KN, rejected_KN = corpus(6)
    rules = make_rules(6)
    permuted = measure(chosen_KN[order], rejected_KN[order], rules=RuleSet(rules[k] for k in order))
    found = weigh(permuted, scheme=scheme)
    expected = weigh(measure(chosen_KN, rejected_KN, rules=rules), scheme=scheme)
    assert weight_of(found) == weight_of(expected)
    assert {rule.name: rule.contribution_share for rule in found.rules} == {
        rule.name: rule.contribution_share for rule in expected.rules
    }
    assert found.entropy_accuracy == expected.entropy_accuracy


def test_flipping_a_polarity_leaves_entropy_and_weight_and_mirrors_wins():
    chosen_KN, rejected_KN = corpus(2)
    one = weigh(measure(chosen_KN, rejected_KN, rules=RuleSet([make_rule("a"), make_rule("b")])))
    two = weigh(measure(chosen_KN, rejected_KN, rules=RuleSet([make_rule("a", higher_is="worse"), make_rule("b")])))
    assert weight_of(one) == weight_of(two)
    assert one.rules[0].entropy == two.rules[0].entropy
    assert one.counts_sha256 == two.counts_sha256
    assert (one.rules[0].wins, one.rules[0].losses) == (two.rules[0].losses, two.rules[0].wins)
    assert one.fingerprint != two.fingerprint


def test_bits_at_temperature_over_ln_2_are_nats():
    statistics = measure(*corpus(3), rules=make_rules(3))
    nats, bits = weigh(statistics), weigh(statistics, log_base="2", scheme=Encore(2 / math.log(2)))
    assert list(weight_of(bits).values()) == pytest.approx(list(weight_of(nats).values()), rel=1e-12)


def test_bad_scores_are_never_weighed():
    with pytest.raises(DataError, match="not finite"):
        weigh(measure([[math.nan]], [[0.0]], rules=make_rules(1)))
    with pytest.raises(DataError, match="out of range"):
        weigh(measure([[1.5]], [[0.0]], rules=make_rules(1)))


def test_no_scores_at_all_are_refused():
    with pytest.raises(DataError, match="no score to weigh"):
        weigh(measure(np.zeros((1, 0)), np.zeros((1, 0)), rules=make_rules(1)))


def test_single_responses_alone_have_weights_and_no_pair_statistics():
    weights = weigh(measure([[0.1, 0.9]], [[math.nan] * 2], rules=make_rules(1), has_rejected_N=[False, False]))
    rule = weights.rules[0]
    assert (weights.num_pairs, weights.num_responses, rule.weight) == (0, 2, 1.0)
    assert rule.entropy.value == pytest.approx(math.log(2))
    assert [rule.active_pair_share, rule.contribution_share, rule.wins, rule.ties, rule.losses, rule.accuracy] == [
        None
    ] * 6
    assert weights.entropy_accuracy.pearson is None
    assert "rarely_active" not in rule.flags


def test_rules_of_different_range_are_refused_unless_the_user_says_how_to_add_them():
    rules = RuleSet([make_rule("a"), make_rule("b", scale=Scale(0.0, 10.0))])
    statistics = measure([[0.2, 0.8], [2.0, 8.0]], [[0.7, 0.1], [7.0, 1.0]], rules=rules)
    with pytest.raises(
        DataError, match=r"a 0 to 1, b 0 to 10.* weigh.score_range: unit maps .* weigh.score_range: raw"
    ):
        weigh(statistics)
    unit, raw = weigh(statistics, score_range="unit"), weigh(statistics, score_range="raw")
    # equal entropies, equal weights; b's differences are ten times a's
    assert list(weight_of(unit).values()) == list(weight_of(raw).values()) == [0.5, 0.5]
    assert [rule.contribution_share for rule in unit.rules] == pytest.approx([1 / 2, 1 / 2], rel=1e-12)
    assert [rule.contribution_share for rule in raw.rules] == pytest.approx([1 / 11, 10 / 11], rel=1e-12)
    assert any("weigh.score_range raw" in warning for warning in raw.warnings)
    assert not any("weigh.score_range raw" in warning for warning in unit.warnings)
    assert unit.fingerprint != raw.fingerprint


def test_rules_of_equal_width_but_other_ends_also_differ():
    rules = RuleSet([make_rule("a"), make_rule("b", scale=Scale(-0.5, 0.5))])
    with pytest.raises(DataError, match="different ranges"):
        weigh(measure([[0.2], [0.2]], [[0.1], [0.1]], rules=rules))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_base": "10"}, "Unknown log base '10'; known: e, 2"),
        ({"estimator": "best"}, "Unknown estimator 'best'; known: plugin, miller_madow"),
        ({"score_range": "z"}, "Unknown score range 'z'; known: declared, unit, raw"),
        ({"min_active": 1.5}, "from 0 to 1; found 1.5"),
        ({"scheme": Encore(0.0)}, "temperature"),
    ],
)
def test_a_wrong_option_is_refused_with_the_known_ones(options, message):
    with pytest.raises(ConfigError, match=message):
        weigh(measure([[0.1]], [[0.2]], rules=make_rules(1)), **options)


def degenerate_statistics():
    """40 pairs: a lively rule, one that is always 1, and one that fires in 1 of 40 pairs."""
    rng = np.random.default_rng(3)
    chosen_KN, rejected_KN = np.ones((2, 3, 40))
    chosen_KN[0], rejected_KN[0] = rng.random((2, 40))
    rejected_KN[2, 7] = 0.0
    rules = RuleSet([make_rule("lively"), make_rule("constant"), make_rule("rare")])
    return measure(chosen_KN, rejected_KN, rules=rules)


def test_degenerate_rules_are_flagged_and_their_weight_is_said_aloud():
    weights = weigh(degenerate_statistics(), scheme=Encore(0.5))
    lively, constant, rare = weights.rules
    assert not {"mode_share", "low_entropy", "rarely_active"} & set(lively.flags)
    assert {"mode_share", "low_entropy", "rarely_active"} <= set(constant.flags)
    assert {"low_entropy", "rarely_active"} <= set(rare.flags)
    assert "mode_share" not in rare.flags  # 79 of 80 responses in one cell, .9875
    weight = f"{constant.weight + rare.weight:.1%}"
    assert f"{weight} of the weight is on 2 of 3 rules whose scores hardly vary: constant" in weights.warnings[0]
    assert "set weigh.min_active to 0.10" in weights.warnings[0]


def test_min_active_is_not_advised_where_it_would_drop_every_rule():
    chosen_KN, rejected_KN = np.ones((2, 2, 40))
    rejected_KN[[0, 1], [3, 7]] = 0.0
    weights = weigh(measure(chosen_KN, rejected_KN, rules=make_rules(2)))
    assert "2 of 2 rules whose scores hardly vary" in weights.warnings[0]
    assert weights.warnings[0].endswith("Remove such rules.")


def test_a_scale_far_too_wide_for_its_scores_is_told_as_such():
    rng = np.random.default_rng(3)
    chosen_KN, rejected_KN = rng.random((2, 2, 40))
    rules = RuleSet([make_rule("lively"), make_rule("narrow", scale=Scale(0.0, 100.0))])
    weights = weigh(measure(chosen_KN, rejected_KN, rules=rules), score_range="unit")
    assert {"mode_share", "low_entropy", "rarely_active"} <= set(weights.rules[1].flags)
    (warning,) = [warning for warning in weights.warnings if "narrow" in warning and "wide" in warning]
    assert "its scale is far too wide for its scores" in warning
    assert " on 0 to 100; `scale: {lo: 0.0" in warning and "hi: 1}` fits. Entropies are counted" in warning
    assert not [warning for warning in weights.warnings if "hardly vary" in warning]
    chosen_KN[1] = rejected_KN[1] = 99.9 + chosen_KN[1] / 10  # a rule that never fires, by a head that is never exact
    weights = weigh(measure(chosen_KN, rejected_KN, rules=rules), score_range="unit")
    assert not [warning for warning in weights.warnings if "wide" in warning]
    assert "1 of 2 rules whose scores hardly vary: narrow" in weights.warnings[0]


def test_min_active_drops_rarely_active_rules_and_applies_the_scheme_to_the_rest():
    weights = weigh(degenerate_statistics(), min_active=0.1)
    assert weight_of(weights) == {"lively": 1.0, "constant": 0.0, "rare": 0.0}
    assert ["dropped_by_min_active" in rule.flags for rule in weights.rules] == [False, True, True]
    assert weights.to_dict()["params"]["min_active"] == 0.1
    assert any("2 of 3 rules have weight 0" in warning for warning in weights.warnings)
    # rare is active in 1 of 40 pairs, exactly the threshold: kept
    assert weigh(degenerate_statistics(), min_active=0.025).rules[2].weight > 0


def test_min_active_that_cannot_be_met_is_refused():
    with pytest.raises(DataError, match=r"drops every rule: the most active one differs in 0\.0% of pairs"):
        weigh(measure([[0.5]], [[0.5]], rules=make_rules(1)), min_active=0.5)
    with pytest.raises(DataError, match="needs pairs"):
        weigh(measure([[0.5]], [[math.nan]], rules=make_rules(1), has_rejected_N=[False]), min_active=0.5)


def test_a_rule_significantly_under_half_is_warned_of_and_not_flipped():
    chosen_KN, rejected_KN = np.tile([0.2, 0.3, 0.2, 0.9], 25)[None], np.tile([0.8, 0.9, 0.7, 0.1], 25)[None]
    weights = weigh(measure(chosen_KN, rejected_KN, rules=make_rules(1)))
    assert (weights.rules[0].accuracy, weights.rules[0].higher_is) == (0.25, "better")
    assert "below_chance" in weights.rules[0].flags
    assert any("25.0% of the labels" in w and "not flipped" in w for w in weights.warnings)
    # the same pairs under four prompts are four observations: nothing is significant
    few = weigh(measure(chosen_KN, rejected_KN, rules=make_rules(1), keys=["a", "b", "c", "d"] * 25))
    assert "below_chance" not in few.rules[0].flags


def test_rules_of_pure_noise_are_not_called_below_chance():
    rng = np.random.default_rng(0)
    chosen_KN, rejected_KN = rng.random((2, 100, 1000))
    weights = weigh(measure(chosen_KN, rejected_KN, rules=make_rules(100)))
    assert not any("below_chance" in rule.flags for rule in weights.rules)


def test_ratings_on_a_scale_without_levels_are_recognised_and_a_small_sample_is_not():
    ratings = np.tile([0.0, 0.25, 0.5, 1.0], 10)[None]
    weights = weigh(measure(ratings, ratings[:, ::-1], rules=make_rules(1)))
    assert "looks_like_ratings" in weights.rules[0].flags
    assert any("levels: [0, 0.25, 0.5, 1]" in warning for warning in weights.warnings)
    continuous_KN = np.random.default_rng(0).random((2, 1, 20))
    assert "looks_like_ratings" not in weigh(measure(*continuous_KN, rules=make_rules(1))).rules[0].flags
    declared = measure(ratings, ratings, rules=make_rules(1, scale=Scale(0.0, 1.0, (0.0, 0.25, 0.5, 1.0))))
    assert "looks_like_ratings" not in weigh(declared).rules[0].flags
    # One value only: there are no levels to declare.
    constant_KN = np.full((2, 1, 200), 0.7)
    assert "looks_like_ratings" not in weigh(measure(*constant_KN, rules=make_rules(1))).rules[0].flags


def test_clipped_and_off_level_scores_are_flagged_with_their_counts():
    clipped = weigh(measure([[0.5, 1.5]], [[0.1, -2.0]], rules=make_rules(1), clip=True))
    assert clipped.clip
    assert "clipped" in clipped.rules[0].flags
    assert any(
        "of 4 a rule, were counted in the end cells: " in warning and " 2 (-2 to 1.5 on 0 to 1)" in warning
        for warning in clipped.warnings
    )
    off = weigh(measure([[5.5, 1.0]], [[2.0, 3.0]], rules=make_rules(1, scale=RATINGS)))
    assert "off_level" in off.rules[0].flags
    assert any("1 of 4 scores are none of its declared levels" in warning for warning in off.warnings)


def test_concentrated_weights_are_pointed_out():
    chosen_KN, rejected_KN = corpus(5, 400)
    weights = weigh(measure(chosen_KN, rejected_KN, rules=make_rules(5)), scheme=Encore(0.05))
    assert any(f"act like {weights.effective_num_rules:.1f} of 5 rules; rule0" in w for w in weights.warnings)


def test_each_subset_has_its_own_entropies():
    statistics = measure([[0.1, 0.1, 0.9]], [[0.9, 0.1, 0.9]], rules=make_rules(1), subsets=["a", "b", None])
    groups = weigh(statistics).groups
    assert groups == {
        "a": {"num_responses": 2, "entropies": {"rule0": pytest.approx(math.log(2), abs=1e-15)}},
        "b": {"num_responses": 2, "entropies": {"rule0": 0.0}},
    }


def test_entropy_against_accuracy_leaves_out_rules_that_never_vary():
    world = plant_world([0.8] * 4, np.geomspace(0.4, 6, 4), num_pairs=500, seed=1)
    chosen_KN, rejected_KN = world.chosen_KN.copy(), world.rejected_KN.copy()
    chosen_KN[3] = rejected_KN[3] = 10.0
    found = weigh(measure(chosen_KN, rejected_KN, rules=world.rules)).entropy_accuracy
    assert found.num_rules == 3
    assert found.pearson is not None


def test_inverse_variance_is_of_differences_in_composed_units():
    rules = RuleSet([make_rule("a"), make_rule("b", scale=Scale(0.0, 10.0)), make_rule("same")])
    chosen_KN, rejected_KN = [[0.5, 0.5], [9.0, 1.0], [0.3, 0.3]], [[0.25, 0.75], [5.0, 5.0], [0.1, 0.1]]
    # population variances of d: a (.25, -.25) 1/16; b (4, -4) 16, mapped to [0, 1] (.4, -.4) .16; same (.2, .2) 0
    statistics = measure(chosen_KN, rejected_KN, rules=rules)
    raw = weigh(statistics, scheme=InverseVariance(), score_range="raw")
    # 16 : 1/16 = 256 : 1
    assert list(weight_of(raw).values()) == pytest.approx([256 / 257, 1 / 257, 0], abs=1e-15)
    unit = weigh(statistics, scheme=InverseVariance(), score_range="unit")
    # 16 : 6.25 = 64 : 25
    assert list(weight_of(unit).values()) == pytest.approx([64 / 89, 25 / 89, 0], abs=1e-15)


def test_a_dropped_rule_is_not_seen_by_the_scheme():
    # constant has the lowest entropy of all, and min_active takes it out before the lowest one is picked
    assert weight_of(weigh(degenerate_statistics(), scheme=LowestEntropy(1)))["constant"] == 1.0
    found = weigh(degenerate_statistics(), scheme=LowestEntropy(1), min_active=0.02)
    assert weight_of(found) == {"lively": 0.0, "constant": 0.0, "rare": 1.0}
    with pytest.raises(ConfigError, match="names 'constant'; rules that can have a weight: lively, rare"):
        weigh(degenerate_statistics(), scheme=Single("constant"), min_active=0.02)


def fitted(free, simplex, *, gradient_norm=0.0, num_pairs=48):
    solution = Solution(tuple(free), gradient_norm, 3)
    fit = BradleyTerryFit(solution, Solution(tuple(simplex), gradient_norm, 3), num_pairs, 4)
    return Learned(num_pairs, fit=fit)


def test_learned_weights_say_so_with_the_number_of_pairs_and_the_negative_rules():
    statistics = measure(*corpus(3), rules=make_rules(3))
    weights = weigh(statistics, scheme=BradleyTerry(), learned=fitted([2.0, -1.0, 0.5], [1.0, 0.0, 0.5]))
    assert weight_of(weights) == {"rule0": 2.0, "rule1": -1.0, "rule2": 0.5}
    # of sizes that sum to 3.5: 3.5^2 / (4 + 1 + .25), as of any multiple of these weights
    assert weights.effective_num_rules == pytest.approx(12.25 / 5.25)
    value = weights.to_dict()
    assert (value["scheme"], value["uses_labels"], value["num_calibration_pairs"]) == ("bradley_terry", True, 48)
    assert any("from the labels of 48 calibration pairs" in warning for warning in weights.warnings)
    assert any("1 of 3 rules have a negative weight" in w and "rule1" in w for w in weights.warnings)
    assert not any("Bradley-Terry fit ended" in warning for warning in weights.warnings)
    shares = [rule.contribution_share or 0.0 for rule in weights.rules]
    assert min(shares) > 0
    assert sum(shares) == pytest.approx(1)
    # the shares of the weights' sizes: (4, 1, .25) / 3.5^2, 2.33 equal rules, so nothing to point out
    assert not any("act like" in warning for warning in weights.warnings)
    simplex = weigh(statistics, scheme=BradleyTerrySimplex(), learned=fitted([2, -1, 0.5], [1.0, 0.0, 0.5]))
    assert weight_of(simplex) == {"rule0": 1 / 1.5, "rule1": 0.0, "rule2": 0.5 / 1.5}
    assert weigh(statistics).to_dict()["uses_labels"] is False


def test_a_fit_that_float64_cannot_finish_says_what_it_reached():
    statistics = measure(*corpus(2), rules=make_rules(2))
    learned = fitted([1.0, 1.0], [1.0, 1.0], gradient_norm=3e-9)
    warnings = weigh(statistics, scheme=BradleyTerry(), learned=learned).warnings
    assert any("ended at a gradient of 3.0e-09 instead of 1e-10" in warning for warning in warnings)


def test_the_best_single_rule_is_that_of_the_calibration_pairs():
    statistics = measure(*corpus(3), rules=make_rules(3))
    weights = weigh(statistics, scheme=BestSingle(), learned=Learned(40, accuracy_K=(0.5, 0.6, 0.6)))
    assert weight_of(weights) == {"rule0": 0.0, "rule1": 1.0, "rule2": 0.0}  # the first of equals
    with pytest.raises(DataError, match="best_single needs calibration pairs"):
        weigh(statistics, scheme=BestSingle(), learned=Learned(0))


def by_subset(**options):
    """Two subsets of 2 pairs: in a the first rule is constant and the second a fair coin, in b the other way round."""
    chosen_KN, rejected_KN = [[1, 1, 0, 1, 0], [0, 1, 1, 1, 0]], [[1, 1, 1, 0, 1], [1, 0, 1, 1, 1]]
    subsets = ["a", "a", "b", "b", None]
    statistics = measure(chosen_KN, rejected_KN, rules=make_rules(2), num_bins=2, subsets=subsets)
    return weigh(statistics, by_group=True, **options)


def test_each_subset_can_have_the_weights_of_its_own_entropies():
    # H = 0 and ln 2 at tau 2: 1 : 1 / sqrt 2
    sure = 1 / (1 + math.sqrt(0.5))
    weights = by_subset()
    assert weights.group_weights["a"] == pytest.approx([sure, 1 - sure], abs=1e-15)
    assert weights.group_weights["b"] == pytest.approx([1 - sure, sure], abs=1e-15)
    assert weights.to_dict()["groups"]["a"]["weights"] == dict(
        zip(["rule0", "rule1"], weights.group_weights["a"], strict=True)
    )
    assert weights.to_dict()["params"]["by_group"] is True
    assert [rule.weight for rule in weights.of_group("b").rules] == weights.group_weights["b"]
    hard = by_subset(scheme=LowestEntropy(1))
    assert hard.group_weights == {"a": [1.0, 0.0], "b": [0.0, 1.0]}


def test_weights_by_group_that_cannot_be_had_are_refused():
    with pytest.raises(DataError, match=r"needs the column `subset`.*no pair has one"):
        weigh(measure(*corpus(2), rules=make_rules(2)), by_group=True)
    statistics = measure([[0, 0]], [[0, 1]], rules=make_rules(1), num_bins=2, subsets=["a", "b"])
    with pytest.raises(DataError, match="Subset b: Every rule's ratings are spread evenly"):
        weigh(statistics, scheme=OneMinusEntropy(), by_group=True)
