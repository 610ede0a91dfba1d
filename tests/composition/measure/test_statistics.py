import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.measure.correcting import refuse_scores
from encore_ray.errors import DataError
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import RATINGS, UNIT, make_rule, make_rules, measure, plain

TWO = RuleSet([make_rule("kind"), make_rule("harm", higher_is="worse")])
MIXED = RuleSet([make_rule("kind"), make_rule("stars", scale=RATINGS, higher_is="worse")])
SUBSETS = ["a", "b", None]


def random_corpus(n, *, seed=0, num_rules=2):
    rng = np.random.default_rng(seed)
    chosen_KN, rejected_KN = rng.random((2, num_rules, n)).astype(np.float32)
    return chosen_KN, rejected_KN, rng.random(n) < 0.8


@given(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=4), st.randoms())
def test_any_split_and_order_of_the_corpus_gives_the_same_statistics_to_the_last_bit(n, cuts, random):
    chosen_KN, rejected_KN, has_N = random_corpus(n, seed=n)
    chosen_KN[1], rejected_KN[1] = np.round(10 * chosen_KN[1]), np.round(10 * rejected_KN[1])
    chosen_KN[0, 0] = np.nan
    options = {
        "rules": MIXED,
        "has_rejected_N": has_N,
        "keys": [f"k{i % 7}" for i in range(n)],
        "subsets": [SUBSETS[i % 3] for i in range(n)],
    }
    whole = measure(chosen_KN, rejected_KN, **options)
    order = random.sample(range(n), n)
    bounds = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [measure(chosen_KN, rejected_KN, rows=order[a:b], **options) for a, b in itertools.pairwise(bounds)]
    random.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert plain(merged) == plain(whole)


def test_joint_counts_wins_and_activity_of_a_small_corpus():
    # 5 bins of .2: chosen .9 .1 .5 .5 in cells 4 0 2 2, rejected .1 .9 .5 .45 in cells 0 4 2 2
    rules = RuleSet([make_rule("harm", higher_is="worse")])
    found = measure([[0.9, 0.1, 0.5, 0.5]], [[0.1, 0.9, 0.5, 0.45]], rules=rules, num_bins=5).counts_K[0]
    joint_LL = np.zeros((5, 5), dtype=np.int64)
    joint_LL[4, 0] = joint_LL[0, 4] = 1
    joint_LL[2, 2] = 2
    assert (found.joint_LL == joint_LL).all()
    assert found.count_L.tolist() == [2, 0, 4, 0, 2]
    assert found.tally == Tally(wins=1, ties=1, losses=2)  # higher is worse: rows 0 and 3 are losses
    assert found.num_active == 2  # the first two pairs differ by a bin width or more
    assert float(found.sum_d) == pytest.approx(0.8 - 0.8 + 0 + 0.05)


def test_one_step_counts_as_active_whatever_float32_makes_of_it():
    # .3 - .1 = .19999999999999998 in float64, and float32 ratings miss .2 either way
    rules = RuleSet([make_rule(scale=Scale(0.1, 0.5, (0.1, 0.3, 0.5)))])
    chosen_KN = np.array([[0.3, 0.5, 0.1, 0.3]], dtype=np.float32)
    rejected_KN = np.array([[0.1, 0.3, 0.1, 0.3]], dtype=np.float32)
    found = measure(chosen_KN, rejected_KN, rules=rules).counts_K[0]
    assert found.num_active == 2
    assert found.tally == Tally(wins=2, ties=2)
    bins = measure(chosen_KN, rejected_KN, rules=RuleSet([make_rule(scale=UNIT)]), num_bins=5).counts_K[0]
    assert bins.num_active == 2


def test_scores_that_float32_moves_beyond_an_end_are_counted_in_its_cell():
    # float32 holds even numbers only from 2^24 on: what is within 1 of an end is stored as the end
    lo = 2.0**24
    rules = RuleSet([make_rule(scale=Scale(lo, lo + 4.0))])
    counts = measure([[lo - 1.0, lo]], [[lo + 5.0, lo + 4.0]], rules=rules).counts_K[0]
    assert counts.joint_LL[0, -1] == counts.joint_LL.sum() == 2
    assert (counts.bucket_JL.sum(axis=0) == counts.count_L).all()


def test_single_responses_are_counted_but_have_no_pair_statistics():
    found = measure(
        [[0.1, 0.9]], [[0.2, math.nan]], rules=make_rules(1), has_rejected_N=[True, False], num_bins=2, keys=["x", "y"]
    )
    assert (found.num_pairs, found.num_singles, found.num_responses) == (1, 1, 3)
    assert found.counts_K[0].single_L.tolist() == [0, 1]
    assert found.counts_K[0].count_L.tolist() == [2, 1]
    assert found.counts_K[0].tally == Tally(losses=1)
    assert found.num_keys == 1
    refuse_scores(found, score_range="declared")


def test_counts_sha256_is_that_of_the_little_endian_int64_histogram():
    found = measure([[0.1, 0.9], [0.1, 0.1]], [[0.2, 0.7], [0.6, 0.6]], rules=TWO, num_bins=2)
    histogram_KL = np.array([[2, 2], [2, 2]], dtype="<i8")
    assert found.counts_sha256 == hashlib.sha256(histogram_KL.tobytes()).hexdigest()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e39])
def test_a_score_that_is_not_finite_is_refused_even_with_clip(bad):
    found = measure([[0.5, bad, 0.5]], [[0.5, 0.5, bad]], rules=make_rules(1), clip=True)
    with pytest.raises(DataError, match=r"Rule rule0: 2 scores are missing .* first pair_ids p0001, p0002\."):
        refuse_scores(found, score_range="declared")


def test_out_of_range_scores_are_refused_with_count_first_ids_range_and_remedy():
    chosen_KN = np.full((1, 8), 2.0)
    chosen_KN[0, 0] = -3.0
    found = measure(chosen_KN, np.full((1, 8), 0.5), rules=make_rules(1))
    assert found.counts_K[0].num_clipped == 0
    with pytest.raises(DataError) as caught:
        refuse_scores(found, score_range="declared")
    message = str(caught.value)
    assert "Rule rule0: 8 of 16 scores are out of range, first pair_ids p0000, p0001, p0002, p0003, p0004." in message
    assert (
        "Expected 0 to 1, found -3 to 2. Correct the rule's scale in rules.yaml, as `scale: {lo: -3, hi: 2}`."
        in message
    )


def test_clipping_is_offered_for_a_few_scores_and_refused_for_most():
    few, most = np.full((2, 1, 40), 0.5)
    few[0, 0] = 2.0
    most[0] = np.linspace(3.0, 5.0, 40)
    with pytest.raises(DataError, match=r"1 of 80 scores .*`out_of_range: clip` in the rule, or weigh\.clip"):
        refuse_scores(measure(few, np.full((1, 40), 0.5), rules=make_rules(1)), score_range="declared")
    refuse_scores(measure(few, np.full((1, 40), 0.5), rules=make_rules(1), clip=True), score_range="declared")
    refuse_scores(
        measure(most, np.full((1, 40), 0.5), rules=make_rules(1), clip=True), score_range="declared"
    )  # half of the responses
    with pytest.raises(DataError, match=r"80 of 80 scores .* makes most equal.* as `scale: \{lo: 3, hi: 5\}`"):
        refuse_scores(measure(most, most, rules=make_rules(1), clip=True), score_range="declared")


def test_every_rules_problem_is_reported_at_once():
    found = measure([[math.nan], [2.0]], [[0.0], [0.0]], rules=TWO)
    with pytest.raises(DataError, match=r"(?s)Rule kind: .*\nRule harm: "):
        refuse_scores(found, score_range="declared")


@pytest.mark.parametrize("by_rule", [True, False])
def test_clipping_counts_scores_in_the_end_cells_and_says_how_many(by_rule):
    rules = RuleSet([make_rule(out_of_range="clip" if by_rule else "error")])
    found = measure([[-3.0, 0.5, 0.1]], [[2.0, 9.0, 0.9]], rules=rules, num_bins=2, clip=not by_rule)
    refuse_scores(found, score_range="declared")
    assert found.counts_K[0].num_clipped == 3
    assert found.counts_K[0].count_L.tolist() == [2, 4]
    # wins are of the scores as they are composed: 2 and 9 are not the same reward
    assert found.counts_K[0].tally == Tally(losses=3)


def test_only_pairs_have_independent_observations():
    keys = ["one", "one", "two", "three"]
    has_N = [True, True, False, False]
    found = measure([[0.5] * 4], [[0.5] * 4], rules=make_rules(1), has_rejected_N=has_N, keys=keys)
    assert found.num_keys == 1


def test_float32_ratings_are_levels_and_their_differences_are_exact():
    tenths = Scale(0.0, 1.0, tuple(level / 10 for level in range(11)))
    stored_KN = np.array([[0.1, 0.3, 0.7]], dtype=np.float32)
    found = measure(stored_KN, np.zeros((1, 3), np.float32), rules=make_rules(1, scale=tenths)).counts_K[0]
    assert found.num_off_level == 0
    assert float(found.sum_d) == math.fsum([0.1, 0.3, 0.7])


def test_ratings_are_measured_alike_whether_or_not_a_score_beside_them_is_a_level():
    # one stray score makes every difference be computed, instead of being read off the joint counts
    rng = np.random.default_rng(0)
    tenths = Scale(0.0, 1.0, tuple(level / 10 for level in range(11)))
    rules = RuleSet([make_rule(scale=tenths, higher_is="worse")])
    ratings_2N = (rng.integers(0, 11, (2, 500)) / 10).astype(np.float32)
    stray = np.array([[0.55]], dtype=np.float32), np.array([[0.52]], dtype=np.float32)
    of_stray = measure(*stray, rules=rules, keys=["p0500"])
    apart = measure(ratings_2N[:1], ratings_2N[1:], rules=rules) + of_stray
    beside = [np.hstack([side_N[None], one]) for side_N, one in zip(ratings_2N, stray, strict=True)]
    together = measure(*beside, rules=rules)
    assert together.counts_K[0].num_off_level == 2
    assert plain(together.counts_K) == plain(apart.counts_K)


def test_scores_that_are_no_level_are_counted():
    rules = make_rules(1, scale=RATINGS)
    assert measure([[5.0, 4.5]], [[5.2, 10.0]], rules=rules).counts_K[0].num_off_level == 2


def test_distinct_scores_are_kept_up_to_sixty_four():
    many = np.linspace(0, 1, 65)
    rules = make_rules(1)
    few = measure([many[:64]], [many[:64]], rules=rules)
    assert few.counts_K[0].distinct == frozenset(many[:64].tolist())
    assert measure([many], [many], rules=rules).counts_K[0].distinct is None
    assert (few + measure([many[64:]], [many[64:]], rules=rules)).counts_K[0].distinct is None
    assert measure([np.repeat(many, 2000)], [np.repeat(many, 2000)], rules=rules).counts_K[0].distinct is None


def test_subset_histograms_add_up_to_the_whole():
    chosen_KN, rejected_KN, has_N = random_corpus(300)
    subsets = [["a", "b"][i % 2] for i in range(300)]
    found = measure(chosen_KN, rejected_KN, rules=TWO, has_rejected_N=has_N, subsets=subsets)
    assert found.subset_counts is not None
    for k in range(2):
        total_L = found.subset_counts["a"][k] + found.subset_counts["b"][k]
        assert total_L.tolist() == found.counts_K[k].count_L.tolist()


def test_too_many_subsets_are_not_kept_however_they_arrive():
    chosen_KN, rejected_KN, _ = random_corpus(201)
    subsets = [f"s{i}" for i in range(201)]
    whole = measure(chosen_KN, rejected_KN, rules=TWO, subsets=subsets)
    first = measure(chosen_KN, rejected_KN, rules=TWO, subsets=subsets, rows=range(200))
    last = measure(chosen_KN, rejected_KN, rules=TWO, subsets=subsets, rows=[200])
    assert whole.subset_counts is None
    assert first.subset_counts is not None
    assert (first + last).subset_counts is (last + whole).subset_counts is None


def test_statistics_of_other_rules_or_bins_do_not_merge():
    scores = [[0.5]]
    twenty = measure(scores, scores, rules=make_rules(1))
    with pytest.raises(AssertionError, match="different rules or cells"):
        _ = twenty + measure(scores, scores, rules=make_rules(1), num_bins=5)
