"""Exact (reproducible) summation of float64: no partial sum is rounded, so that no order matters.

Values are cut into pieces of few bits, the topmost bits of all values first. Pieces are whole multiples of one unit and
so small that any sum of them, or of their products, stays under 2^53 units: float64 adds them exactly, in any order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST_EXPONENT = -1074  # every finite float64 is a whole multiple of 2^-1074
_ONE = 1 << -SMALLEST_EXPONENT
SIGNIFICAND = 53
_BLAS_ROWS = 8192
_LARGEST = 2.0**998  # beyond, the constants that cut off pieces would overflow; scores end at 2^128


@dataclass(frozen=True)
class ExactSum:
    """A sum without rounding; `float` rounds it once, correctly.

    Attributes:
        numerator: the sum in units of 2^-1074.
    """

    numerator: int = 0

    @classmethod
    def of(cls, values_N: NDArray[np.float64]) -> "ExactSum":
        """The sum of float64 values of any number and order, of at most 2^998 each."""
        bits = SIGNIFICAND - 1 - len(values_N).bit_length()
        return cls(sum(_numerator(piece_N.sum()) for piece_N in pieces(values_N, bits)))

    @classmethod
    def of_squares(cls, values_N: NDArray[np.float64]) -> "ExactSum":
        """The sum of squares, none of them rounded: see `PowerSums`."""
        return PowerSums.of(values_N).squares

    def __add__(self, other: "ExactSum") -> "ExactSum":
        return ExactSum(self.numerator + other.numerator)

    def __float__(self) -> float:
        return self.numerator / _ONE


@dataclass(frozen=True)
class PowerSums:
    """The exact sums of values and of their squares."""

    total: ExactSum
    squares: ExactSum

    @classmethod
    def of(
        cls, values_N: NDArray[np.float64], count_N: NDArray[np.int64] | None = None, *, bound: float | None = None
    ) -> "PowerSums":
        """Sums of float64 values, each taken `count_N` >= 0 times; None: once.

        A square under 2^-1074 is rounded; there are none of values that are 0 or over 1e-146.

        Args:
            bound: no value is larger in magnitude; None: it is looked for. It changes no sum.
        """
        size = len(values_N) if count_N is None else int(count_N.sum())
        bits = (SIGNIFICAND - size.bit_length()) // 2
        total = squares = 0
        larger: list[NDArray[np.float64]] = []
        for piece_N in pieces(values_N, bits, bound=bound):
            counted_N = piece_N if count_N is None else piece_N * count_N
            total += _numerator(counted_N.sum())
            squares += _numerator(_dot(counted_N, piece_N))
            squares += sum(_numerator(2 * _dot(counted_N, larger_N)) for larger_N in larger)
            larger.append(piece_N)
        return cls(ExactSum(total), ExactSum(squares))


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


def pieces(
    values: NDArray[np.float64], bits: int, *, bound: float | NDArray[np.float64] | None = None
) -> Iterator[NDArray[np.float64]]:
    """Arrays that add up to the values; in each all numbers are multiples of one unit, and at most 2^bits units.

    Args:
        bound: no value is larger in magnitude; None: it is looked for. An array of bounds, one a row, gives each row
            units of its own. With e the exponent that frexp finds in a bound, the unit of the first piece is
            2^(e - bits), and that of each further one smaller by 2^(bits + 1).

    Source: the extraction of Rump, Ogita and Oishi, SIAM J. Sci. Comput. 2008, algorithm 3.2.
    """
    assert values.dtype == np.float64
    peak = bound if bound is not None else max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    largest, exponent = (peak.max(), np.frexp(peak)[1]) if isinstance(peak, np.ndarray) else (peak, math.frexp(peak)[1])
    assert largest <= _LARGEST, "exact sums are of finite values that are far from overflow"
    rest = values
    while True:
        # In the binade of this constant, float64 is spaced by the unit of the piece.
        anchor = 1.5 * 2.0 ** (exponent + (SIGNIFICAND - 1.0 - bits))
        piece = rest + anchor
        piece -= anchor
        yield piece
        if (piece == rest).all():
            return
        rest = rest - piece
        exponent -= bits + 1  # what is left is at most half a unit


def _dot(a_N: NDArray[np.float64], b_N: NDArray[np.float64]) -> float:
    """The sum of products that float64 adds exactly in any order; in slices for which no BLAS starts threads."""
    if len(a_N) <= _BLAS_ROWS:
        return float(a_N @ b_N)
    whole = len(a_N) - len(a_N) % _BLAS_ROWS
    dot_M = np.vecdot(a_N[:whole].reshape(-1, _BLAS_ROWS), b_N[:whole].reshape(-1, _BLAS_ROWS))
    return float(dot_M.sum()) + float(a_N[whole:] @ b_N[whole:])


def _numerator(value: float) -> int:
    """A finite float64 in units of 2^-1074."""
    numerator, denominator = float(value).as_integer_ratio()
    return numerator << (1 - SMALLEST_EXPONENT - denominator.bit_length())  # the denominator is a power of 2
