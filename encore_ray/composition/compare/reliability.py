"""Intervals of what a comparison says of a corpus: what its figures would be in other corpora like it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.inference.agreement import Correlation, correlate
from encore_ray.composition.inference.disattenuation import NoiseFreeCorrelation, remove_noise
from encore_ray.composition.inference.entropy import entropies_without_each
from encore_ray.composition.inference.jackknife import jackknife_interval, without_each
from encore_ray.composition.weigh.evidence import kept_rules
from encore_ray.composition.weigh.formulas import encore
from encore_ray.composition.weigh.points import points_of, times_points
from encore_ray.composition.weigh.weighing import correlated_rules
from encore_ray.composition.weigh.weights import Weights

WEIGHT_ERROR_TARGET = 0.01  # relative half-width of a weight's 95 % interval
LEAST_WEIGHT = 1e-3  # a rule of less decides nothing, however far off its weight is


@dataclass(frozen=True)
class CorrelationWithoutNoise:
    """A correlation over rules as it was found, and its Pearson coefficient without the noise of the pairs."""

    found: Correlation
    noise_free: NoiseFreeCorrelation | None

    def to_dict(self) -> dict[str, Any]:
        interval = self.noise_free.interval if self.noise_free else None
        return self.found.to_dict() | {
            "pearson_noise_free": self.noise_free.value if self.noise_free else None,
            "pearson_low": interval.low if interval else None,
            "pearson_high": interval.high if interval else None,
        }


@dataclass(frozen=True)
class SampleSize:
    """Whether the corpus is large enough for its weights.

    Attributes:
        weight_error: half the 95 % interval of an ENCORE weight over the weight, the largest of all rules of weight
            .001 or more; None where all prompts are in one bucket.
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
class LeftOutRules:
    """Entropy and accuracy of each rule without each bucket of prompts that holds a response, [J, K]."""

    entropy_JK: NDArray[np.float64]
    accuracy_JK: NDArray[np.float64]

    @classmethod
    def of(cls, diagnostics: RuleDiagnostics, weights: Weights) -> "LeftOutRules":
        """The figures, estimated as those of the weights are; NaN where no other bucket has what they need."""
        counts_K, points = diagnostics.statistics.counts_K, diagnostics.points
        entropy_KJ = [
            entropies_without_each(counts.bucket_JL, log_base=weights.log_base, estimator=weights.estimator)
            for counts in counts_K
        ]
        filled_J = counts_K[0].bucket_JL.sum(axis=1) > 0  # by single responses, too
        points_JK = without_each(points.points_JK, filled_J)
        num_pairs_J = without_each(points.num_pairs_J, filled_J)
        accuracy_JK = np.full(points_JK.shape, np.nan)
        np.divide(points_JK, 2 * num_pairs_J[:, None], out=accuracy_JK, where=num_pairs_J[:, None] > 0)
        return cls(np.array(entropy_KJ).T, accuracy_JK)


def correlate_accuracy(
    weights: Weights, left_out: LeftOutRules, *, num_groups: int | None = None
) -> CorrelationWithoutNoise:
    """Entropy against accuracy over the `correlated_rules`: what ENCORE takes to be strongly negative.

    Args:
        num_groups: of rules that differ, by which the p-values go; None where it is not known.
    """
    used = correlated_rules(weights.rules)
    rules = [weights.rules[k] for k in used]
    over_rules = weights.entropy_accuracy if num_groups is None else weights.entropy_accuracy.among(num_groups)
    if over_rules.pearson is None:
        return CorrelationWithoutNoise(over_rules, None)
    noise_free = remove_noise(
        np.array([rule.entropy.value for rule in rules]),
        np.array([rule.accuracy for rule in rules], dtype=np.float64),
        without_x_JK=left_out.entropy_JK[:, used],
        without_y_JK=left_out.accuracy_JK[:, used],
    )
    return CorrelationWithoutNoise(over_rules, noise_free)


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
    diagnostics: RuleDiagnostics, weights: Weights, left_out: LeftOutRules, *, temperature: float
) -> SampleSize:
    """How far the ENCORE weights of the kept rules move from corpus to corpus."""
    kept = kept_rules(diagnostics.statistics, min_active=weights.min_active)
    points_K = points_of(weights.rules[k] for k in kept)

    def weigh(entropy_K: list[float]) -> NDArray[np.float64]:
        return times_points(encore(entropy_K, temperature=temperature), points_K)

    without_JK = np.array([weigh(row) for row in left_out.entropy_JK[:, kept].tolist()])
    weight_K = weigh([weights.rules[k].entropy.value for k in kept])
    errors = []
    for without_J, weight in zip(without_JK.T, weight_K.tolist(), strict=True):
        interval = jackknife_interval(weight, without_J)
        if interval is not None and weight >= LEAST_WEIGHT:
            errors.append((interval.high - interval.low) / 2 / weight)
    return SampleSize(temperature, diagnostics.statistics.num_pairs, max(errors, default=None))
