"""What vetoes decide, wherever responses are held against each other, beside oracles that compare them one by one."""

import dataclasses
import functools
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.composition.compare.comparison import is_of_weights
from encore_ray.composition.evaluate.evaluation import RewardStatistics
from encore_ray.composition.evaluate.rewardbench2 import Extremes, Responses, RewardBench2, Standing, ties_score
from encore_ray.composition.evaluate.rm_bench import RMBench
from encore_ray.composition.measure.vetoes import BrokenRules
from encore_ray.composition.weigh.groups import compose_by_group
from encore_ray.composition.weigh.linear import linear_reward
from encore_ray.composition.weigh.rewards import compose, margin_tolerance
from encore_ray.composition.weigh.schemes import Uniform
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import ConfigError, DataError
from encore_ray.rules import RuleSet, Scale, Veto
from tests.composition.builders import make_rule, measure, plain
from tests.composition.compared import compare

TENTHS = Scale(0.0, 1.0, tuple(level / 10 for level in range(11)))
PLAIN = RuleSet([make_rule("kind", scale=TENTHS), make_rule("safe"), make_rule("harm", higher_is="worse")])
HARD = RuleSet(
    dataclasses.replace(rule, veto=veto)
    for rule, veto in zip(PLAIN, (None, Veto("below", 0.3), Veto("above", 0.75)), strict=True)
)


def scores(seed: int, num_pairs: int = 60) -> np.ndarray:
    """Tenths of two sides under three rules, float32: some at the limits, some beyond."""
    return (np.random.default_rng(seed).integers(0, 11, (2, 3, num_pairs)) / 10).astype(np.float32)


def breaks_any(score_KN: np.ndarray) -> np.ndarray:
    """By hand: safe under .3, or harm over .75."""
    return (np.rint(score_KN[1] * 10) < 3) | (np.rint(score_KN[2] * 10) > 7.5)


def weights_of(rules: RuleSet, seed: int = 0, **options) -> Weights:
    return weigh(measure(*scores(seed), rules=rules, subsets=["a", "b"] * 30), **options)


@given(st.integers(0, 1000))
def test_a_veto_changes_no_reward_and_takes_the_margin_of_the_pairs_that_it_decides(seed):
    sides = scores(seed)
    hard, soft = (compose(*sides, weights=weights_of(rules)) for rules in (HARD, PLAIN))
    decided_N = breaks_any(sides[1]).astype(int) - breaks_any(sides[0])
    assert plain((hard.chosen_N, hard.rejected_N)) == plain((soft.chosen_N, soft.rejected_N))
    assert plain(hard.margin_N) == plain(np.where(decided_N != 0, np.nan, soft.margin_N))
    assert hard.broken is not None
    assert hard.broken.decided_N.tolist() == decided_N.tolist()
    assert soft.broken is None


@given(st.permutations(range(3)), st.integers(0, 100))
def test_permuting_rules_changes_no_decision(order, seed):
    sides = scores(seed)
    permuted = RuleSet(HARD[k] for k in order)
    found = compose(*sides[:, order], weights=weigh(measure(*sides[:, order], rules=permuted)))
    whole = compose(*sides, weights=weigh(measure(*sides, rules=HARD)))
    assert found.broken is not None and whole.broken is not None
    assert (found.broken.decided_N == whole.broken.decided_N).all()
    assert [sorted(names) for names in found.broken.listed[0]] == [sorted(names) for names in whole.broken.listed[0]]


def test_rows_composed_by_group_are_decided_alike():
    sides, subsets = scores(1), [None, "a", "b"] * 20
    has_N = np.arange(60) % 7 != 0
    found = compose_by_group(
        *sides, weights=weights_of(HARD, by_group=True), subsets=subsets, has_rejected_N=has_N
    ).rewards
    whole = compose(*sides, weights=weights_of(HARD), has_rejected_N=has_N)
    assert plain(found.broken) == plain(whole.broken)
    assert (np.isnan(found.margin_N) == np.isnan(whole.margin_N)).all()


def test_weights_keep_vetoes_and_a_program_that_knows_none_refuses_them():
    found = weights_of(HARD)
    value = json.loads(json.dumps(found.to_dict()))
    assert Weights.from_dict(value) == found
    assert found.fingerprint != weights_of(PLAIN).fingerprint
    assert found.facts != weights_of(PLAIN).facts
    for rule in value["rules"]:  # all that such a program reads
        rule.pop("veto", None)
    with pytest.raises(DataError, match="was changed after"):
        Weights.from_dict(value)
    assert not any("veto" in rule or "points" in rule for rule in weights_of(PLAIN).to_dict()["rules"])


def test_a_veto_is_no_linear_function():
    with pytest.raises(ConfigError, match="One output of a model cannot express a veto, and safe, harm has one"):
        linear_reward(weights_of(HARD))


def evaluated(sides: np.ndarray, rules: RuleSet, **options) -> RewardStatistics:
    weights = weights_of(rules)
    rewards = compose(*sides, weights=weights)
    return RewardStatistics.measure(
        rewards.margin_N,
        tolerance=margin_tolerance(weights),
        reach=1.0,
        keys=[f"p{row}" for row in range(sides.shape[2])],
        broken=rewards.broken,
        **options,
    )


def verdicts(sides: np.ndarray, rules: RuleSet = HARD) -> list[int]:
    """By hand: the veto, else the margin under equal entropies' weights."""
    weights = weights_of(rules)
    margin_N = compose(*sides, weights=weights_of(PLAIN)).margin_N
    signs_N = np.where(np.abs(margin_N) <= margin_tolerance(weights), 0, np.sign(margin_N))
    decided_N = breaks_any(sides[1]).astype(int) - breaks_any(sides[0])
    return np.where(decided_N != 0, decided_N, signs_N).astype(int).tolist()


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_evaluation_takes_the_decision_and_its_margins_are_those_of_the_other_pairs(seed):
    sides, subsets = scores(seed), ["a", "b", None] * 20
    metrics = evaluated(sides, HARD, subsets=subsets).metrics()
    expected = verdicts(sides)
    for name, rows in {"overall": range(60), "a": range(0, 60, 3), "b": range(1, 60, 3)}.items():
        stats = metrics["overall"] if name == "overall" else metrics["subsets"][name]
        found = [expected[row] for row in rows]
        assert [stats["wins"], stats["ties"], stats["losses"]] == [found.count(sign) for sign in (1, 0, -1)]
    margin_N = compose(*sides, weights=weights_of(HARD)).margin_N
    assert sum(metrics["margin"]["histogram"]["counts"]) == np.isfinite(margin_N).sum()
    assert metrics["margin"]["mean"] == pytest.approx(np.nanmean(margin_N), abs=1e-12)
    decided_N = breaks_any(sides[1]).astype(int) - breaks_any(sides[0])
    told = metrics["decided_by_veto"]
    assert (told["num_pairs"], told["right"]) == (np.count_nonzero(decided_N), (decided_N > 0).sum())
    assert "decided_by_veto" not in evaluated(sides, PLAIN).metrics()


def test_a_corpus_whose_pairs_are_all_decided_has_no_margin():
    sides = np.array([[[0.5], [0.1], [0.0]], [[0.5], [0.9], [0.0]]], dtype=np.float32)
    metrics = evaluated(sides, HARD).metrics()
    assert (metrics["overall"]["losses"], metrics["margin"]) == (1, None)


def broken_of(chosen_N, rejected_N) -> BrokenRules:
    chosen_VN, rejected_VN = np.array([chosen_N], dtype=bool), np.array([rejected_N], dtype=bool)
    return BrokenRules(("safe",), chosen_VN, rejected_VN, np.ones(chosen_VN.shape[1], dtype=bool))


def beats(one: tuple[bool, float], other: tuple[bool, float]) -> int:
    """Of two responses (breaks, reward): 1 where the first is better, -1 where the second is, 0 for a tie."""
    if one[0] != other[0]:
        return 1 if other[0] else -1
    return int(np.sign(one[1] - other[1]))


responses = st.tuples(st.booleans(), st.integers(0, 3).map(float))


@given(responses, st.lists(responses, min_size=1, max_size=4))
def test_the_best_of_n_is_the_one_that_no_other_beats_one_by_one(correct, incorrect):
    everyone = [correct, *incorrect]
    best = [number for number, one in enumerate(everyone) if all(beats(one, other) >= 0 for other in everyone)]
    expected = 1 / len(best) if 0 in best else 0.0
    ids = [f"r{number}" for number in range(len(incorrect))]
    rewards = [correct[1]] * len(incorrect), [reward for _, reward in incorrect]
    found = RewardBench2.measure(
        Responses(["g"] * len(ids), ["c"] * len(ids), ids, *rewards),
        subsets=["Math"] * len(ids),
        tolerance=1e-12,
        broken=broken_of([correct[0]] * len(ids), [broken for broken, _ in incorrect]),
    ).scores()
    assert found is not None
    assert found["math"] == pytest.approx(expected, abs=1e-15)


standings = st.builds(Standing, st.booleans(), st.integers(0, 3).map(float))


@given(standings, standings, standings, standings)
def test_the_score_of_ties_is_a_number_and_accurate_where_the_worst_correct_response_beats_the_best_other(a, b, c, d):
    best, worst = max(a, b), min(a, b)
    groups = {"tied:1": Extremes(best, worst, c), "ref:1": Extremes(best, best, d)}
    found = ties_score(groups, tolerance=1e-12)
    assert found is not None
    assert math.isfinite(found)
    tied, reference = (beats((not x.keeps, x.reward), (not y.keeps, y.reward)) > 0 for x, y in ((worst, c), (best, d)))
    assert found >= 0.3 * tied + 0.3 * reference - 0.01
    assert found <= 0.3 * tied + 0.3 * reference + 0.41


@given(st.lists(responses, min_size=3, max_size=3), st.lists(responses, min_size=3, max_size=3))
def test_rm_bench_counts_a_pair_that_a_veto_decides_as_decided(chosen, rejected):
    pairs = list(itertools.product(range(3), range(3)))
    columns = (
        ["g"] * 9,
        [f"c{c}" for c, _ in pairs],
        [f"r{r}" for _, r in pairs],
        [chosen[c][1] for c, _ in pairs],
        [rejected[r][1] for _, r in pairs],
    )
    broken = broken_of([chosen[c][0] for c, _ in pairs], [rejected[r][0] for _, r in pairs])
    found = RMBench.measure(Responses(*columns), tolerance=1e-12, broken=broken)
    assert found.wins == tuple(int(beats(chosen[c], rejected[r]) > 0) for c, r in pairs)


@functools.cache
def compared(rules: RuleSet, seed: int = 0, *, swapped: bool = False, cuts: tuple[int, ...] = ()) -> dict:
    sides = scores(seed, 200)
    subsets = ["a", "b"] * 100
    shorter_N = np.random.default_rng(seed).integers(-3, 4, 200)
    mask_KN = np.array([[True, True, False]] * 200).T
    return compare(
        *(sides[::-1] if swapped else sides),
        rules=rules,
        subsets=subsets,
        shorter_N=-shorter_N if swapped else shorter_N,
        by_group=True,
        mask_KN=mask_KN,
        cuts=cuts,
        beside={"theirs": sides[0, 0].astype(float) - sides[1, 0]},
    )


def line(comparison: dict, name: str) -> dict:
    lines = [*comparison["schemes"], *comparison["beside"], *comparison["baselines"]]
    return next(each for each in lines if each["name"] == name)


def test_every_scheme_follows_vetoes_and_what_is_no_composition_does_not():
    hard, soft = compared(HARD), compared(PLAIN)
    sides = scores(0, 200)
    decided_N = breaks_any(sides[1]).astype(int) - breaks_any(sides[0])
    num_decided = np.count_nonzero(decided_N)
    told = hard["decided_by_veto"]
    assert (told["num_pairs"], told["right"]) == (num_decided, (decided_N > 0).sum())
    assert told["rules"]["safe"] == {
        side: int((np.rint(score_KN[1] * 10) < 3).sum())
        for side, score_KN in zip(("chosen", "rejected"), sides, strict=True)
        for side, score_KN in zip(("chosen", "rejected"), sides, strict=True)
    }
    for each in hard["schemes"]:
        assert each["weights"] == line(soft, each["name"])["weights"]
        if each["all"] and each["all"]["wins"] is not None:
            assert each["all"]["wins"] >= told["right"]
            assert each["all"]["losses"] >= num_decided - told["right"]
    for name in ("theirs", "shorter_wins", "longer_wins"):
        same = ("wins", "ties", "losses")
        assert [line(hard, name)["all"][key] for key in same] == [line(soft, name)["all"][key] for key in same]
    assert "decided_by_veto" not in soft
    assert f"The vetoes of safe, harm decide {num_decided} of 200 pairs under every scheme" in hard["verdict"]


def test_uniform_weights_win_the_pairs_that_they_win_one_by_one():
    sides = scores(0, 200)
    weights = weigh(measure(*sides, rules=PLAIN), scheme=Uniform())
    margin_N = compose(*sides, weights=weights).margin_N
    signs_N = np.where(np.abs(margin_N) <= margin_tolerance(weights), 0, np.sign(margin_N))
    decided_N = breaks_any(sides[1]).astype(int) - breaks_any(sides[0])
    expected = np.where(decided_N != 0, decided_N, signs_N).tolist()
    found = line(compared(HARD), "uniform")["all"]
    assert [found["wins"], found["ties"], found["losses"]] == [expected.count(sign) for sign in (1, 0, -1)]


def test_swapping_the_sides_swaps_wins_and_losses_of_schemes_that_see_no_labels():
    one, other = compared(HARD), compared(HARD, swapped=True)
    for each in one["schemes"]:
        if not each["uses_labels"] and each["all"]["wins"] is not None and each["name"] != "inverse_variance":
            turned = line(other, each["name"])["all"]
            counts = [each["all"][key] for key in ("wins", "ties", "losses")]
            assert counts == [turned[key] for key in ("losses", "ties", "wins")], each["name"]


def test_units_of_any_size_give_the_same_comparison_under_vetoes():
    whole, parts = compared(HARD), compared(HARD, cuts=(7, 100, 101))
    for key in ("decided_by_veto", "schemes", "beside", "baselines", "sweep"):
        assert whole[key] == parts[key], key


def test_a_comparison_of_other_vetoes_or_points_is_of_other_weights():
    pointed = RuleSet(dataclasses.replace(rule, points=2.0 + k) for k, rule in enumerate(PLAIN))
    sides = scores(0, 200)
    for rules in (PLAIN, HARD, pointed):
        weights = weigh(measure(*sides, rules=rules, subsets=["a", "b"] * 100))
        assert [is_of_weights(compared(other), weights) for other in (PLAIN, HARD, pointed)] == [
            other is rules for other in (PLAIN, HARD, pointed)
        ]
