"""Single responses to one prompt: every two of them count, exactly, without being listed."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.measure.buckets import BucketProducts
from encore_ray.composition.measure.siblings import PromptUnits, Siblings
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.rules import Scale
from tests.composition.builders import make_rule, plain

PROMPTS = st.lists(st.integers(0, 4), max_size=14)
UNIT = Fraction(1, 2**2148)  # of the numerators


def hashes(prompts) -> np.ndarray:
    """64-bit numbers that lie far apart, as hashes do."""
    return np.array(prompts, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def listed(score_KS, prompts) -> list[Fraction]:
    """The upper triangle of the sums, pair by pair."""
    exact = [[Fraction(float(x)) for x in row] for row in score_KS]
    pairs = [(i, j) for i, j in combinations(range(len(prompts)), 2) if prompts[i] == prompts[j]]
    return [
        sum(((a[i] - a[j]) * (b[i] - b[j]) for i, j in pairs), Fraction(0))
        for k, a in enumerate(exact)
        for b in exact[k:]
    ]


@given(PROMPTS, st.integers(0, 2**32), st.sampled_from([0.0, -4.0, 300.0]))
def test_sums_are_those_over_every_two_responses_to_one_prompt_and_none_is_rounded(prompts, seed, exponent):
    rng = np.random.default_rng(seed)
    score_KS = rng.normal(size=(3, len(prompts))) * 10.0 ** (exponent / 3 * rng.random((3, 1)))
    products = Siblings.of(hashes(prompts)).products(score_KS)
    assert products.count == sum(prompts[i] == prompts[j] for i, j in combinations(range(len(prompts)), 2))
    assert [numerator * UNIT for numerator in products.numerators] == listed(score_KS, prompts)


@given(PROMPTS.flatmap(lambda prompts: st.tuples(st.just(prompts), st.permutations(range(len(prompts))))))
def test_the_order_of_responses_changes_no_bit(case):
    prompts, order = case
    score_KS = np.random.default_rng(1).random((2, len(prompts)))
    rules = [make_rule("a"), make_rule("b", scale=Scale(0.0, 3.0))]
    binnings = [choose_binning(rule) for rule in rules]

    def measured(rows):
        rows = np.array(rows, dtype=np.intp)
        siblings = Siblings.of(hashes(prompts)[rows])
        products = siblings.products(score_KS[:, rows])
        return plain((products, BucketProducts.of_siblings(score_KS[:, rows], siblings, binnings=binnings)))

    assert measured(order) == measured(range(len(prompts)))


def test_a_rule_that_never_differs_within_a_prompt_has_moment_zero():
    prompts = np.repeat(np.arange(50), 7)
    score_KS = np.stack([0.1 + prompts / 7, np.random.default_rng(2).random(350)])
    moment_KK = Siblings.of(hashes(prompts)).products(score_KS).mean_KK
    assert moment_KK[0, 0] == moment_KK[0, 1] == 0.0
    assert moment_KK[1, 1] > 0


def test_buckets_add_up_to_the_products_within_their_steps():
    prompts = np.repeat(np.arange(300), [2, 3, 5] * 100)
    score_KS = np.random.default_rng(3).random((2, len(prompts)))
    siblings = Siblings.of(hashes(prompts))
    binnings = [choose_binning(make_rule(name)) for name in "ab"]
    sum_KK = BucketProducts.of_siblings(score_KS, siblings, binnings=binnings).product_GKK.sum(axis=0) / 2.0**28
    assert sum_KK / siblings.num_pairs == pytest.approx(siblings.products(score_KS).mean_KK, abs=1e-5)


def test_the_responses_to_one_prompt_may_be_very_many():
    """Ten billion pairs of them."""
    score_KS = np.random.default_rng(4).random((2, 150_000)).astype(np.float32).astype(np.float64)
    siblings = Siblings.of(np.zeros(150_000, dtype=np.uint64))
    mean_KK = siblings.products(score_KS).mean_KK
    # The mean of (x_i - x_j) (y_i - y_j) over i < j is twice the sample covariance.
    assert mean_KK == pytest.approx(2 * np.cov(score_KS), abs=1e-12)
    binnings = [choose_binning(make_rule(name)) for name in "ab"]
    bucket_KK = BucketProducts.of_siblings(score_KS, siblings, binnings=binnings).product_GKK[0] / 2.0**28
    assert bucket_KK / siblings.num_pairs == pytest.approx(mean_KK, abs=1e-5)


@given(st.lists(st.lists(st.integers(0, 30), max_size=20), min_size=1, max_size=5))
def test_units_of_prompts_are_counted_in_any_order(units):
    parts = [PromptUnits.of(hashes(unit)) for unit in units]
    forward, backward = parts[0], parts[-1]
    for part in parts[1:]:
        forward = forward + part
    for part in reversed(parts[:-1]):
        backward = backward + part
    assert plain(forward) == plain(backward)
    prompts = set().union(*units)
    spread = [prompt for prompt in prompts if sum(prompt in unit for unit in units) > 1]
    assert forward.spread_share == (len(spread) / len(prompts) if prompts else 0.0)
