"""Pairwise accuracy of composed rewards against the labels: overall, by subset, and next to trivial baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.evaluate.examples import Examples
from encore_ray.composition.evaluate.margins import MarginHistogram
from encore_ray.composition.evaluate.rewardbench import rewardbench
from encore_ray.composition.evaluate.rewardbench2 import Responses, RewardBench2
from encore_ray.composition.evaluate.rm_bench import RMBench
from encore_ray.composition.hashing.keys import DistinctKeys, hash_keys
from encore_ray.composition.inference.agreement import Correlation, Tally
from encore_ray.composition.measure.baselines import BASELINES
from encore_ray.composition.measure.statistics import subset_codes
from encore_ray.composition.measure.vetoes import BrokenRules, VetoCounts
from encore_ray.composition.sums.exact import ExactSum, mean, standard_deviation
from encore_ray.composition.sums.known import add_known
from encore_ray.schema import SCHEMA_VERSION


@dataclass(frozen=True, eq=False)
class Agreement:
    """Wins, ties and losses with the distinct resampling keys they come from; merges with ``+``."""

    tally: Tally
    keys: DistinctKeys

    @classmethod
    def of(cls, verdict_N: NDArray[np.int8], hash_N: NDArray[np.uint64]) -> "Agreement":
        """Count pairs by which response is better, see `Tally.of_verdicts`; `hash_N` are the hashes of their keys."""
        return cls(Tally.of_verdicts(verdict_N), DistinctKeys.of(hash_N))

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.tally + other.tally, self.keys + other.keys)

    def to_dict(self) -> dict[str, Any]:
        return self.tally.to_dict(num_keys=self.keys.count)


@dataclass(frozen=True, eq=False)
class RewardStatistics:
    """Everything metrics.json needs, for a part of the rows; ``+`` is exact, associative and commutative.

    Attributes:
        overall: all pairs.
        subsets: pairs of each named subset.
        rewardbench_2: groups of RewardBench 2. rm_bench: those of RM-Bench.
        baselines: of BASELINES, over the pairs whose two lengths are known. baseline_keys: the keys of these pairs.
        num_singles: single responses, which no pair statistic counts.
        sum_margin, sum_squared_margin: over all pairs that have a margin.
        margins: histogram over the same pairs. examples: of them, the farthest from a tie; None where no id is told.
        vetoes: what hard rules decide; None where no rule has a veto.
    """

    overall: Agreement
    subsets: dict[str, Agreement]
    rewardbench_2: RewardBench2
    rm_bench: RMBench
    baselines: tuple[Tally, ...]
    baseline_keys: DistinctKeys
    num_singles: int
    sum_margin: ExactSum
    sum_squared_margin: ExactSum
    margins: MarginHistogram
    vetoes: VetoCounts | None = None
    examples: Examples | None = None

    @classmethod
    def measure(
        cls,
        margin_N: ArrayLike,
        *,
        tolerance: float,
        reach: float,
        keys: Sequence[str],
        subsets: Sequence[str | None] | None = None,
        responses: Responses | None = None,
        shorter_N: ArrayLike | None = None,
        broken: BrokenRules | None = None,
        pair_ids: Sequence[str] | None = None,
        unit: str = "",
    ) -> "RewardStatistics":
        """Measure one unit of rewards.

        Args:
            margin_N: float64 margins; NaN marks a single response, or a pair that a veto decides.
            tolerance: see `encore_ray.composition.weigh.rewards.margin_tolerance`.
            reach: half the range of the histogram, see `encore_ray.composition.evaluate.margins.margin_reach`.
            keys: N resampling keys: prompt_id, else group_id, else pair_id.
            subsets: N names, None where a row has none; None where no row has one.
            responses: the groups of responses that rows belong to; None where no row belongs to one.
            shorter_N: length of the rejected response minus that of the chosen, NaN where one is not known; None where
                none is.
            broken: the hard rules that the responses break; None where no rule has a veto. The pair of which just one
                response breaks any is won by the other.
            pair_ids: N, of the examples; None keeps none. unit: what this one is called.
        """
        margin_N = np.asarray(margin_N, dtype=np.float64)
        decided_N = np.zeros(len(margin_N), dtype=np.int8) if broken is None else broken.decided_N
        pair_N = np.flatnonzero(~np.isnan(margin_N) | (decided_N != 0))
        decided_P, margin_P = decided_N[pair_N], margin_N[pair_N]
        verdict_P = np.where(
            decided_P != 0, decided_P, (margin_P > tolerance).astype(np.int8) - (margin_P < -tolerance)
        )
        margin_P = margin_P[decided_P == 0]
        hash_P = hash_keys(keys)[pair_N]
        by_subset: dict[str, Agreement] = {}
        if subsets is not None:
            number, code_N = subset_codes(subsets)
            code_P = code_N[pair_N]
            order_P = np.argsort(code_P, kind="stable")
            first_S = np.searchsorted(code_P[order_P], np.arange(len(number) + 1))
            rows_S = {name: order_P[first_S[code] : first_S[code + 1]] for name, code in number.items()}
            rows_S = {name: rows for name, rows in rows_S.items() if len(rows)}  # some have single responses only
            for name, rows in sorted(rows_S.items(), key=lambda item: item[1][0]):
                by_subset[name] = Agreement.of(verdict_P[rows], hash_P[rows])
        shorter_P = np.full(len(pair_N), np.nan)
        if shorter_N is not None:
            shorter_P = np.asarray(shorter_N, dtype=np.float64)[pair_N]
        known_P = ~np.isnan(shorter_P)
        return cls(
            overall=Agreement.of(verdict_P, hash_P),
            subsets=by_subset,
            rewardbench_2=RewardBench2.measure(responses, subsets=subsets, tolerance=tolerance, broken=broken),
            rm_bench=RMBench.measure(responses, tolerance=tolerance, broken=broken),
            baselines=tuple(Tally.of(each.margins(shorter_P[known_P]), tolerance=0.0) for each in BASELINES),
            baseline_keys=DistinctKeys.of(hash_P[known_P]),
            num_singles=len(margin_N) - len(pair_N),
            sum_margin=ExactSum.of(margin_P),
            sum_squared_margin=ExactSum.of_squares(margin_P),
            margins=MarginHistogram.of(margin_P, reach=reach),
            vetoes=None if broken is None else VetoCounts.of(broken),
            examples=None
            if pair_ids is None
            else Examples.of(margin_N, pair_ids=pair_ids, unit=unit, tolerance=tolerance, subsets=subsets),
        )

    def __add__(self, other: "RewardStatistics") -> "RewardStatistics":
        subsets = dict(self.subsets)
        for name, agreement in other.subsets.items():
            subsets[name] = subsets[name] + agreement if name in subsets else agreement
        return RewardStatistics(
            overall=self.overall + other.overall,
            subsets=subsets,
            rewardbench_2=self.rewardbench_2 + other.rewardbench_2,
            rm_bench=self.rm_bench + other.rm_bench,
            baselines=tuple(a + b for a, b in zip(self.baselines, other.baselines, strict=True)),
            baseline_keys=self.baseline_keys + other.baseline_keys,
            num_singles=self.num_singles + other.num_singles,
            sum_margin=self.sum_margin + other.sum_margin,
            sum_squared_margin=self.sum_squared_margin + other.sum_squared_margin,
            margins=self.margins + other.margins,
            vetoes=add_known(self.vetoes, other.vetoes),
            examples=add_known(self.examples, other.examples),
        )

    def metrics(self, *, entropy_accuracy: Correlation | None = None) -> dict[str, Any]:
        """The content of metrics.json; null for what the rows cannot tell."""
        num_margins = self.overall.tally.num_pairs - (self.vetoes.decided if self.vetoes else 0)
        margin = None
        if num_margins:
            margin = {
                "mean": mean(self.sum_margin, count=num_margins),
                "sd": standard_deviation(self.sum_margin, self.sum_squared_margin, count=num_margins),
                "histogram": self.margins.to_dict(),
            }
        sections = rewardbench({name: agreement.tally for name, agreement in self.subsets.items()})
        return {
            "schema_version": SCHEMA_VERSION,
            "overall": self.overall.to_dict(),
            "subsets": {name: agreement.to_dict() for name, agreement in sorted(self.subsets.items())},
            "rewardbench_safety": sections["safety"] if sections else None,
            "rewardbench": sections,
            "rewardbench_2": self.rewardbench_2.scores(),
            "rm_bench": self.rm_bench.scores(),
            "length_baselines": {
                baseline.name: Agreement(tally, self.baseline_keys).to_dict() if tally.num_pairs else None
                for baseline, tally in zip(BASELINES, self.baselines, strict=True)
            },
            "entropy_accuracy": entropy_accuracy.to_dict() if entropy_accuracy else None,
            "margin": margin,
            "num_singles": self.num_singles,
            **({"decided_by_veto": self.vetoes.to_dict()} if self.vetoes else {}),
            **({"examples": self.examples.to_dict()} if self.examples else {}),
        }
