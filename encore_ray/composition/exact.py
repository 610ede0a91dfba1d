"""Sums of float64 that do not depend on order: every partial sum is kept without rounding."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMALLEST_EXPONENT = -1074  # every finite float64 is a whole multiple of 2^-1074
_ONE = 1 << -_SMALLEST_EXPONENT
_CHUNK = 1 << 25  # at most so many 27-bit halves sum below 2^53, exact in bincount's float64 weights
_VELTKAMP = 2.0**27 + 1


@dataclass(frozen=True)
class ExactSum:
    """A sum without rounding; `float` rounds it once, correctly.

    Attributes:
        numerator: the sum in units of 2^-1074.
    """

    numerator: int = 0

    @classmethod
    def of(cls, values_N: NDArray[np.float64]) -> "ExactSum":
        """The sum of finite float64 values of any number and order."""
        assert values_N.dtype == np.float64
        assert np.isfinite(values_N).all()
        numerator = 0
        for start in range(0, len(values_N), _CHUNK):
            numerator += _numerator(values_N[start : start + _CHUNK])
        return cls(numerator)

    @classmethod
    def of_squares(cls, values_N: NDArray[np.float64]) -> "ExactSum":
        """The sum of squares, each square kept whole as its float64 and the rounding error (Dekker's product)."""
        square_N = values_N * values_N
        carried_N = _VELTKAMP * values_N
        high_N = carried_N - (carried_N - values_N)
        low_N = values_N - high_N
        error_N = ((high_N * high_N - square_N) + 2 * high_N * low_N) + low_N * low_N
        return cls.of(square_N) + cls.of(error_N)

    def __add__(self, other: "ExactSum") -> "ExactSum":
        return ExactSum(self.numerator + other.numerator)

    def __float__(self) -> float:
        return self.numerator / _ONE


def variance(total: ExactSum, squares: ExactSum, *, count: int) -> float:
    """Population variance from the exact sums of `count` >= 1 values and of their squares; constant values give 0."""
    spread = count * squares.numerator * _ONE - total.numerator**2
    # Under 1e-146 a square underflows; everywhere else the difference is exact and never below 0.
    return max(spread, 0) / (count * _ONE) ** 2


def mean(total: ExactSum, *, count: int) -> float:
    """The sum over `count` >= 1 values, divided and rounded once."""
    return total.numerator / (count * _ONE)


def standard_deviation(total: ExactSum, squares: ExactSum, *, count: int) -> float:
    """Square root of the population `variance`."""
    return math.sqrt(variance(total, squares, count=count))


def _numerator(values_N: NDArray[np.float64]) -> int:
    exponent_N = np.maximum(np.frexp(values_N)[1] - 53, _SMALLEST_EXPONENT)
    mantissa_N = np.ldexp(values_N, -exponent_N)  # whole numbers under 2^53
    high_N = np.floor(mantissa_N * 2.0**-26)
    low_N = mantissa_N - high_N * 2.0**26
    first = int(exponent_N.min())
    high_E = np.bincount(exponent_N - first, weights=high_N)
    low_E = np.bincount(exponent_N - first, weights=low_N)
    numerator = 0
    for offset in np.flatnonzero((high_E != 0) | (low_E != 0)).tolist():
        mantissa = (int(high_E[offset]) << 26) + int(low_E[offset])
        numerator += mantissa << (first + offset - _SMALLEST_EXPONENT)
    return numerator
