"""Map-reduce statistics of all rules over a corpus: measured unit by unit and merged with ``+``."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.hashing.keys import DistinctKeys, hash_keys
from encore_ray.composition.inference.jackknife import buckets_of
from encore_ray.composition.measure.buckets import BucketProducts
from encore_ray.composition.measure.counts import PART_ROWS, MeasuredRule, RuleCounts, measure_rule
from encore_ray.composition.measure.cross_counts import CrossCounter
from encore_ray.composition.measure.products import DifferenceProducts
from encore_ray.composition.measure.siblings import PromptUnits
from encore_ray.composition.measure.side_by_side import Compared, SideBySide
from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.sums.known import add_known
from encore_ray.rules import RuleSet

MAX_SUBSETS = 200

Columns = Sequence[ArrayLike] | NDArray[np.floating]
SubsetCounts = dict[str, tuple[NDArray[np.int64], ...]]


@dataclass(frozen=True, eq=False)
class RuleStatistics:
    """What the weights are computed from; ``+`` is exact, associative and commutative.

    Attributes:
        num_pairs: rows with a chosen and a rejected response.
        num_singles: rows with one response only.
        clip: whether scores out of range were clipped for all rules.
        keys: distinct resampling keys of the pairs.
        counts_K: one entry a rule, in rule order.
        subset_counts: for each named subset K pooled histograms; None with more than 200 subsets.
        products: how the rules' differences go together; None where it was not asked for.
        buckets: the same and the histograms by buckets of prompts; None where it was not asked for.
        prompt_units: in how many units each prompt has single responses; None where no differences were asked for.
    """

    num_pairs: int
    num_singles: int
    clip: bool
    keys: DistinctKeys
    counts_K: tuple[RuleCounts, ...]
    subset_counts: SubsetCounts | None
    products: DifferenceProducts | None = None
    buckets: BucketProducts | None = None
    prompt_units: PromptUnits | None = None

    @classmethod
    def measure(
        cls,
        chosen_KN: Columns,
        rejected_KN: Columns,
        *,
        rules: RuleSet,
        binnings: Sequence[Binning],
        has_rejected_N: ArrayLike,
        pair_ids: Sequence[str],
        keys: Sequence[str],
        subsets: Sequence[str | None] | None = None,
        clip: bool = False,
        with_products: bool = False,
        compared: Compared | None = None,
    ) -> "RuleStatistics":
        """Measure one unit of scores. Bad scores are recorded, never raised here: see `problems`.

        Args:
            chosen_KN, rejected_KN: K columns of N scores, float32 or float64, in rule order. Rejected scores are read
                only where there is a rejected response.
            rules, binnings: K of each.
            has_rejected_N: bool, False for single responses.
            pair_ids: N ids, for messages only.
            keys: N resampling keys: prompt_id, else group_id, else pair_id.
            subsets: N names, None where a row has none; None where no row has one.
            clip: count scores out of range in the end cells for every rule, not only where a rule says so.
            with_products: measure also how the rules' differences go together, which keeps them all in memory.
            compared: of which responses to measure that also by buckets of prompts, for an interval; None: of none.
        """
        assert len(chosen_KN) == len(rejected_KN) == len(binnings) == len(rules), "one column and binning a rule"
        is_pair_N = np.asarray(has_rejected_N, dtype=bool)
        num_pairs = int(np.count_nonzero(is_pair_N))
        number, code_N = subset_codes([] if subsets is None else subsets)
        parts = _parts(is_pair_N, pair_ids)
        hash_N = hash_keys(keys)
        bucket_N = buckets_of(hash_N).astype(np.int32)
        bucket_MAP = [np.tile(bucket_N[part.rows], (part.num_sides, 1)) for part in parts]
        counter = CrossCounter()
        is_one_subset = len(number) == 1 and not code_N.any()  # the usual case: what is counted already
        counts_K: list[RuleCounts] = []
        count_KSL: list[NDArray[np.int64]] = []
        measured_KP: list[list[MeasuredRule]] = []
        # Rule by rule, so that columns may be read one by one.
        for rule, binning, chosen_N, rejected_N in zip(rules, binnings, chosen_KN, rejected_KN, strict=True):
            sides = np.asarray(chosen_N), np.asarray(rejected_N)
            measured = [
                measure_rule(
                    rule,
                    part.scores(*sides),
                    bucket_AP=bucket_AP,
                    name=part.names,
                    binning=binning,
                    clip=clip,
                    counter=counter,
                )
                for part, bucket_AP in zip(parts, bucket_MAP, strict=True)
            ]
            counts_K.append(reduce(add, (of_part.counts for of_part in measured)))
            if with_products:
                measured_KP.append(measured)
            if 0 < len(number) <= MAX_SUBSETS:
                if is_one_subset:
                    count_KSL.append(counts_K[-1].count_L[None])
                    continue
                by_part = [
                    _count_subsets(code_N[part.rows], of_part, num_subsets=len(number))
                    for part, of_part in zip(parts, measured, strict=True)
                ]
                count_KSL.append(reduce(add, by_part))
        by_name = {name: tuple(count_SL[code] for count_SL in count_KSL) for name, code in number.items()}
        side_by_side = None
        if with_products:
            hash_RP = [hash_N[part.rows] for part in parts]
            side_by_side = SideBySide.of(measured_KP, hash_RP, [part.num_sides for part in parts])
        return cls(
            num_pairs=num_pairs,
            num_singles=len(is_pair_N) - num_pairs,
            clip=clip,
            keys=DistinctKeys.of(hash_N[is_pair_N]),
            counts_K=tuple(counts_K),
            subset_counts=by_name if len(number) <= MAX_SUBSETS else None,
            products=side_by_side.products() if side_by_side else None,
            buckets=side_by_side.buckets(compared, binnings) if side_by_side and compared else None,
            prompt_units=side_by_side.prompt_units if side_by_side else None,
        )

    @property
    def num_responses(self) -> int:
        return 2 * self.num_pairs + self.num_singles

    @property
    def num_keys(self) -> int:
        """Distinct resampling keys of pairs, the number of independent observations; estimated above 65,535."""
        return self.keys.count

    @property
    def counts_sha256(self) -> str:
        """SHA-256 of the int64 little-endian histogram rows, all responses pooled, concatenated in rule order."""
        digest = hashlib.sha256()
        for counts in self.counts_K:
            digest.update(counts.count_L.astype("<i8").tobytes())
        return digest.hexdigest()

    def __add__(self, other: "RuleStatistics") -> "RuleStatistics":
        assert self.clip == other.clip, "statistics of different jobs"
        return RuleStatistics(
            num_pairs=self.num_pairs + other.num_pairs,
            num_singles=self.num_singles + other.num_singles,
            clip=self.clip,
            keys=self.keys + other.keys,
            counts_K=tuple(a + b for a, b in zip(self.counts_K, other.counts_K, strict=True)),
            subset_counts=_merge_subsets(self.subset_counts, other.subset_counts),
            products=add_known(self.products, other.products),
            buckets=add_known(self.buckets, other.buckets),
            prompt_units=add_known(self.prompt_units, other.prompt_units),
        )

    def problems(self, *, in_file: bool = True) -> list[str]:
        """What keeps the scores from being counted: some are not finite, or out of range where the rule does not clip.

        Every rule's problem is named with its count, its first pair_ids, the range found and the remedy.

        Args:
            in_file: whether a file has the rules, in which they can be corrected.
        """
        return [
            sentence
            for counts in self.counts_K
            for sentence in counts.problems.sentences(
                counts.rule,
                binning=counts.binning,
                num_responses=self.num_responses,
                num_clipped=counts.num_clipped,
                in_file=in_file,
            )
        ]


@dataclass(frozen=True, eq=False)
class Subsets(Sequence[str | None]):
    """The subset of each of N rows, read-only.

    Attributes:
        names: S different names.
        code_N: int64, each row's position in `names`; -1 for a row without a subset.
    """

    names: tuple[str, ...]
    code_N: NDArray[np.int64]

    @classmethod
    def of(cls, subsets: Sequence[str | None]) -> "Subsets":
        """Names numbered as they first occur; what is in this form already is returned as it is."""
        if isinstance(subsets, Subsets):
            return subsets
        number: dict[str, int] = {}
        code_N = [-1 if name is None else number.setdefault(name, len(number)) for name in subsets]
        return cls(tuple(number), np.asarray(code_N, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.code_N)

    @overload
    def __getitem__(self, index: int) -> str | None: ...
    @overload
    def __getitem__(self, index: slice) -> "Subsets": ...
    def __getitem__(self, index: int | slice) -> "str | Subsets | None":
        if isinstance(index, slice):
            return Subsets(self.names, self.code_N[index])
        code = self.code_N[index]
        return None if code < 0 else self.names[code]

    def __iter__(self) -> Iterator[str | None]:
        names = (*self.names, None)  # -1 is the last
        return (names[code] for code in self.code_N.tolist())


def subset_codes(subsets: Sequence[str | None]) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Number the named subsets: their numbers, and each row's (-1 for a row without a subset)."""
    found = Subsets.of(subsets)
    return {name: code for code, name in enumerate(found.names)}, found.code_N


@dataclass(frozen=True, eq=False)
class _RowPart:
    """Some rows, all of them pairs (two sides) or all single responses (one side)."""

    num_sides: int
    rows: slice | NDArray[np.intp]
    pair_ids: Sequence[str]

    def scores(self, chosen_N: NDArray[np.floating], rejected_N: NDArray[np.floating]) -> NDArray[np.float64]:
        """One rule's scores of the part, [num_sides, P]."""
        sides = [side_N[self.rows] for side_N in (chosen_N, rejected_N)[: self.num_sides]]
        score_AP = np.empty((len(sides), len(sides[0])))
        for score_P, side_P in zip(score_AP, sides, strict=True):
            score_P[:] = side_P
        return score_AP

    def names(self, number_B: NDArray[np.intp]) -> list[str]:
        """The pair_ids of some rows of the part."""
        row_P = np.arange(len(self.pair_ids))[self.rows]
        return [str(self.pair_ids[row]) for row in row_P[number_B].tolist()]


def _parts(is_pair_N: NDArray[np.bool_], pair_ids: Sequence[str]) -> list[_RowPart]:
    """All rows in parts that suit the processor's cache; at least one part."""
    if is_pair_N.all():  # the usual case needs no copy
        starts = range(0, max(len(is_pair_N), 1), PART_ROWS)
        return [_RowPart(2, slice(start, start + PART_ROWS), pair_ids) for start in starts]
    row_N = {2: np.flatnonzero(is_pair_N), 1: np.flatnonzero(~is_pair_N)}
    return [
        _RowPart(num_sides, rows[start : start + PART_ROWS], pair_ids)
        for num_sides, rows in row_N.items()
        for start in range(0, len(rows), PART_ROWS)
    ]


def _count_subsets(code_P: NDArray[np.int64], measured: MeasuredRule, *, num_subsets: int) -> NDArray[np.int64]:
    """One rule's histograms by subset, [num_subsets, L], given the subset of each row (-1 without one)."""
    size = measured.counts.binning.num_cells
    first_P = np.where(code_P < 0, num_subsets, code_P) * size  # rows without a subset are counted behind the others
    count_SL = np.zeros((num_subsets + 1, size), dtype=np.int64)
    for cell_P in measured.cell_AP:
        count_SL += np.bincount(first_P + cell_P, minlength=count_SL.size).reshape(count_SL.shape)
    return count_SL[:-1]


def _merge_subsets(a: SubsetCounts | None, b: SubsetCounts | None) -> SubsetCounts | None:
    if a is None or b is None or len(a.keys() | b.keys()) > MAX_SUBSETS:
        return None
    merged = dict(a)
    for name, count_KL in b.items():
        mine_KL = merged.get(name)
        merged[name] = count_KL if mine_KL is None else tuple(x + y for x, y in zip(mine_KL, count_KL, strict=True))
    return merged
