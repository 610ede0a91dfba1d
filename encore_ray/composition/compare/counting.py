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
from encore_ray.composition.inference.jackknife import buckets_of, sum_buckets
from encore_ray.composition.measure.baselines import BASELINES
from encore_ray.composition.measure.statistics import MAX_SUBSETS
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
        num_entrants = len(weightings.members_E) + len(given)
        count_2W2 = np.zeros((2, weightings.num_weightings, 2), dtype=np.int64)
        count_NE3 = np.empty((d_KN.shape[1], num_entrants, 3), dtype=np.int16)
        names = subsets or [None] * d_KN.shape[1]
        length_4 = np.zeros(4, dtype=np.int64)
        decided_N = np.zeros(d_KN.shape[1], dtype=np.int8) if broken is None else broken.decided_N
        for start in range(0, max(d_KN.shape[1], 1), PART_ROWS):
            rows = slice(start, start + PART_ROWS)
            win_WN, tie_WN = wins_and_ties(
                d_KN[:, rows],
                weightings,
                names[rows],
                [mask_KN[:, rows] for mask_KN in masks],
                [margin_N[rows] for margin_N in soft_margins],
            )
            if weightings.consensus is not None:  # the consensus itself, whatever a veto then decides
                [w] = weightings.members_E[weightings.consensus]
                length_4 += _beside_length(win_WN[w], tie_WN[w], shorter_N[rows])
            if broken is not None:
                win_WN[:, decided_N[rows] != 0] = (decided_N[rows] > 0)[decided_N[rows] != 0]
                tie_WN[:, decided_N[rows] != 0] = False
            for part, rows_of_part in enumerate((~heldout_N[rows], heldout_N[rows])):
                count_2W2[part, :, 0] += win_WN[:, rows_of_part].sum(axis=1)
                count_2W2[part, :, 1] += tie_WN[:, rows_of_part].sum(axis=1)
            count_NE3[rows] = _count_pairs(win_WN, tie_WN, weightings.members_E, [margin_N[rows] for margin_N in given])
        known = [~np.isnan(margin_N) for margin_N in (*beside, shorter_N)]

        def split(row_N: NDArray[np.intp]) -> SplitCounts:
            parts = []
            for rows in (row_N[~heldout_N[row_N]], row_N[heldout_N[row_N]]):
                counts = count_NE3[rows].sum(axis=0, dtype=np.int64)
                known_keys = tuple(DistinctKeys.of(hash_N[rows[known_N[rows]]]) for known_N in known)
                parts.append(EntrantCounts(counts, DistinctKeys.of(hash_N[rows]), known_keys))
            return SplitCounts(*parts)

        named = {name: rows for name, rows in rows_of_subsets(names).items() if name is not None}
        return cls(
            corpus=split(np.arange(d_KN.shape[1])),
            subsets=None if len(named) > MAX_SUBSETS else {name: split(rows) for name, rows in named.items()},
            count_2W2=count_2W2,
            points_2JE3=_by_bucket(count_NE3, hash_N, heldout_N, weightings.uniform),
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


def _count_pairs(
    win_WN: NDArray[np.bool_],
    tie_WN: NDArray[np.bool_],
    members_E: Sequence[tuple[int, ...]],
    given: Sequence[NDArray[np.float64]],
) -> NDArray[np.int16]:
    """For each pair and entrant whether it knows the pair, wins and ties, [N, E, 3]; sums over its weightings."""
    count_NE3 = np.empty((win_WN.shape[1], len(members_E) + len(given), 3), dtype=np.int16)
    for e, members in enumerate(members_E):
        index = list(members)
        count_NE3[:, e, 0] = len(index)
        count_NE3[:, e, 1] = win_WN[index].sum(axis=0)
        count_NE3[:, e, 2] = tie_WN[index].sum(axis=0)
    for e, margin_N in enumerate(given, start=len(members_E)):
        count_NE3[:, e, 0] = ~np.isnan(margin_N)
        count_NE3[:, e, 1] = margin_N > 0
        count_NE3[:, e, 2] = margin_N == 0
    return count_NE3


def _by_bucket(
    count_NE3: NDArray[np.int16], hash_N: NDArray[np.uint64], heldout_N: NDArray[np.bool_], uniform: int
) -> NDArray[np.int64]:
    """Points, pairs and uniform's points on these pairs, of both parts in every bucket."""
    known_NE = count_NE3[..., 0].astype(np.int64)
    points_NE = 2 * count_NE3[..., 1].astype(np.int64) + count_NE3[..., 2]
    value_NE3 = np.stack([points_NE, known_NE, points_NE[:, uniform, None] * known_NE], axis=2)
    bucket_N = buckets_of(hash_N)
    return np.stack([sum_buckets(bucket_N[rows], value_NE3[rows]) for rows in (~heldout_N, heldout_N)])


def _merge(a: dict[str, SplitCounts] | None, b: dict[str, SplitCounts] | None) -> dict[str, SplitCounts] | None:
    if a is None or b is None or len(a.keys() | b.keys()) > MAX_SUBSETS:
        return None
    merged = dict(a)
    for name, counts in b.items():
        merged[name] = merged[name] + counts if name in merged else counts
    return merged
