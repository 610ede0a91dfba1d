"""Second moments of differences: labels do not enter, and single responses to one prompt are compared two by two."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import make_rule, plain

RULES = RuleSet(
    [
        make_rule("kind"),
        make_rule("harm", higher_is="worse"),
        make_rule("rated", scale=Scale(0.0, 1.0, (0.0, 0.1, 1.0))),
    ]
)
N = 60


def scores(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    side_2KN = rng.random((2, 3, N)).astype(np.float32)
    side_2KN[:, 2] = rng.choice(np.array([0.0, 0.1, 1.0], dtype=np.float32), (2, N))
    return side_2KN[0], side_2KN[1]


def measured(chosen_KN, rejected_KN, *, has_N=None, keys=None, rows=None) -> RuleStatistics:
    rows = np.arange(N) if rows is None else np.asarray(rows, dtype=np.int64)
    has_N = np.ones(N, dtype=bool) if has_N is None else has_N
    keys = [f"p{row}" for row in range(N)] if keys is None else keys
    return RuleStatistics.measure(
        chosen_KN[:, rows],
        rejected_KN[:, rows],
        rules=RULES,
        binnings=[choose_binning(rule) for rule in RULES],
        has_rejected_N=has_N[rows],
        pair_ids=[f"p{row}" for row in rows],
        keys=[keys[row] for row in rows],
        with_products=True,
    )


def test_products_are_those_of_the_differences_with_ratings_as_their_levels():
    chosen_KN, rejected_KN = scores()
    d_KN = chosen_KN.astype(np.float64) - rejected_KN
    rated = {np.float32(level): level for level in (0.0, 0.1, 1.0)}
    d_KN[2] = [rated[a] - rated[b] for a, b in zip(chosen_KN[2], rejected_KN[2], strict=True)]
    products = measured(chosen_KN, rejected_KN).products
    assert products.best.mean_KK == pytest.approx(d_KN @ d_KN.T / N, rel=1e-14)


def test_squares_are_the_sums_that_variances_are_made_of():
    statistics = measured(*scores())
    squares = [float(counts.sum_squared_d) / N for counts in statistics.counts_K]
    assert np.diag(statistics.products.best.mean_KK).tolist() == pytest.approx(squares, rel=1e-15)


@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=N, max_size=N), st.integers(0, N))
def test_swapped_labels_and_cuts_change_no_bit(swapped, cut):
    chosen_KN, rejected_KN = scores()
    whole = measured(chosen_KN, rejected_KN).products
    a_KN, b_KN = (np.where(swapped, x, y) for x, y in ((rejected_KN, chosen_KN), (chosen_KN, rejected_KN)))
    parts = [measured(a_KN, b_KN, rows=rows).products for rows in (range(cut, N), range(cut))]
    assert plain(parts[0] + parts[1]) == plain(whole)


def test_singles_that_share_a_prompt_are_compared_two_by_two():
    chosen_KN, rejected_KN = scores()
    keys = [f"q{row // 3}" if row < 30 else f"q{row}" for row in range(N)]
    has_N = np.zeros(N, dtype=bool)
    products = measured(chosen_KN, rejected_KN, has_N=has_N, keys=keys).products
    together = [(i, j) for i in range(30) for j in range(i) if i // 3 == j // 3]
    d_KN = np.array([[float(x_N[i]) - float(x_N[j]) for i, j in together] for x_N in chosen_KN[:2]])
    # ten prompts of three responses each, three pairs of responses a prompt
    assert products.of_pairs.count == 0
    assert products.best.count == len(together) == 30
    assert products.best.mean_KK[:2, :2] == pytest.approx(d_KN @ d_KN.T / 30, rel=1e-14)


def test_where_there_are_pairs_singles_are_not_compared():
    has_N = np.arange(N) < 40
    products = measured(*scores(), has_N=has_N, keys=["same"] * N).products
    assert products.best.count == products.of_pairs.count == 40
    assert products.of_siblings.count == 20 * 19 / 2


def test_products_are_measured_where_they_are_asked_for_alone():
    chosen_KN, rejected_KN = scores()
    binnings = [choose_binning(rule) for rule in RULES]
    ids = [f"p{row}" for row in range(N)]
    plainly = RuleStatistics.measure(
        chosen_KN, rejected_KN, rules=RULES, binnings=binnings, has_rejected_N=[True] * N, pair_ids=ids, keys=ids
    )
    assert plainly.products is None
    assert (plainly + plainly).products is None
    assert plainly.counts_sha256 == measured(chosen_KN, rejected_KN).counts_sha256
