"""What a correlation over rules is without the noise of the pairs that it was measured on, with its interval.

Entropies and accuracies of K rules are estimates from the same pairs. Their noise adds to what the rules differ by and
pulls r towards 0; a bootstrap adds it once more, so that its percentiles leave the truth out most of the time. Here a
test is inverted instead. For each r that may be true, rules are put where they would be, as far apart as the estimates
are less their noise, with just this r. Noise as that of the estimates is added to them in a thousand replicates. An r
is in the 95 % interval unless the r of the estimates is among the lowest or the highest 2.5 % of what comes out.

This interval is over prompts: r of these K rules on endless pairs like these. The p of `correlate` is over rules: how
often K rules drawn from many in which entropy and accuracy go their own ways would show as large an r.

Source: errors in variables, Fuller, Measurement Error Models, 1987; intervals by inverting bootstrap tests, Carpenter,
JRSS B 61, 1999.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.splitmix import mix
from encore_ray.composition.inference.agreement import Z_95, Interval
from encore_ray.composition.inference.jackknife import student_quantile
from encore_ray.composition.inference.poisson import draw_replicates

NUM_REPLICATES = 1000
_TAIL = 0.025
# The correlations that are tried: close to each other where r is close to 1, which is where it moves least.
_TRIED = np.concatenate([[-1.0], np.tanh(np.linspace(-5, 5, 4095)), [1.0]])


@dataclass(frozen=True)
class NoiseFreeCorrelation:
    """A Pearson correlation without the noise of its estimates.

    Attributes:
        value: the r of which the estimates' r is the median; None where the rules differ by no more than noise.
        interval: 95 %, over prompts; from -1 to 1 where the rules differ by no more than noise.
    """

    value: float | None
    interval: Interval


def remove_noise(
    x_K: NDArray[np.float64],
    y_K: NDArray[np.float64],
    *,
    without_x_JK: NDArray[np.float64],
    without_y_JK: NDArray[np.float64],
) -> NoiseFreeCorrelation | None:
    """The correlation of what two estimates of each of K rules are estimates of.

    Args:
        x_K, y_K: the estimates; K >= 3.
        without_x_JK, without_y_JK: the same without each of J buckets of prompts, see
            `encore_ray.composition.inference.jackknife`.

    Returns:
        None with under two buckets, where an estimate is not a number, or where either is the same for all rules.
    """
    x, y = _Estimates.of(x_K, without_x_JK), _Estimates.of(y_K, without_y_JK)
    if x is None or y is None or not _varies(x_K) or not _varies(y_K):
        return None
    if x.signal <= 0 or y.signal <= 0:
        return NoiseFreeCorrelation(None, Interval(-1.0, 1.0))
    share_below = _share_below(x, y, _correlation(_centred(x_K), _centred(y_K)))
    low = _first(lambda r: share_below(r) <= 1 - _TAIL)
    value = _first(lambda r: share_below(r) <= 0.5)
    high = _first(lambda r: share_below(r) < _TAIL)
    last = len(_TRIED) - 1
    ends = _TRIED[min(low, last)], _TRIED[max(high - 1, 0)]
    return NoiseFreeCorrelation(float(_TRIED[min(value, last)]), Interval(float(min(ends)), float(max(ends))))


@dataclass(frozen=True, eq=False)
class _Estimates:
    """Estimates of K rules around their mean over rules, less their bias.

    Attributes:
        value_K: the estimates. noise_BK: of each replicate, bias included.
        signal: sum of squares that is not noise.
    """

    value_K: NDArray[np.float64]
    noise_BK: NDArray[np.float64]
    signal: float

    @classmethod
    def of(cls, value_K: NDArray[np.float64], without_JK: NDArray[np.float64]) -> "_Estimates | None":
        num_buckets = len(without_JK)
        if num_buckets < 2 or not np.isfinite(without_JK).all():
            return None
        mean_K = without_JK.mean(axis=0)
        bias_K = _centred((num_buckets - 1) * (mean_K - value_K))
        # Replicates vary as the jackknife says, and wider where few buckets say it.
        width = student_quantile(num_buckets) / Z_95 * np.sqrt((num_buckets - 1) / num_buckets)
        hash_J = mix(np.arange(num_buckets, dtype=np.uint64))
        draw_JB = draw_replicates(hash_J, num_replicates=NUM_REPLICATES).astype(np.float64) - 1
        noise_BK = draw_JB.T @ _centred(mean_K - without_JK) * width
        value_K = _centred(value_K) - bias_K
        signal = float((value_K**2).sum() - (noise_BK**2).sum(axis=1).mean())
        return cls(value_K, noise_BK + bias_K, signal)


def _share_below(x: _Estimates, y: _Estimates, found: float) -> Callable[[float], float]:
    """The share of replicates with a smaller r than was found, as a function of the true r; it falls."""
    along_K = x.value_K / np.linalg.norm(x.value_K)
    across_K = y.value_K - (y.value_K @ along_K) * along_K
    size = np.linalg.norm(across_K)
    across_K = across_K / size if size > 0 else across_K
    x_BK = np.sqrt(x.signal) * along_K + x.noise_BK
    norm_B = np.linalg.norm(x_BK, axis=1)

    def share(r: float) -> float:
        y_BK = np.sqrt(y.signal) * (r * along_K + np.sqrt(1 - r * r) * across_K) + y.noise_BK
        r_B = (x_BK * y_BK).sum(axis=1) / (norm_B * np.linalg.norm(y_BK, axis=1))
        return float((r_B < found).mean())

    return share


def _first(holds: Callable[[float], bool]) -> int:
    """The place of the first tried correlation that it holds for, as for all after it; one too far if for none."""
    low, high = 0, len(_TRIED)
    while low < high:
        middle = (low + high) // 2
        if holds(float(_TRIED[middle])):
            high = middle
        else:
            low = middle + 1
    return low


def _centred(value_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Less their mean over rules, the last axis."""
    return value_K - value_K.mean(axis=-1, keepdims=True)


def _correlation(x_K: NDArray[np.float64], y_K: NDArray[np.float64]) -> float:
    return float(x_K @ y_K / (np.linalg.norm(x_K) * np.linalg.norm(y_K)))


def _varies(value_K: NDArray[np.float64]) -> bool:
    return bool(np.ptp(value_K) > 1e-13 * np.abs(value_K).max(initial=0.0))
