"""What every entrant gets right, counted side by side in one pass over the pairs: whole numbers that add up exactly.

Axes: W weightings and E entrants, see `encore_ray.composition.compare.weightings`; then rewards made elsewhere and the
trivial baselines follow along E. J buckets of prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.weightings import Weightings, rows_of_subsets, wins_and_ties
from encore_ray.composition.hashing.keys import DistinctKeys
from encore_ray.composition.inference.jackknife import NUM_BUCKETS, buckets_of
from encore_ray.composition.measure.baselines import BASELINES
from encore_ray.composition.measure.statistics import MAX_SUBSETS, Subsets
from encore_ray.composition.measure.vetoes import BrokenRules, VetoCounts

PART_ROWS = 4096  # margins of all weightings are computed for so many pairs at a time


@dataclass(frozen=True, eq=False)
class EntrantCounts:
    """Counts over some pairs; ``+`` is exact.

    Attributes:
        count_E3: int64, for each entrant the pairs whose margin it knows, the wins and the ties, times its weightings.
        keys: distinct resampling keys.
        known_keys: of the pairs that other rewards know, one each; then of the pairs whose two lengths are known.
    """

    count_E3: NDArray[np.int64]
    keys: DistinctKeys
    known_keys: tuple[DistinctKeys, ...]

    def __add__(self, other: "EntrantCounts") -> "EntrantCounts":
        known_keys = tuple(a + b for a, b in zip(self.known_keys, other.known_keys, strict=True))
        return EntrantCounts(self.count_E3 + other.count_E3, self.keys + other.keys, known_keys)


@dataclass(frozen=True, eq=False)
class SplitCounts:
    """The calibration pairs and the held-out pairs."""

    calibration: EntrantCounts
    heldout: EntrantCounts

    @property
    def all(self) -> EntrantCounts:
        return self.calibration + self.heldout

    def __add__(self, other: "SplitCounts") -> "SplitCounts":
        return SplitCounts(self.calibration + other.calibration, self.heldout + other.heldout)


@dataclass(frozen=True, eq=False)
class LineupCounts:
    """What every entrant got right; ``+`` is exact, associative and commutative.

    Attributes:
        corpus: all pairs. subsets: pairs of each named subset; None with more than 200 subsets.
        count_2W2: int64, wins and ties of each weighting on the calibration and on the held-out pairs.
        points_2JE3: int64, on the calibration and on the held-out pairs, in each bucket: points of each entrant (twice
            the wins and once the ties), pairs it knows, and points of uniform weights on these.
        length_4: int64, of the pairs whose lengths are known: how many there are, have no tie by consensus, are of
            different length, and how many more of those have the shorter response ahead by consensus than the longer.
        vetoes: what hard rules decide of all pairs, and of the held-out ones; None where no rule has a veto.
    """

    corpus: SplitCounts
    subsets: dict[str, SplitCounts] | None
    count_2W2: NDArray[np.int64]
    points_2JE3: NDArray[np.int64]
    length_4: NDArray[np.int64]
    vetoes: tuple[VetoCounts, VetoCounts] | None = None

    @classmethod
    def measure(
        cls,
        d_KN: NDArray[np.float64],
        *,
        weightings: Weightings,
        hash_N: NDArray[np.uint64],
        heldout_N: NDArray[np.bool_],
        subsets: Sequence[str | None] | None,
        beside: Sequence[NDArray[np.float64]] = (),
        shorter_N: NDArray[np.float64],
        masks: Sequence[NDArray[np.bool_]] = (),
        soft_margins: Sequence[NDArray[np.float64]] = (),
        broken: BrokenRules | None = None,
    ) -> "LineupCounts":
        """Count the pairs of one unit.

        Args:
            d_KN: signed differences of N pairs, see `encore_ray.composition.measure.differences`.
            hash_N: hashes of the resampling keys. heldout_N: which pairs are held out.
            subsets: N names, None where a pair has none; None where no pair has one.
            beside: N margins each of rewards made elsewhere: exactly 0 for a tie, NaN where they do not know a pair.
            shorter_N: length of the rejected response minus that of the chosen, NaN where one is not known.
            masks: for each of `weightings.by_mask` the rules that count, [K, N]; a pair without any is a tie.
            soft_margins: N margins of each of `weightings.soft_mins`.
            broken: the hard rules that the responses break, which decide a pair under every weighting, whatever the
                margin; None where no rule has a veto.
        """
        given = [*beside, *(baseline.margins(shorter_N) for baseline in BASELINES)]
        num_pairs, members_E = d_KN.shape[1], weightings.members_E
        count_2W2 = np.zeros((2, weightings.num_weightings, 2), dtype=np.int64)
        win_EN = np.empty((len(members_E), num_pairs), dtype=np.int16)
        tie_EN = np.empty_like(win_EN)
        names = Subsets.of(subsets or [None] * num_pairs)
        part_N2 = np.stack([~heldout_N, heldout_N], axis=1)
        length_4 = np.zeros(4, dtype=np.int64)
        decided_N = np.zeros(num_pairs, dtype=np.int8) if broken is None else broken.decided_N
        for start in range(0, max(num_pairs, 1), PART_ROWS):
            rows = slice(start, start + PART_ROWS)
            win_WN, tie_WN = wins_and_ties(
                d_KN[:, rows],
                weightings,
                names[rows],
                [mask_KN[:, rows] for mask_KN in masks],
                [margin_N[rows] for margin_N in soft_margins],
            )
            if weightings.consensus is not None:  # the consensus itself, whatever a veto then decides
                [w] = members_E[weightings.consensus]
                length_4 += _beside_length(win_WN[w], tie_WN[w], shorter_N[rows])
            if broken is not None:
                win_WN[:, decided_N[rows] != 0] = (decided_N[rows] > 0)[decided_N[rows] != 0]
                tie_WN[:, decided_N[rows] != 0] = False
            for which, (found_WN, found_EN) in enumerate(((win_WN, win_EN), (tie_WN, tie_EN))):
                count_2W2[..., which] += _count_rows(found_WN, part_N2[rows]).T
                for e, members in enumerate(members_E):
                    found_WN[list(members)].sum(axis=0, dtype=np.int16, out=found_EN[e, rows])
        tallies = _Tallies.of(win_EN, tie_EN, given, weightings)
        known = [~np.isnan(margin_N) for margin_N in (*beside, shorter_N)]

        def split(row_N: NDArray[np.intp], count_2E3: NDArray[np.int64]) -> SplitCounts:
            parts = []
            for rows, count_E3 in zip((row_N[~heldout_N[row_N]], row_N[heldout_N[row_N]]), count_2E3, strict=True):
                known_keys = tuple(DistinctKeys.of(hash_N[rows[known_N[rows]]]) for known_N in known)
                parts.append(EntrantCounts(count_E3, DistinctKeys.of(hash_N[rows]), known_keys))
            return SplitCounts(*parts)

        by_bucket = tallies.by_cell(buckets_of(hash_N), heldout_N, num_cells=NUM_BUCKETS)
        corpus = split(np.arange(num_pairs), by_bucket.count_2CE3.sum(axis=1))
        named = {name: rows for name, rows in rows_of_subsets(names).items() if name is not None}
        by_subset = None
        if len(named) <= MAX_SUBSETS:
            subset_N = np.full(num_pairs, -1)
            for s, rows in enumerate(named.values()):
                subset_N[rows] = s
            count_2SE3 = tallies.by_cell(subset_N, heldout_N, num_cells=len(named)).count_2CE3
            by_subset = {name: split(rows, count_2SE3[:, s]) for s, (name, rows) in enumerate(named.items())}
        return cls(
            corpus=corpus,
            subsets=by_subset,
            count_2W2=count_2W2,
            points_2JE3=by_bucket.points_2CE3,
            length_4=length_4,
            vetoes=None if broken is None else (VetoCounts.of(broken), VetoCounts.of(broken.take(heldout_N))),
        )

    def __add__(self, other: "LineupCounts") -> "LineupCounts":
        return LineupCounts(
            corpus=self.corpus + other.corpus,
            subsets=_merge(self.subsets, other.subsets),
            count_2W2=self.count_2W2 + other.count_2W2,
            points_2JE3=self.points_2JE3 + other.points_2JE3,
            length_4=self.length_4 + other.length_4,
            vetoes=_add_vetoes(self.vetoes, other.vetoes),
        )


def _add_vetoes(
    a: tuple[VetoCounts, VetoCounts] | None, b: tuple[VetoCounts, VetoCounts] | None
) -> tuple[VetoCounts, VetoCounts] | None:
    assert (a is None) == (b is None), "vetoes of different rules"
    return None if a is None or b is None else (a[0] + b[0], a[1] + b[1])


def _beside_length(
    win_N: NDArray[np.bool_], tie_N: NDArray[np.bool_], shorter_N: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The counts of `length_4` of some pairs; which response was chosen changes none of them."""
    known_N = ~np.isnan(shorter_N)
    verdict_N = np.where(tie_N, 0, np.where(win_N, 1, -1))[known_N]
    length_N = np.sign(shorter_N[known_N]).astype(np.int64)
    counts = (known_N.sum(), np.count_nonzero(verdict_N), np.count_nonzero(length_N), (verdict_N * length_N).sum())
    return np.array(counts, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _CellSums:
    """Sums over the pairs of each of C cells, on the calibration and on the held-out pairs; as in `LineupCounts`."""

    count_2CE3: NDArray[np.int64]
    points_2CE3: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Tallies:
    """What each of N pairs counts for every entrant, summed over its weightings; int16, so that sums run fast.

    Attributes:
        value_VN: wins and ties of the lineup's entrants; then of those that are told their margins which pairs they
            know, wins, ties, and the points of uniform weights on what they know; at last a one for each pair.
        num_members_E: weightings of the lineup's entrants.
        uniform: which of them weighs uniformly.
        num_given: further entrants.
    """

    value_VN: NDArray[np.int16]
    num_members_E: NDArray[np.int64]
    uniform: int
    num_given: int

    @classmethod
    def of(
        cls,
        win_EN: NDArray[np.int16],
        tie_EN: NDArray[np.int16],
        given: Sequence[NDArray[np.float64]],
        weightings: Weightings,
    ) -> "_Tallies":
        uniform_N = 2 * win_EN[weightings.uniform] + tie_EN[weightings.uniform]
        known_GN = [~np.isnan(margin_N) for margin_N in given]
        values = [win_EN, tie_EN, known_GN, [margin_N > 0 for margin_N in given], [margin_N == 0 for margin_N in given]]
        values += [[uniform_N * known_N for known_N in known_GN], [np.ones(win_EN.shape[1])]]
        value_VN = np.concatenate([np.asarray(some, dtype=np.int16).reshape(-1, win_EN.shape[1]) for some in values])
        num_members_E = np.array([len(members) for members in weightings.members_E], dtype=np.int64)
        return cls(value_VN, num_members_E, weightings.uniform, len(given))

    def by_cell(self, cell_N: NDArray[np.int64], heldout_N: NDArray[np.bool_], *, num_cells: int) -> _CellSums:
        """Sums of the pairs of each cell; a pair whose cell is -1 counts nowhere."""
        num_values = len(self.value_VN)
        place_N = np.where(cell_N < 0, 2 * num_cells, cell_N + num_cells * heldout_N)
        order_N = np.argsort(place_N.astype(np.uint16), kind="stable")
        end_P = np.searchsorted(place_N[order_N], np.arange(2 * num_cells + 1))
        filled_P = np.flatnonzero(np.diff(end_P))
        sum_VP = np.zeros((num_values, 2 * num_cells), dtype=np.int64)
        if len(filled_P):
            last = end_P[-1]
            for value_N, sum_P in zip(self.value_VN, sum_VP, strict=True):
                sum_P[filled_P] = np.add.reduceat(value_N[order_N[:last]], end_P[filled_P], dtype=np.int64)
        sum_V2C = sum_VP.reshape(num_values, 2, num_cells)
        e, g = len(self.num_members_E), self.num_given
        win_E2C, tie_E2C, (known, wins, ties, uniform), pairs_2C = (
            sum_V2C[:e],
            sum_V2C[e : 2 * e],
            sum_V2C[2 * e : -1].reshape(4, g, 2, num_cells),
            sum_V2C[-1],
        )
        members_E11 = self.num_members_E[:, None, None]
        uniform_2C = 2 * win_E2C[self.uniform] + tie_E2C[self.uniform]
        known_E2C = np.concatenate([members_E11 * pairs_2C, known])
        wins_E2C, ties_E2C = np.concatenate([win_E2C, wins]), np.concatenate([tie_E2C, ties])
        beside_E2C = np.concatenate([members_E11 * uniform_2C, uniform])
        return _CellSums(
            count_2CE3=np.stack([known_E2C, wins_E2C, ties_E2C], axis=-1).transpose(1, 2, 0, 3),
            points_2CE3=np.stack([2 * wins_E2C + ties_E2C, known_E2C, beside_E2C], axis=-1).transpose(1, 2, 0, 3),
        )


def _count_rows(found_WN: NDArray[np.bool_], part_N2: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of the pairs of each part are found, [W, 2]: a product of so few ones that float32 adds exactly."""
    return (found_WN.astype(np.float32) @ part_N2.astype(np.float32)).astype(np.int64)


def _merge(a: dict[str, SplitCounts] | None, b: dict[str, SplitCounts] | None) -> dict[str, SplitCounts] | None:
    if a is None or b is None or len(a.keys() | b.keys()) > MAX_SUBSETS:
        return None
    merged = dict(a)
    for name, counts in b.items():
        merged[name] = merged[name] + counts if name in merged else counts
    return merged
