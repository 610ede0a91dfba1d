"""Shannon entropy of a rule's rating histogram (plug-in or Miller-Madow), with its delta-method interval."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LogBase = Literal["e", "2"]
Estimator = Literal["plugin", "miller_madow"]

Z_95 = 1.959963984540054  # the 0.975 quantile of the normal distribution


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
    occupied = [int(count) for count in count_L if count]
    n = sum(occupied)
    assert n > 0, "an empty histogram has no entropy"
    if len(occupied) == 1:
        return 0.0
    nats = math.log(n) - math.fsum(count * math.log(count) for count in occupied) / n
    if estimator == "miller_madow":
        nats += (len(occupied) - 1) / (2 * n)
    return _from_nats(max(nats, 0.0), log_base)


def max_entropy(num_cells: int, *, log_base: LogBase = "e") -> float:
    """log(cells): the entropy when every cell is equally full."""
    return _from_nats(math.log(num_cells), log_base)


def estimate_entropy(
    joint_LL: NDArray[np.int64],
    single_L: NDArray[np.int64],
    *,
    log_base: LogBase = "e",
    estimator: Estimator = "plugin",
) -> Entropy:
    """Entropy of chosen and rejected pooled, with a 95 % delta-method interval.

    The two responses of a pair are not independent, so the variance sums over pairs, not over responses: with
    e = -log p(cell) - H, it is the sum over pairs of (e_chosen + e_rejected)^2, plus e^2 of each single response,
    over the squared number of responses.

    Args:
        joint_LL: number of pairs with the chosen response in cell i (row) and the rejected in cell j (column).
        single_L: number of single responses a cell.
    """
    count_L = joint_LL.sum(axis=1) + joint_LL.sum(axis=0) + single_L
    n = int(count_L.sum())
    plugin = entropy(count_L)
    surprise = [math.log(n) - math.log(int(count)) - plugin if count else 0.0 for count in count_L]
    terms = [int(joint_LL[i, j]) * (surprise[i] + surprise[j]) ** 2 for i, j in zip(*np.nonzero(joint_LL), strict=True)]
    terms += [int(single_L[i]) * surprise[i] ** 2 for i in np.flatnonzero(single_L)]
    half_width = _from_nats(Z_95 * math.sqrt(math.fsum(terms)) / n, log_base)
    value = entropy(count_L, log_base=log_base, estimator=estimator)
    ceiling = max(max_entropy(len(count_L), log_base=log_base), value)
    return Entropy(value, max(value - half_width, 0.0), min(value + half_width, ceiling))


def _from_nats(nats: float, log_base: LogBase) -> float:
    return nats if log_base == "e" else nats / math.log(2)
