"""Points: what a user has said beforehand of how much each rule counts, as a factor on the weights of a scheme."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.weigh.formulas import normalise
from encore_ray.composition.weigh.scheme import Evidence, Scheme


class MayHavePoints(Protocol):
    """A rule, weighed or not."""

    @property
    def points(self) -> float | None: ...


def points_of(rules: Iterable[MayHavePoints]) -> tuple[float, ...] | None:
    """Points of each of K rules, 1 of those that have none; None where no rule has any."""
    points_K = [rule.points for rule in rules]
    if all(points is None for points in points_K):
        return None
    return tuple(1.0 if points is None else points for points in points_K)


def takes_points(scheme: type[Scheme] | Scheme) -> bool:
    """Whether points change the scheme's weights: what is learned from labels is no prior's to change."""
    return scheme.lesson is None


def weigh_rules(scheme: Scheme, evidence: Evidence) -> NDArray[np.float64]:
    """The scheme's weights [K], `times_points` where it takes them."""
    weight_K = scheme.weigh(evidence)
    return times_points(weight_K, evidence.points_K) if takes_points(scheme) else weight_K


def times_points(weight_K: NDArray[np.float64], points_K: Sequence[float] | None) -> NDArray[np.float64]:
    """Weights >= 0, not all 0, each times its rule's points > 0, divided by their sum.

    Without points, or with the same points for all rules that have a weight, they stay as they are to the last bit.
    """
    weighed = np.flatnonzero(weight_K)
    points_W = np.ones(len(weighed)) if points_K is None else np.asarray(points_K, dtype=np.float64)[weighed]
    if np.all(points_W == points_W[0]):
        return weight_K
    # Over the most points, whose rule's weight stays: nothing overflows, and not all vanish.
    counted_K = np.zeros_like(weight_K)
    counted_K[weighed] = normalise((weight_K[weighed] * (points_W / points_W.max())).tolist())
    return counted_K
