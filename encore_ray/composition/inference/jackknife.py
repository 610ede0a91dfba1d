"""Intervals over prompts, by a jackknife over buckets of prompts whose sums merge exactly.

The hash of a resampling key puts it, with all rows that share it, into one of 512 buckets. Sums by bucket are added up
as any others, whatever the sharding, and cost a pass one scatter. At the end a figure is computed without each bucket
in turn: how far it moves says how far it would move from corpus to corpus. Buckets are filled at random, so they are as
independent as prompts are; where prompts are few, nearly each has one of its own.

Percentiles of a few hundred bootstrap replicates cost a product with as many draws, their ends are noise, and they hold
the truth somewhat less often: see `benchmarks/coverage.py`.

Source: delete-a-group jackknife with Student's t, Kott, Journal of Official Statistics 17, 2001.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference.agreement import Interval

Number = TypeVar("Number", np.int64, np.float64)

NUM_BUCKETS = 512  # widths are then within a tenth of those by prompt in 99 % of planted corpora
_SHIFT = np.uint64(64 - 9)  # 512 = 2^9


def buckets_of(hash_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The bucket of each row, 0 to 511, given the 64-bit hash of its resampling key."""
    return (hash_N >> _SHIFT).astype(np.int64)


def sum_buckets(bucket_N: NDArray[np.int64], value_NC: NDArray[Number]) -> NDArray[Number]:
    """Sums of the rows of each bucket, [J, ...] for values [N, ...], in the type of the values."""
    sum_JC = np.zeros((NUM_BUCKETS, *value_NC.shape[1:]), dtype=value_NC.dtype)
    order_N = np.argsort(bucket_N, kind="stable")
    filled_J, start_J = np.unique(bucket_N[order_N], return_index=True)
    if len(filled_J):
        sum_JC[filled_J] = np.add.reduceat(value_NC[order_N], start_J, axis=0, dtype=value_NC.dtype)
    return sum_JC


def without_each(
    sum_JC: NDArray[np.integer] | NDArray[np.floating], filled_J: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The sums of all rows but those of one bucket, for each bucket that holds any, in float64."""
    return (sum_JC.sum(axis=0) - sum_JC[filled_J]).astype(np.float64)


def jackknife_bias(value: float, without_J: Sequence[float] | NDArray[np.float64]) -> float:
    """How far a figure lies off on average, as those without one bucket tell."""
    return (len(without_J) - 1) * (math.fsum(without_J) / len(without_J) - value)


def jackknife_error(without_J: Sequence[float] | NDArray[np.float64]) -> float:
    """The standard error of a figure, given the figure without each of J buckets, two or more."""
    mean = math.fsum(without_J) / len(without_J)
    return math.sqrt(math.fsum((each - mean) ** 2 for each in without_J) * (len(without_J) - 1) / len(without_J))


def student_quantile(num_buckets: int) -> float:
    """The .975 quantile of Student's t with one degree of freedom less than buckets, two or more."""
    from scipy.special import stdtrit

    return float(stdtrit(num_buckets - 1, 0.975))


def jackknife_interval(
    value: float,
    without_J: Sequence[float] | NDArray[np.float64],
    *,
    low: float = -math.inf,
    high: float = math.inf,
    unbiased: bool = False,
) -> Interval | None:
    """The 95 % interval of a figure; None with under two buckets, or where a figure is not a number.

    Args:
        value: of all rows.
        without_J: without the rows of each bucket that holds any.
        low, high: ends of what the figure can be.
        unbiased: around the figure less its bias, for one whose bias counts beside its error; yet with the figure in.
    """
    without = [float(each) for each in without_J]
    if len(without) < 2 or not all(map(math.isfinite, (value, *without))):
        return None
    centre = value - jackknife_bias(value, without) if unbiased else value
    half_width = student_quantile(len(without)) * jackknife_error(without)
    return Interval(max(min(centre - half_width, value), low), min(max(centre + half_width, value), high))
