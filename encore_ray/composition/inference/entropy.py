"""Shannon entropy of a rule's rating histogram (plug-in or Miller-Madow), with its interval over prompts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference.jackknife import jackknife_interval

LogBase = Literal["e", "2"]
Estimator = Literal["plugin", "miller_madow"]


@dataclass(frozen=True)
class Entropy:
    """An entropy with the ends of its 95 % interval, all in [0, log(cells)] and in the unit of its log base."""

    value: float
    low: float
    high: float


def entropy(count_L: NDArray[np.int64], *, log_base: LogBase = "e", estimator: Estimator = "plugin") -> float:
    """Entropy of a histogram.

    Args:
        count_L: counts of L cells, >= 0, not all 0. Empty cells add nothing (0 log 0 = 0); one cell alone gives 0.
        log_base: "e" for nats, "2" for bits.
        estimator: "plugin", log n - sum(c log c) / n, or "miller_madow", which adds (occupied cells - 1) / 2n.

    Source: ENCORE, arXiv 2503.20995 (plug-in, natural log); Miller 1955 for the correction.
    """
    return _of_counts(count_L.tolist(), log_base=log_base, estimator=estimator)


def max_entropy(num_cells: int, *, log_base: LogBase = "e") -> float:
    """log(cells): the entropy when every cell is equally full."""
    return _from_nats(math.log(num_cells), log_base)


def estimate_entropy(
    count_JL: NDArray[np.int64], *, log_base: LogBase = "e", estimator: Estimator = "plugin"
) -> Entropy:
    """Entropy of a histogram, with its 95 % interval over prompts.

    Responses of one prompt, of one pair above all, are not independent: the jackknife leaves out prompts by the bucket.
    The interval is around the entropy less its bias, as few prompts of many responses leave cells emptier than they
    are. Responses of one bucket alone tell nothing of others: the interval is all that an entropy can be.

    Args:
        count_JL: int64, the responses a cell of each bucket of prompts, not all 0.
    """
    count_L = count_JL.sum(axis=0)
    value = entropy(count_L, log_base=log_base, estimator=estimator)
    ceiling = max(max_entropy(len(count_L), log_base=log_base), value)
    without_J = entropies_without_each(count_JL, log_base=log_base, estimator=estimator)
    interval = jackknife_interval(value, without_J, low=0.0, high=ceiling, unbiased=True)
    return Entropy(value, interval.low, interval.high) if interval else Entropy(value, 0.0, ceiling)


def entropies_without_each(
    count_JL: NDArray[np.int64], *, log_base: LogBase = "e", estimator: Estimator = "plugin"
) -> list[float]:
    """The entropy without each bucket that holds a response; NaN where no other does."""
    rest_JL = count_JL.sum(axis=0) - count_JL[count_JL.any(axis=1)]
    if len(rest_JL) == 1:
        return [math.nan]
    return [_of_counts(count_L, log_base=log_base, estimator=estimator) for count_L in rest_JL.tolist()]


def _of_counts(counts: Sequence[int], *, log_base: LogBase, estimator: Estimator) -> float:
    occupied = [count for count in counts if count]
    n = sum(occupied)
    assert n > 0, "an empty histogram has no entropy"
    if len(occupied) == 1:
        return 0.0
    nats = math.log(n) - math.fsum([count * math.log(count) for count in occupied]) / n
    if estimator == "miller_madow":
        nats += (len(occupied) - 1) / (2 * n)
    return _from_nats(max(nats, 0.0), log_base)


def _from_nats(nats: float, log_base: LogBase) -> float:
    return nats if log_base == "e" else nats / math.log(2)
