"""Means and covariances by fixed-point sums: whole numbers that any order and sharding leave alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.sums.exact import ExactSum

_GRID_BITS = 17  # a step is 2^-17: rounding moves a standard deviation of .001 by 2.5 parts in a million
_LIMIT = 8.0  # values beyond count as this much
_ROWS = 4096  # (8 * 2^17)^2 * 2^12 = 2^52: every sum of products is exact in float64, whatever the order


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments; ``+`` is exact, associative and commutative.

    Attributes:
        count: number of values of each quantity.
        sum_K: Python integers, in units of 2^-17.
        product_KK: Python integers, in units of 2^-34.
    """

    count: int
    sum_K: NDArray[np.object_]
    product_KK: NDArray[np.object_]

    @classmethod
    def of(cls, value_KN: NDArray[np.float64]) -> "Moments":
        """Moments of finite values, rounded to 2^-17 and cut to -8 .. 8: meant for shares of a rule's range."""
        num_rules, count = value_KN.shape
        sum_K, product_KK = np.zeros(num_rules, dtype=object), np.zeros((num_rules, num_rules), dtype=object)
        for start in range(0, count, _ROWS):
            whole_KN = np.rint(np.clip(value_KN[:, start : start + _ROWS], -_LIMIT, _LIMIT) * 2.0**_GRID_BITS)
            sum_K += _integers(whole_KN.sum(axis=1))
            product_KK += _integers(whole_KN @ whole_KN.T)
        return cls(count, sum_K, product_KK)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.sum_K + other.sum_K, self.product_KK + other.product_KK)

    @cached_property
    def mean_K(self) -> NDArray[np.float64]:
        """Means, each rounded once; needs one value or more."""
        return (self.sum_K / (self.count << _GRID_BITS)).astype(np.float64)

    @cached_property
    def covariance_KK(self) -> NDArray[np.float64]:
        """Population covariances, each rounded once; needs one value or more."""
        spread_KK = self.count * self.product_KK - np.multiply.outer(self.sum_K, self.sum_K)
        return (spread_KK / (self.count << _GRID_BITS) ** 2).astype(np.float64)

    @cached_property
    def correlation_KK(self) -> NDArray[np.float64]:
        """Pearson correlations, NaN where a quantity is constant; needs one value or more."""
        variance_K = np.diag(self.covariance_KK)
        product_KK = np.multiply.outer(variance_K, variance_K)
        r_KK = np.full_like(product_KK, np.nan)
        varies_KK = np.logical_and.outer(variance_K > 0, variance_K > 0)
        np.divide(self.covariance_KK, np.sqrt(product_KK), out=r_KK, where=varies_KK)
        return np.clip(r_KK, -1.0, 1.0)

    def deviation(self, factor_K: Sequence[float] | NDArray[np.float64]) -> float:
        """Population standard deviation of the sum of the quantities, each times its factor."""
        factor_K = np.asarray(factor_K, dtype=np.float64)
        terms_KK = factor_K[:, None] * factor_K[None, :] * self.covariance_KK
        upper = np.concatenate([np.diag(terms_KK), 2 * terms_KK[np.triu_indices_from(terms_KK, 1)]])  # symmetric
        return math.sqrt(max(float(ExactSum.of(upper)), 0.0))


def _integers(values: NDArray[np.float64]) -> Any:
    return values.astype(np.int64).astype(object)
