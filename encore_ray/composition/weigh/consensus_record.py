"""What a weighing has to say of the consensus of its rules, as stored in weights.json and comparison.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encore_ray.composition.consensus.consensus import Consensus
from encore_ray.composition.consensus.left_out import correlate_loading
from encore_ray.composition.consensus.one_factor import LARGEST
from encore_ray.composition.consensus.verdict import name_label_free_world, why_not_trusted, write_label_free_verdict
from encore_ray.composition.inference.agreement import Correlation, Interval, correlate
from encore_ray.composition.inference.disattenuation import NoiseFreeCorrelation
from encore_ray.composition.inference.entropy import Estimator, LogBase
from encore_ray.composition.measure.statistics import RuleStatistics


@dataclass(frozen=True)
class ConsensusRecord:
    """The consensus of the kept rules, by names.

    Attributes:
        num_pairs: pairs of responses that tell it: of a prompt's two, or of every two singles where there is no pair.
        explained, trusted: see `Consensus`.
        groups: near-duplicates, every rule that varies in one; in rule order.
        loadings: of each rule of the weighing; None for one that never varies, or was dropped.
        clipped: rules whose loading is the largest that is allowed.
        entropy_loading: over the rules with entropy above 0: without a label, what r(entropy, accuracy) is with labels.
        noise_free: its Pearson coefficient without the noise of the pairs; None where that was not measured.
    """

    num_pairs: int
    explained: float | None
    trusted: bool
    groups: tuple[tuple[str, ...], ...]
    loadings: dict[str, float | None]
    clipped: tuple[str, ...]
    entropy_loading: Correlation
    noise_free: NoiseFreeCorrelation | None = None

    @classmethod
    def of(
        cls,
        consensus: Consensus,
        *,
        statistics: RuleStatistics,
        kept: Sequence[int],
        entropy_K: Sequence[float],
        log_base: LogBase,
        estimator: Estimator,
    ) -> "ConsensusRecord":
        """The record of a consensus.

        Args:
            statistics: of the corpus; where they have buckets, the interval is told.
            kept: numbers of the rules that the consensus is of.
            entropy_K: of all rules, so estimated.
        """
        names = [counts.rule.name for counts in statistics.counts_K]
        loadings: dict[str, float | None] = dict.fromkeys(names)
        loadings |= {
            names[k]: None if math.isnan(loading) else loading
            for k, loading in zip(kept, consensus.loading_K, strict=True)
        }
        used = [k for k, name in enumerate(names) if loadings[name] is not None and entropy_K[k] > 0]
        entropy_loading = correlate([entropy_K[k] for k in used], [loadings[names[k]] or 0.0 for k in used])
        entropy_loading = entropy_loading.among(len(consensus.groups))
        noise_free = None
        if statistics.buckets is not None and entropy_loading.pearson is not None:
            noise_free = correlate_loading(
                np.array(entropy_K),
                np.array([loadings[name] or 0.0 for name in names]),
                count_KJL=[counts.bucket_JL for counts in statistics.counts_K],
                product_GKK=statistics.buckets.product_GKK,
                polarity_K=[counts.rule.polarity for counts in statistics.counts_K],
                groups=[[kept[k] for k in group] for group in consensus.groups],
                used=used,
                log_base=log_base,
                estimator=estimator,
            )
        return cls(
            num_pairs=consensus.num_pairs,
            explained=consensus.explained,
            trusted=consensus.trusted,
            groups=tuple(tuple(names[kept[k]] for k in group) for group in consensus.groups),
            loadings=loadings,
            clipped=tuple(names[k] for k, clipped in zip(kept, consensus.clipped_K, strict=True) if clipped),
            entropy_loading=entropy_loading,
            noise_free=noise_free,
        )

    def weighs(self, *, forced: bool) -> bool:
        """Whether weights by consensus are others than equal ones: only then loadings and groups decide anything."""
        return self.trusted or forced

    @property
    def near_duplicates(self) -> tuple[tuple[str, ...], ...]:
        """The groups of two rules or more."""
        return tuple(group for group in self.groups if len(group) > 1)

    @property
    def opposed(self) -> tuple[str, ...]:
        """The rules that go against what all have in common."""
        return tuple(name for name, loading in self.loadings.items() if loading is not None and loading < 0)

    def warnings(self, *, forced: bool, with_points: bool = False) -> list[str]:
        """What a reader of weights by consensus should know, in sentences.

        Args:
            forced: the weights count whatever the fit says.
            with_points: rules have points, which the weights are multiplied by.
        """
        warnings: list[str] = []
        if not self.trusted:
            taken = (
                "Consensus weights were forced all the same, and may do harm."
                if forced
                else f"All rules that vary weigh alike{', but for their points' if with_points else ''}: consensus "
                "weights are not trusted here."
            )
            why = why_not_trusted(self.to_dict())
            warnings.append(f"{why[0].upper()}{why[1:]}. {taken}")
        elif forced:
            warnings.append("Consensus weights were forced; here they are trusted without that.")
        if not self.weighs(forced=forced):
            return warnings
        if self.near_duplicates:
            named = "; ".join(" and ".join(group) for group in self.near_duplicates)
            warnings.append(f"Rules that say nearly the same share the weight of one: {named}.")
        if self.opposed:
            named = ", ".join(f"{name} ({self.loadings[name]:+.2f})" for name in self.opposed)
            warnings.append(
                "A rule whose loading is below 0 disagrees with the others, and gets no weight from consensus: "
                f"{named}. Check its `higher_is` where the loading is far from 0; none was flipped."
            )
        if self.clipped:
            warnings.append(
                f"A loading of {LARGEST:g} is the largest that is allowed, and {', '.join(self.clipped)} reached it: "
                "the weight says less than it seems."
            )
        return warnings

    def to_dict(self) -> dict[str, Any]:
        """The ``consensus`` object of weights.json and, with more in it, of comparison.json."""
        entropy_loading = self.entropy_loading.to_dict()
        if self.noise_free is not None:
            interval = self.noise_free.interval
            entropy_loading |= {
                "pearson_noise_free": self.noise_free.value,
                "pearson_low": interval.low,
                "pearson_high": interval.high,
            }
        content: dict[str, Any] = {
            "num_pairs": self.num_pairs,
            "explained": self.explained,
            "trusted": self.trusted,
            "num_groups": len(self.groups),
            "groups": [list(group) for group in self.groups],
            "loadings": self.loadings,
            "clipped": list(self.clipped),
            "entropy_loading": entropy_loading,
        }
        return content | {"world": name_label_free_world(content), "verdict": write_label_free_verdict(content)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ConsensusRecord":
        """Inverse of `to_dict`; KeyError or TypeError on anything else."""
        entropy_loading = dict(value["entropy_loading"])
        found, low, high = (entropy_loading.pop(f"pearson_{key}", None) for key in ("noise_free", "low", "high"))
        return cls(
            num_pairs=value["num_pairs"],
            explained=value["explained"],
            trusted=value["trusted"],
            groups=tuple(map(tuple, value["groups"])),
            loadings=dict(value["loadings"]),
            clipped=tuple(value["clipped"]),
            entropy_loading=Correlation(**entropy_loading),
            noise_free=NoiseFreeCorrelation(found, Interval(low, high)) if low is not None else None,
        )
