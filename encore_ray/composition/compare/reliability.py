"""Bootstrap intervals of what a comparison says of a corpus: what its figures would be in other corpora like it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.measure.agreement import Correlation, Interval, correlate
from encore_ray.composition.measure.bootstrap import percentile_interval
from encore_ray.composition.measure.entropy import entropy
from encore_ray.composition.weigh.evidence import kept_rules
from encore_ray.composition.weigh.formulas import encore
from encore_ray.composition.weigh.weights import Weights

WEIGHT_ERROR_TARGET = 0.01  # relative half-width of a weight's 95 % interval
LEAST_WEIGHT = 1e-3  # a rule of less decides nothing, however far off its weight is


@dataclass(frozen=True)
class IntervalCorrelation:
    """A correlation over rules, with the 95 % bootstrap intervals over pairs of its two coefficients."""

    found: Correlation
    pearson: Interval | None
    spearman: Interval | None

    def to_dict(self) -> dict[str, Any]:
        return self.found.to_dict() | {
            "pearson_low": self.pearson.low if self.pearson else None,
            "pearson_high": self.pearson.high if self.pearson else None,
            "spearman_low": self.spearman.low if self.spearman else None,
            "spearman_high": self.spearman.high if self.spearman else None,
        }


@dataclass(frozen=True)
class SampleSize:
    """Whether the corpus is large enough for its weights.

    Attributes:
        weight_error: half the 95 % bootstrap interval of an ENCORE weight over the weight, the largest of all rules
            of weight .001 or more; None where no replicate tells.
        needed_pairs: pairs at which it would be 1 %, as errors fall with the square root of the number.
    """

    temperature: float
    num_pairs: int
    weight_error: float | None

    @property
    def needed_pairs(self) -> int | None:
        if self.weight_error is None:
            return None
        return math.ceil(self.num_pairs * (self.weight_error / WEIGHT_ERROR_TARGET) ** 2)

    @property
    def enough(self) -> bool | None:
        return None if self.weight_error is None else self.weight_error <= WEIGHT_ERROR_TARGET

    def to_dict(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "weight_error": self.weight_error,
            "target": WEIGHT_ERROR_TARGET,
            "needed_pairs": self.needed_pairs,
            "enough": self.enough,
        }


@dataclass(frozen=True, eq=False)
class ReplicatedRules:
    """Entropy and accuracy of each rule in the replicates that have pairs, [R, K]."""

    entropy_RK: NDArray[np.float64]
    accuracy_RK: NDArray[np.float64]

    @classmethod
    def of(cls, diagnostics: RuleDiagnostics, weights: Weights) -> "ReplicatedRules":
        """The replicates' figures, estimated as those of the weights are."""
        replicates = diagnostics.replicates
        filled = np.flatnonzero(replicates.num_pairs_B)
        rows = [
            [entropy(count_BL[b], log_base=weights.log_base, estimator=weights.estimator) for b in filled]
            for count_BL in replicates.count_KBL
        ]
        accuracy_RK = replicates.points_BK[filled] / (2 * replicates.num_pairs_B[filled, None])
        return cls(np.array(rows).reshape(len(replicates.count_KBL), len(filled)).T, accuracy_RK)


def correlate_accuracy(weights: Weights, replicated: ReplicatedRules) -> IntervalCorrelation:
    """Entropy against accuracy over the rules whose entropy is above 0: what ENCORE takes to be strongly negative."""
    used = [k for k, rule in enumerate(weights.rules) if rule.entropy.value > 0 and rule.accuracy is not None]
    found = [
        correlate(entropy_K.tolist(), accuracy_K.tolist())
        for entropy_K, accuracy_K in zip(replicated.entropy_RK[:, used], replicated.accuracy_RK[:, used], strict=True)
    ]
    return IntervalCorrelation(
        weights.entropy_accuracy,
        percentile_interval([one.pearson for one in found if one.pearson is not None]),
        percentile_interval([one.spearman for one in found if one.spearman is not None]),
    )


def check_theory(
    weights: Weights, *, bradley_terry_K: Sequence[float] | None, deviation_K: Sequence[float]
) -> Correlation:
    """|Bradley-Terry weight x sd(d)| against entropy, over the rules with entropy above 0 and such a weight.

    Args:
        bradley_terry_K: fitted weights without constraint, NaN for rules that had none; None where not fitted.
        deviation_K: sd of each rule's difference, in composed units.

    Source: ENCORE, arXiv 2503.20995, whose argument is that fitted weights of high-entropy rules are small.
    """
    if bradley_terry_K is None:
        return correlate([], [])
    used = [k for k, rule in enumerate(weights.rules) if rule.entropy.value > 0 and not math.isnan(bradley_terry_K[k])]
    strengths = [abs(bradley_terry_K[k]) * deviation_K[k] for k in used]
    return correlate([weights.rules[k].entropy.value for k in used], strengths)


def estimate_sample_size(
    diagnostics: RuleDiagnostics, weights: Weights, replicated: ReplicatedRules, *, temperature: float
) -> SampleSize:
    """How far the ENCORE weights of the kept rules move from replicate to replicate."""
    kept = kept_rules(diagnostics.statistics, min_active=weights.min_active)
    drawn = [encore(row, temperature=temperature) for row in replicated.entropy_RK[:, kept].tolist()]
    weight_K = encore([weights.rules[k].entropy.value for k in kept], temperature=temperature)
    errors = []
    for column, weight in zip(np.array(drawn).reshape(-1, len(kept)).T, weight_K.tolist(), strict=True):
        interval = percentile_interval(column)
        if interval is not None and weight >= LEAST_WEIGHT:
            errors.append((interval.high - interval.low) / 2 / weight)
    return SampleSize(temperature, diagnostics.statistics.num_pairs, max(errors, default=None))
