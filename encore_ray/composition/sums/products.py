"""Exact sums of the products of every two of K quantities: the second moments that no order and no sharding changes."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.sums.exact import SIGNIFICAND, SMALLEST_EXPONENT, pieces

_UNIT_EXPONENT = 2 * SMALLEST_EXPONENT  # every product of two finite float64 is a whole multiple of this power of 2
_ROWS = 4096
_BLOCKS = 1024  # of so many rows, whose sums of less than 2^53 units int64 adds up
_BITS = (SIGNIFICAND - _ROWS.bit_length()) // 2  # of a piece: so many products of two pieces add up below 2^53 units


@dataclass(frozen=True)
class ProductSums:
    """Sums of products over some observations, none of them rounded; ``+`` is exact, associative and commutative.

    Attributes:
        count: number of observations.
        numerators: the sums in units of 2^-2148, of each j <= k, row by row.
    """

    count: int
    numerators: tuple[int, ...]

    @classmethod
    def of(cls, value_KN: NDArray[np.float64]) -> "ProductSums":
        """The sums over N observations of K quantities, finite and of at most 2^500 each.

        The sign of a whole observation changes nothing. A product under 2^-1074 is rounded; there are none of values
        that are 0 or over 1e-146.
        """
        num_rules, count = value_KN.shape
        total_KK = np.zeros((num_rules, num_rules), dtype=object)
        for start in range(0, count, _BLOCKS * _ROWS):
            total_KK += _products(value_KN[:, start : start + _BLOCKS * _ROWS])
        return cls.of_matrix(count, total_KK)

    @classmethod
    def of_matrix(cls, count: int, numerator_KK: NDArray[np.object_]) -> "ProductSums":
        """The sums of a symmetric matrix of numerators."""
        return cls(count, tuple(numerator_KK[np.triu_indices(len(numerator_KK))].tolist()))

    @property
    def numerator_KK(self) -> NDArray[np.object_]:
        """The numerators as a symmetric matrix of Python integers."""
        numerator_KK = np.zeros((self.num_rules, self.num_rules), dtype=object)
        upper = np.triu_indices(self.num_rules)
        numerator_KK[upper] = self.numerators
        numerator_KK.T[upper] = self.numerators
        return numerator_KK

    @cached_property
    def num_rules(self) -> int:
        """K."""
        return (math.isqrt(8 * len(self.numerators) + 1) - 1) // 2

    @cached_property
    def mean_KK(self) -> NDArray[np.float64]:
        """Mean products, each divided and rounded once, symmetric; needs one observation or more."""
        mean_KK = np.empty((self.num_rules, self.num_rules))
        upper = np.triu_indices(self.num_rules)
        mean_KK[upper] = [numerator / (self.count << -_UNIT_EXPONENT) for numerator in self.numerators]
        mean_KK.T[upper] = mean_KK[upper]
        return mean_KK

    def __add__(self, other: "ProductSums") -> "ProductSums":
        summed = tuple(a + b for a, b in zip(self.numerators, other.numerators, strict=True))
        return ProductSums(self.count + other.count, summed)


def _products(value_KN: NDArray[np.float64]) -> NDArray[np.object_]:
    """Sums of products over some million observations, Python integers [K, K] in units of 2^-2148.

    Each quantity is cut into pieces that are multiples of a unit of its own, so that one matrix product of all pieces
    of a few thousand observations is exact in float64, whatever the order in which it adds.
    """
    num_rules = len(value_KN)
    peak_K = np.maximum(value_KN.max(axis=1, initial=0.0), -value_KN.min(axis=1, initial=0.0))
    unit_K = np.frexp(peak_K)[1].astype(np.int64) - _BITS  # the exponent of the unit of each first piece
    unit_KK = unit_K[:, None] + unit_K
    step = _BITS + 1
    whole: dict[tuple[int, int], NDArray[np.int64]] = {}  # in units of the two pieces, 0 for the largest
    for start in range(0, value_KN.shape[1], _ROWS):
        piece_PKN = list(pieces(value_KN[:, start : start + _ROWS], _BITS, bound=peak_K[:, None]))
        stacked = np.concatenate(piece_PKN) if len(piece_PKN) > 1 else piece_PKN[0]
        product_PKPK = (stacked @ stacked.T).reshape(len(piece_PKN), num_rules, len(piece_PKN), num_rules)
        for p in range(len(piece_PKN)):
            for q in range(p, len(piece_PKN)):
                found_KK = np.ldexp(product_PKPK[p, :, q], (p + q) * step - unit_KK).astype(np.int64)
                whole[p, q] = whole[p, q] + found_KK if (p, q) in whole else found_KK
    depth = max((p + q for p, q in whole), default=0)
    total_KK = np.zeros((num_rules, num_rules), dtype=object)
    for (p, q), whole_KK in whole.items():
        both_KK = whole_KK.astype(object) if p == q else whole_KK.astype(object) + whole_KK.T.astype(object)
        total_KK += both_KK << (depth - p - q) * step
    shift_KK = unit_KK - depth * step - _UNIT_EXPONENT
    # Below 2^-2148 there is nothing: what is shifted out is 0.
    return total_KK << np.maximum(shift_KK, 0).astype(object) >> np.maximum(-shift_KK, 0).astype(object)
