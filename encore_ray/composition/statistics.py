"""The statistics of all rules over a corpus, measured unit by unit and merged with ``+``."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.binning import Binning
from encore_ray.composition.counts import MeasuredRule, RuleCounts, measure_rule
from encore_ray.composition.keys import DistinctKeys, hash_keys
from encore_ray.errors import DataError
from encore_ray.rules import RuleSet

MAX_SUBSETS = 200

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
    """

    num_pairs: int
    num_singles: int
    clip: bool
    keys: DistinctKeys
    counts_K: tuple[RuleCounts, ...]
    subset_counts: SubsetCounts | None

    @classmethod
    def measure(
        cls,
        chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
        rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
        *,
        rules: RuleSet,
        binnings: Sequence[Binning],
        has_rejected_N: ArrayLike,
        pair_ids: Sequence[str],
        keys: Sequence[str],
        subsets: Sequence[str | None] | None = None,
        clip: bool = False,
    ) -> "RuleStatistics":
        """Measure one unit of scores. Bad scores are recorded, never raised here: see `raise_problems`.

        Args:
            chosen_KN, rejected_KN: K columns of N scores, float32 or float64, in rule order. Rejected scores are read
                only where there is a rejected response.
            rules, binnings: K of each.
            has_rejected_N: bool, False for single responses.
            pair_ids: N ids, for messages only.
            keys: N resampling keys: prompt_id, else group_id, else pair_id.
            subsets: N names, None where a row has none; None where no row has one.
            clip: count scores out of range in the end cells for every rule, not only where a rule says so.
        """
        assert len(chosen_KN) == len(rejected_KN) == len(binnings) == len(rules), "one column and binning a rule"
        is_pair_N = np.asarray(has_rejected_N, dtype=bool)
        pair_N = np.flatnonzero(is_pair_N)
        measured_K = [
            measure_rule(
                rule,
                chosen_N=chosen_KN[k],
                rejected_N=rejected_KN[k],
                is_pair_N=is_pair_N,
                pair_ids=pair_ids,
                binning=binnings[k],
                clip=clip,
            )
            for k, rule in enumerate(rules)
        ]
        return cls(
            num_pairs=len(pair_N),
            num_singles=len(is_pair_N) - len(pair_N),
            clip=clip,
            keys=DistinctKeys.of(hash_keys([keys[row] for row in pair_N.tolist()])),
            counts_K=tuple(measured.counts for measured in measured_K),
            subset_counts={} if subsets is None else _count_subsets(subsets, measured_K, pair_N),
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
        )

    def raise_problems(self) -> None:
        """Raise DataError if any score is not finite, or out of range where the rule does not clip.

        Every rule's problem is named with its count, its first pair_ids, the range found and the remedy.
        """
        found: list[str] = []
        for counts in self.counts_K:
            found += counts.problems.sentences(counts.rule, binning=counts.binning)
        if found:
            raise DataError("\n".join(found))


def subset_codes(subsets: Sequence[str | None]) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Number the named subsets: their numbers, and each row's (-1 for a row without a subset)."""
    number: dict[str, int] = {}
    code_N = [-1 if name is None else number.setdefault(name, len(number)) for name in subsets]
    return number, np.asarray(code_N, dtype=np.int64)


def _count_subsets(
    subsets: Sequence[str | None], measured_K: list[MeasuredRule], pair_N: NDArray[np.intp]
) -> SubsetCounts | None:
    number, code_N = subset_codes(subsets)
    if len(number) > MAX_SUBSETS:
        return None
    code_R = np.concatenate([code_N, code_N[pair_N]])
    named_R = code_R >= 0
    count_KSL: list[NDArray[np.int64]] = []
    for measured in measured_K:
        size = measured.counts.binning.num_cells
        cell_R = code_R[named_R] * size + measured.cell_R[named_R]
        count_KSL.append(np.bincount(cell_R, minlength=len(number) * size).reshape(len(number), size))
    return {name: tuple(count_SL[code] for count_SL in count_KSL) for name, code in number.items()}


def _merge_subsets(a: SubsetCounts | None, b: SubsetCounts | None) -> SubsetCounts | None:
    if a is None or b is None or len(a.keys() | b.keys()) > MAX_SUBSETS:
        return None
    merged = dict(a)
    for name, count_KL in b.items():
        mine_KL = merged.get(name)
        merged[name] = count_KL if mine_KL is None else tuple(x + y for x, y in zip(mine_KL, count_KL, strict=True))
    return merged
