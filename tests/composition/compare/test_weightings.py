import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encore_ray.composition.compare import counting
from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.weightings import Weightings, wins_and_ties
from encore_ray.composition.measure.statistics import Subsets
from encore_ray.composition.scales.ties import linear_reach, tie_tolerance


def linear(weight_LK: NDArray[np.float64], members: list[tuple[int, ...]] | None = None) -> Weightings:
    num_rules = weight_LK.shape[1]
    return Weightings(
        weight_LK=weight_LK,
        soft_mins=(),
        top_rules=(),
        by_subset=None,
        by_mask=(),
        kept=tuple(range(num_rules)),
        range_K=(1.0,) * num_rules,
        tolerance_L=np.array([tie_tolerance(linear_reach(weight_K, [1.0] * num_rules)) for weight_K in weight_LK]),
        pair_tolerance=1e-12,
        members_E=tuple(members or [(line,) for line in range(len(weight_LK))]),
        uniform=0,
    )


def in_order(d_KN: NDArray[np.float64], weight_K: NDArray[np.float64]) -> NDArray[np.float64]:
    margin_N = np.zeros(d_KN.shape[1])
    for weight, d_N in zip(weight_K.tolist(), d_KN, strict=True):
        margin_N += weight * d_N
    return margin_N


@given(seed=st.integers(0, 2**32), num_rules=st.integers(2, 40), scale=st.sampled_from([1.0, 1e-9, 1e6, 1e-310, 1e100]))
def test_verdicts_are_those_of_rules_added_in_order_however_near_a_tie(seed: int, num_rules: int, scale: float):
    rng = np.random.default_rng(seed)
    weight_LK = rng.normal(size=(5, num_rules))
    d_KN = scale * rng.normal(size=(num_rules, 3000))
    weightings = linear(weight_LK)
    # The last rule brings most margins within a few roundings of the tolerance of one of the weightings, or of 0.
    target_N = weightings.tolerance_L[rng.integers(0, 5, 3000)] * rng.choice([-1.0, 0.0, 1.0], 3000)
    line = int(rng.integers(0, 5))
    rest_N = in_order(d_KN[:-1], weight_LK[line, :-1])
    d_KN[-1] = (target_N * (1 + rng.integers(-4, 5, 3000) * 2.0**-52) - rest_N) / weight_LK[line, -1]
    win_LN, tie_LN = wins_and_ties(d_KN, weightings, [None] * 3000, [], [])
    for weight_K, tolerance, win_N, tie_N in zip(weight_LK, weightings.tolerance_L, win_LN, tie_LN, strict=True):
        margin_N = in_order(d_KN, weight_K)
        assert (win_N == (margin_N > tolerance)).all()
        assert (tie_N == (np.abs(margin_N) <= tolerance)).all()


@pytest.mark.parametrize("part_rows", [1, 7, 4096])
@pytest.mark.parametrize("num_subsets", [0, 3])
def test_counts_are_those_of_pairs_looked_at_one_by_one(
    part_rows: int, num_subsets: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(counting, "PART_ROWS", part_rows)
    rng = np.random.default_rng(num_subsets)
    d_KN = rng.integers(-2, 3, (3, 200)).astype(np.float64)
    weightings = linear(rng.random((4, 3)), members=[(0,), (1, 2, 3), (2,)])
    hash_N = rng.integers(0, 2**64, 200, dtype=np.uint64)
    heldout_N = rng.random(200) < 0.3
    shorter_N = np.where(rng.random(200) < 0.2, np.nan, rng.integers(-3, 4, 200))
    other_N = np.where(rng.random(200) < 0.5, np.nan, rng.integers(-1, 2, 200))
    names = [None if code == 3 else f"s{code}" for code in rng.integers(0, 4, 200)] if num_subsets else None
    counts = LineupCounts.measure(
        d_KN,
        weightings=weightings,
        hash_N=hash_N,
        heldout_N=heldout_N,
        subsets=names and Subsets.of(names),
        beside=[other_N],
        shorter_N=shorter_N,
    )

    margins = [in_order(d_KN, weight_K) for weight_K in weightings.weight_LK]
    entrants = [[margins[w] for w in members] for members in weightings.members_E]
    entrants += [[other_N], [shorter_N], [-shorter_N]]

    def of(margin: float) -> NDArray[np.int64]:
        return np.array([not np.isnan(margin), margin > 1e-11, abs(margin) <= 1e-11], dtype=np.int64)

    points_2JE3 = np.zeros((2, 512, len(entrants), 3), dtype=np.int64)
    by_subset = {name: np.zeros((2, len(entrants), 3), dtype=np.int64) for name in dict.fromkeys(names or []) if name}
    total_2E3 = np.zeros((2, len(entrants), 3), dtype=np.int64)
    for n in range(200):
        part, bucket = int(heldout_N[n]), int(hash_N[n] >> np.uint64(55))
        uniform = sum(2 * of(m[n])[1] + of(m[n])[2] for m in entrants[0])
        for e, members in enumerate(entrants):
            found = sum((of(m[n]) for m in members), np.zeros(3, dtype=np.int64))
            points_2JE3[part, bucket, e] += [2 * found[1] + found[2], found[0], uniform * found[0]]
            total_2E3[part, e] += found
            if names and (name := names[n]):
                by_subset[name][part, e] += found
    assert (counts.points_2JE3 == points_2JE3).all()
    assert (counts.corpus.calibration.count_E3 == total_2E3[0]).all()
    assert (counts.corpus.heldout.count_E3 == total_2E3[1]).all()
    assert counts.subsets is not None and counts.subsets.keys() == by_subset.keys()
    for name, split in counts.subsets.items():
        assert (np.stack([split.calibration.count_E3, split.heldout.count_E3]) == by_subset[name]).all()
    for w, margin_N in enumerate(margins):
        for part, rows in enumerate((~heldout_N, heldout_N)):
            wins_and_ties_of = np.sum([of(margin)[1:] for margin in margin_N[rows]], axis=0)
            assert counts.count_2W2[part, w].tolist() == wins_and_ties_of.tolist()


def test_subsets_of_single_responses_alone_do_not_count_among_those_of_pairs():
    weightings = linear(np.ones((1, 2)))
    names = Subsets(tuple(f"s{number}" for number in range(40_000)), np.array([7, 39_999, -1, 7]))
    counts = LineupCounts.measure(
        np.ones((2, 4)),
        weightings=weightings,
        hash_N=np.arange(4, dtype=np.uint64),
        heldout_N=np.zeros(4, dtype=bool),
        subsets=names,
        shorter_N=np.full(4, np.nan),
    )
    assert counts.subsets is not None
    assert {name: split.calibration.count_E3[0].tolist() for name, split in counts.subsets.items()} == {
        "s7": [2, 2, 0],
        "s39999": [1, 1, 0],
    }
