"""Pairwise accuracy: wins, ties and losses against the labels, Wilson intervals, Pearson and Spearman correlations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z_95 = 1.959963984540054  # the 0.975 quantile of the normal distribution


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Tally:
    """Pairs whose chosen response got the higher (win), the same (tie) or the lower reward (loss)."""

    wins: int = 0
    ties: int = 0
    losses: int = 0

    @classmethod
    def of(cls, margin_N: NDArray[np.float64], *, tolerance: float) -> "Tally":
        """Count pairs by their margin, chosen minus rejected.

        Args:
            margin_N: float64, finite.
            tolerance: a margin of at most so much, either way, is a tie; >= 0, in reward units.
        """
        assert np.isfinite(margin_N).all(), "a margin that is not finite is neither a win nor a loss"
        wins, losses = int((margin_N > tolerance).sum()), int((margin_N < -tolerance).sum())
        return cls(wins, len(margin_N) - wins - losses, losses)

    @classmethod
    def of_verdicts(cls, verdict_N: NDArray[np.int8]) -> "Tally":
        """Count pairs by which response is better: 1 the chosen one, -1 the rejected one, 0 neither."""
        wins, losses = int((verdict_N > 0).sum()), int((verdict_N < 0).sum())
        return cls(wins, len(verdict_N) - wins - losses, losses)

    @property
    def num_pairs(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def accuracy(self) -> float | None:
        """Share of wins, a tie counting as half; None without pairs."""
        return (self.wins + self.ties / 2) / self.num_pairs if self.num_pairs else None

    @property
    def accuracy_strict(self) -> float | None:
        """Share of wins, a tie counting as a loss; None without pairs."""
        return self.wins / self.num_pairs if self.num_pairs else None

    @property
    def mirrored(self) -> "Tally":
        """The tally of the opposite reward."""
        return Tally(self.losses, self.ties, self.wins)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.wins + other.wins, self.ties + other.ties, self.losses + other.losses)

    def interval(self, *, num_keys: int, z: float = Z_95) -> Interval | None:
        """Wilson interval of the accuracy (a tie is half a win); None without pairs.

        Args:
            num_keys: number of independent observations: distinct prompts, not pairs. An estimated number may exceed
                the number of pairs and is cut to it.
            z: normal quantile; 1.96 for 95 %.

        Source: Wilson, JASA 1927.
        """
        if self.accuracy is None:
            return None
        n = min(num_keys, self.num_pairs)
        centre = (self.accuracy + z * z / (2 * n)) / (1 + z * z / n)
        spread = math.sqrt(self.accuracy * (1 - self.accuracy) / n + z * z / (4 * n * n))
        half_width = z * spread / (1 + z * z / n)
        return Interval(max(centre - half_width, 0.0), min(centre + half_width, 1.0))

    def to_dict(self, *, num_keys: int) -> dict[str, Any]:
        """The statistics object of metrics.json; null for what no pair tells."""
        interval = self.interval(num_keys=num_keys)
        return {
            "num_pairs": self.num_pairs,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "accuracy": self.accuracy,
            "accuracy_strict": self.accuracy_strict,
            "accuracy_low": interval.low if interval else None,
            "accuracy_high": interval.high if interval else None,
        }


@dataclass(frozen=True)
class Correlation:
    """Pearson and Spearman correlation with two-sided p-values; None with under 3 points or where one side is constant.

    Attributes:
        pearson_p, spearman_p: None, too, where under 3 of the points differ.
        num_rules: number of points.
    """

    pearson: float | None
    pearson_p: float | None
    spearman: float | None
    spearman_p: float | None
    num_rules: int

    def to_dict(self) -> dict[str, Any]:
        """The ``entropy_accuracy`` object of weights.json and metrics.json."""
        return {
            "pearson": self.pearson,
            "pearson_p": self.pearson_p,
            "spearman": self.spearman,
            "spearman_p": self.spearman_p,
            "num_rules": self.num_rules,
        }

    def among(self, num_different: int) -> "Correlation":
        """With the p-values of so many points that differ: near-duplicates of a rule say nothing of their own."""
        num_points = min(num_different, self.num_rules)
        p, spearman_p = _p_value(self.pearson, num_points), _rank_p_value(self.spearman, num_points)
        return replace(self, pearson_p=p, spearman_p=spearman_p)


def correlate(x_K: Sequence[float], y_K: Sequence[float]) -> Correlation:
    """Correlation of two sequences of K finite numbers."""
    pearson = _pearson(x_K, y_K)
    spearman = _pearson(_ranks(x_K), _ranks(y_K))
    p, spearman_p = _p_value(pearson, len(x_K)), _rank_p_value(spearman, len(x_K))
    return Correlation(pearson, p, spearman, spearman_p, len(x_K))


def _pearson(x_K: Sequence[float], y_K: Sequence[float]) -> float | None:
    if len(x_K) < 3:
        return None
    x_mean, y_mean = math.fsum(x_K) / len(x_K), math.fsum(y_K) / len(y_K)
    x_K, y_K = [x - x_mean for x in x_K], [y - y_mean for y in y_K]
    x_norm, y_norm = math.hypot(*x_K), math.hypot(*y_K)
    # Equal numbers may miss their own mean by a rounding: below that, there is no variance to correlate.
    if x_norm <= 1e-13 * abs(x_mean) or y_norm <= 1e-13 * abs(y_mean):
        return None
    r = math.fsum(x * y for x, y in zip(x_K, y_K, strict=True)) / (x_norm * y_norm)
    return min(max(r, -1.0), 1.0)


def _p_value(r: float | None, n: int) -> float | None:
    """Two-sided p of a correlation, from Student's t with n - 2 degrees of freedom; None of under 3 points."""
    if r is None or n < 3:
        return None
    from scipy.special import betainc

    return float(betainc((n - 2) / 2, 0.5, 1 - r * r))


def _rank_p_value(r: float | None, n: int) -> float | None:
    """The same of ranks, of which so few points have few orders: no p is smaller than that of the two extreme ones."""
    p = _p_value(r, n)
    return None if p is None else max(p, 2 / math.factorial(n))


def _ranks(x_K: ArrayLike) -> list[float]:
    """Ranks from 1; equal values share their mean rank."""
    _, group_K, size_G = np.unique(np.asarray(x_K, dtype=np.float64), return_inverse=True, return_counts=True)
    last_G = np.cumsum(size_G)
    return (last_G - (size_G - 1) / 2)[group_K].tolist()
