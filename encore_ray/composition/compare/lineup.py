"""Many ways to judge the same pairs, side by side: margins of all of them, counted in one pass over the scores.

Axes: J judges (each gives every pair a margin), S standings (what is shown: a judge, or a few whose counts are added up
as of random weights), B bootstrap replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.measure.bootstrap import MAX_ROWS, draw_replicates, replicate_sums
from encore_ray.composition.measure.keys import DistinctKeys
from encore_ray.composition.measure.statistics import MAX_SUBSETS, subset_codes
from encore_ray.composition.select.discrepancy import discrepancy_margins, masked_margins

_TILE = 1024  # rows whose margins under all judges stay in the cache


@dataclass(frozen=True, eq=False)
class Judges:
    """Everything that judges the pairs by their scores, in this order along J.

    Attributes:
        weight_JK: linear rewards, a row each.
        tolerance_J: margins of at most so much are ties.
        kept: numbers of the rules that may have a weight.
        masked: weights of the kept rules and number of rules a pair, of each max-discrepancy judge.
        masked_tolerance: of their margins.
        range_K: width of each rule's range in the units of the differences.
        by_subset: weights of the pairs of each subset, of others under None; or None for no such judge.
        by_mask: weights of all rules of each judge that is told which rules of a pair count.
        standings: for each the judges whose counts it adds up. Along S, what judges by other means follows: rewards
            made elsewhere, one each, then the two lengths, shorter and longer wins.
        uniform: which standing the others are compared with.
    """

    weight_JK: NDArray[np.float64]
    tolerance_J: NDArray[np.float64]
    kept: tuple[int, ...]
    masked: tuple[tuple[NDArray[np.float64], int], ...]
    masked_tolerance: float
    range_K: tuple[float, ...]
    by_subset: Mapping[str | None, NDArray[np.float64]] | None
    by_mask: tuple[NDArray[np.float64], ...]
    standings: tuple[tuple[int, ...], ...]
    uniform: int

    @property
    def num_judges(self) -> int:
        """J."""
        return len(self.weight_JK) + len(self.masked) + (self.by_subset is not None) + len(self.by_mask)


@dataclass(frozen=True, eq=False)
class Part:
    """Counts over some pairs; ``+`` is exact.

    Attributes:
        count_S3: int64, for each standing the pairs judged, the wins and the ties, times the judges it adds up.
        keys: distinct resampling keys.
        known_keys: of the pairs that other rewards know, one each; then of the pairs whose two lengths are known.
    """

    count_S3: NDArray[np.int64]
    keys: DistinctKeys
    known_keys: tuple[DistinctKeys, ...]

    def __add__(self, other: "Part") -> "Part":
        known_keys = tuple(a + b for a, b in zip(self.known_keys, other.known_keys, strict=True))
        return Part(self.count_S3 + other.count_S3, self.keys + other.keys, known_keys)


@dataclass(frozen=True, eq=False)
class Halves:
    """The calibration pairs and the held-out pairs."""

    calibration: Part
    heldout: Part

    @property
    def all(self) -> Part:
        return self.calibration + self.heldout

    def __add__(self, other: "Halves") -> "Halves":
        return Halves(self.calibration + other.calibration, self.heldout + other.heldout)


@dataclass(frozen=True, eq=False)
class Contest:
    """What every judge got right; ``+`` is exact, associative and commutative.

    Attributes:
        corpus: all pairs. subsets: pairs of each named subset; None with more than 200 subsets.
        count_2J2: int64, wins and ties of each judge on the calibration and on the held-out pairs.
        points_2BS3: int64, on the calibration and on the held-out pairs, in each replicate (the first is the corpus
            itself): points of each standing (twice the wins and once the ties), pairs it judged, and points of uniform
            weights on these.
    """

    corpus: Halves
    subsets: dict[str, Halves] | None
    count_2J2: NDArray[np.int64]
    points_2BS3: NDArray[np.int64]

    @classmethod
    def measure(
        cls,
        d_KN: NDArray[np.float64],
        *,
        judges: Judges,
        hash_N: NDArray[np.uint64],
        heldout_N: NDArray[np.bool_],
        subsets: Sequence[str | None] | None,
        beside: Sequence[NDArray[np.float64]] = (),
        shorter_N: NDArray[np.float64],
        masks: Sequence[NDArray[np.bool_]] = (),
    ) -> "Contest":
        """Judge the pairs of one unit.

        Args:
            d_KN: signed differences of N pairs, see `encore_ray.composition.measure.differences`.
            hash_N: hashes of the resampling keys. heldout_N: which pairs are held out.
            subsets: N names, None where a pair has none; None where no pair has one.
            beside: N margins each of rewards made elsewhere: exactly 0 for a tie, NaN where they do not know a pair.
            shorter_N: length of the rejected response minus that of the chosen, NaN where one is not known.
            masks: for each of `judges.by_mask` the rules that count, [K, N]; a pair without any is a tie.
        """
        given = [*beside, shorter_N, -shorter_N]
        num_standings = len(judges.standings) + len(given)
        count_2J2 = np.zeros((2, judges.num_judges, 2), dtype=np.int64)
        count_NS3 = np.empty((d_KN.shape[1], num_standings, 3), dtype=np.int16)
        names = subsets or [None] * d_KN.shape[1]
        points = []
        for start in range(0, max(d_KN.shape[1], 1), MAX_ROWS):
            rows = slice(start, start + MAX_ROWS)
            win_JN, tie_JN = _judge(d_KN[:, rows], judges, names[rows], [mask_KN[:, rows] for mask_KN in masks])
            for half, rows_of_half in enumerate((~heldout_N[rows], heldout_N[rows])):
                count_2J2[half, :, 0] += win_JN[:, rows_of_half].sum(axis=1)
                count_2J2[half, :, 1] += tie_JN[:, rows_of_half].sum(axis=1)
            count_NS3[rows] = _standings(win_JN, tie_JN, judges.standings, [margin_N[rows] for margin_N in given])
            points.append(_replicate(count_NS3[rows], hash_N[rows], heldout_N[rows], judges.uniform))
        known = [~np.isnan(margin_N) for margin_N in given[:-1]]

        def halves(row_N: NDArray[np.intp]) -> Halves:
            parts = []
            for rows in (row_N[~heldout_N[row_N]], row_N[heldout_N[row_N]]):
                counts = count_NS3[rows].sum(axis=0, dtype=np.int64)
                known_keys = tuple(DistinctKeys.of(hash_N[rows[known_N[rows]]]) for known_N in known)
                parts.append(Part(counts, DistinctKeys.of(hash_N[rows]), known_keys))
            return Halves(*parts)

        named = {name: rows for name, rows in _rows_of_subsets(names).items() if name is not None}
        return cls(
            corpus=halves(np.arange(d_KN.shape[1])),
            subsets=None if len(named) > MAX_SUBSETS else {name: halves(rows) for name, rows in named.items()},
            count_2J2=count_2J2,
            points_2BS3=np.sum(points, axis=0),
        )

    def __add__(self, other: "Contest") -> "Contest":
        return Contest(
            corpus=self.corpus + other.corpus,
            subsets=_merge(self.subsets, other.subsets),
            count_2J2=self.count_2J2 + other.count_2J2,
            points_2BS3=self.points_2BS3 + other.points_2BS3,
        )


def _judge(
    d_KN: NDArray[np.float64], judges: Judges, names: Sequence[str | None], masks: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Wins and ties of all judges, [J, N] each."""
    win_JN = np.empty((judges.num_judges, d_KN.shape[1]), dtype=bool)
    tie_JN = np.empty_like(win_JN)
    num_linear = len(judges.weight_JK)
    for start in range(0, d_KN.shape[1], _TILE):
        rows = slice(start, start + _TILE)
        margin_JN = _linear_margins(d_KN[:, rows], judges.weight_JK)
        tolerance_J1 = judges.tolerance_J[:, None]
        win_JN[:num_linear, rows] = margin_JN > tolerance_J1
        tie_JN[:num_linear, rows] = np.abs(margin_JN) <= tolerance_J1
    kept = list(judges.kept)
    range_K = np.array(judges.range_K)[kept]
    others = [discrepancy_margins(d_KN[kept], weight_K, r, range_K=range_K) for weight_K, r in judges.masked]
    if judges.by_subset is not None:
        margin_N = np.empty(d_KN.shape[1])
        for name, rows in _rows_of_subsets(names).items():
            weight_K = judges.by_subset.get(name, judges.by_subset[None])
            margin_N[rows] = _linear_margins(d_KN[:, rows], weight_K[None])[0]
        others.append(margin_N)
    others += [masked_margins(mask_KN, d_KN, w_K) for mask_KN, w_K in zip(masks, judges.by_mask, strict=True)]
    for j, margin_N in enumerate(others, start=num_linear):
        win_JN[j] = margin_N > judges.masked_tolerance
        tie_JN[j] = np.abs(margin_N) <= judges.masked_tolerance
    return win_JN, tie_JN


def _linear_margins(d_KN: NDArray[np.float64], weight_JK: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum_k w_k d_k, rules added in order and element by element: the bits of `compose` on any machine."""
    margin_JN = np.zeros((len(weight_JK), d_KN.shape[1]))
    for k, d_N in enumerate(d_KN):
        margin_JN += weight_JK[:, k, None] * d_N
    return margin_JN


def _standings(
    win_JN: NDArray[np.bool_],
    tie_JN: NDArray[np.bool_],
    standings: Sequence[tuple[int, ...]],
    given: Sequence[NDArray[np.float64]],
) -> NDArray[np.int16]:
    """For each pair and standing whether it judges the pair, wins and ties, [N, S, 3]; sums over its judges."""
    count_NS3 = np.empty((win_JN.shape[1], len(standings) + len(given), 3), dtype=np.int16)
    for s, judged in enumerate(standings):
        index = list(judged)
        count_NS3[:, s, 0] = len(index)
        count_NS3[:, s, 1] = win_JN[index].sum(axis=0)
        count_NS3[:, s, 2] = tie_JN[index].sum(axis=0)
    for s, margin_N in enumerate(given, start=len(standings)):
        count_NS3[:, s, 0] = ~np.isnan(margin_N)
        count_NS3[:, s, 1] = margin_N > 0
        count_NS3[:, s, 2] = margin_N == 0
    return count_NS3


def _replicate(
    count_NS3: NDArray[np.int16], hash_N: NDArray[np.uint64], heldout_N: NDArray[np.bool_], uniform: int
) -> NDArray[np.int64]:
    """Points, pairs and uniform's points on these pairs, of both halves in the corpus and in every replicate."""
    judged_NS = count_NS3[..., 0]
    points_NS = 2 * count_NS3[..., 1] + count_NS3[..., 2]
    value_NS3 = np.stack([points_NS, judged_NS, points_NS[:, uniform, None] * judged_NS], axis=2)
    value_NC = value_NS3.reshape(len(hash_N), -1).astype(np.float32)
    draw_NB = np.concatenate([np.ones((len(hash_N), 1), np.float32), draw_replicates(hash_N)], axis=1)
    sums = [replicate_sums(draw_NB[rows], value_NC[rows]) for rows in (~heldout_N, heldout_N)]
    return np.stack(sums).reshape(2, draw_NB.shape[1], *value_NS3.shape[1:])


def _rows_of_subsets(names: Sequence[str | None]) -> dict[str | None, NDArray[np.intp]]:
    """The rows of each named subset, and under None those of none."""
    number, code_N = subset_codes(names)
    order_N = np.argsort(code_N, kind="stable")
    first_G = np.searchsorted(code_N[order_N], np.arange(-1, len(number) + 1))
    rows = {name: order_N[first_G[code] : first_G[code + 1]] for code, name in enumerate([None, *number])}
    return {name: row_N for name, row_N in rows.items() if len(row_N)}


def _merge(a: dict[str, Halves] | None, b: dict[str, Halves] | None) -> dict[str, Halves] | None:
    if a is None or b is None or len(a.keys() | b.keys()) > MAX_SUBSETS:
        return None
    merged = dict(a)
    for name, halves in b.items():
        merged[name] = merged[name] + halves if name in merged else halves
    return merged
