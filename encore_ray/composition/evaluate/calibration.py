"""Platt scaling: how probable it is that the chosen response is the better one, and how well that holds (ECE).

Neither a margin nor the density of an energy is a probability: its scale is whatever the training left. Each becomes
one by logistic(a x + b), fitted on held-out labels, and is tested on others. Which response of a pair comes first is
nobody's choice, so that every pair counts both ways; b is 0 then but for rounding.

Source: Platt, 1999; the expected calibration error, Naeini et al., AAAI 2015.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10
RIDGE = 1.0  # on a standard deviation of x and on b, beside the summed loss: finite where the label is always right
COIN_LOSS = math.log(2)  # nats a label, of whoever says one half each time
LIKELY_ERROR = 0.05  # a label that is less probable is listed
_MAX_STEPS = 50
_LEAST = 1e-12  # probabilities are kept so far from 0 and 1


@dataclass(frozen=True)
class Logistic:
    """P = logistic(slope * x + intercept)."""

    slope: float
    intercept: float

    def probability(self, x_N: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-np.clip(self.slope * x_N + self.intercept, -700, 700)))


def fit_platt(x_N: NDArray[np.float64], is_true_N: NDArray[np.bool_]) -> Logistic:
    """The most likely slope and intercept, by damped Newton's method.

    Args:
        x_N: finite, at least one.
        is_true_N: what is to be predicted.
    """
    spread = float(x_N.std()) or 1.0
    design_N2 = np.stack([x_N / spread, np.ones(len(x_N))], axis=1)
    sign_N = np.where(is_true_N, 1.0, -1.0)
    ridge_2 = np.full(2, RIDGE / len(x_N))

    def objective(point_2: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -sign_N * (design_N2 @ point_2)).mean() + ridge_2 @ point_2**2 / 2)

    point_2 = np.zeros(2)
    for _ in range(_MAX_STEPS):
        miss_N = 1 / (1 + np.exp(np.clip(sign_N * (design_N2 @ point_2), -700, 700)))
        gradient_2 = -(design_N2.T @ (sign_N * miss_N)) / len(x_N) + ridge_2 * point_2
        hessian_22 = (design_N2.T * (miss_N * (1 - miss_N))) @ design_N2 / len(x_N) + np.diag(ridge_2)
        step_2 = -np.linalg.solve(hessian_22, gradient_2)
        length = 1.0
        while objective(point_2 + length * step_2) > objective(point_2) and length > 1e-10:
            length /= 2
        point_2 = point_2 + length * step_2
        if np.abs(length * step_2).max() < 1e-12:
            break
    return Logistic(float(point_2[0]) / spread, float(point_2[1]))


def fit_to_labels(margin_N: NDArray[np.float64]) -> Logistic:
    """Fit to pairs by x of the chosen minus x of the rejected response; each pair counts both ways."""
    return fit_platt(np.concatenate([margin_N, -margin_N]), np.repeat([True, False], len(margin_N)))


@dataclass(frozen=True)
class Reliability:
    """How probabilities of being right compare with how often that was so.

    Attributes:
        bins: of confidence from .5 to 1: number of pairs, mean confidence and share of right ones, None where empty.
        ece: expected calibration error: the mean gap, weighed by the number of pairs.
        log_loss: mean -log of the probability of the label. brier: mean squared distance to it.
    """

    num_pairs: int
    bins: tuple[tuple[int, float | None, float | None], ...]
    ece: float
    log_loss: float
    brier: float

    @classmethod
    def of(cls, probability_N: NDArray[np.float64]) -> "Reliability":
        """Test the probabilities of N labels, at least one: that the chosen response beats the rejected one."""
        p_N = np.clip(probability_N, _LEAST, 1 - _LEAST)
        confidence_N = np.maximum(p_N, 1 - p_N)
        right_N = np.where(p_N == 0.5, 0.5, p_N > 0.5)
        bin_N = np.minimum(((confidence_N - 0.5) * 2 * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        bins: list[tuple[int, float | None, float | None]] = []
        for number in range(NUM_BINS):
            inside_N = bin_N == number
            count = int(inside_N.sum())
            sure, right = (float(x_N[inside_N].mean()) if count else None for x_N in (confidence_N, right_N))
            bins.append((count, sure, right))
        gaps = [count * abs(sure - right) for count, sure, right in bins if sure is not None and right is not None]
        return cls(
            len(p_N),
            tuple(bins),
            math.fsum(gaps) / len(p_N),
            float(-np.log(p_N).mean()),
            float(((1 - p_N) ** 2).mean()),
        )

    def to_dict(self) -> dict[str, Any]:
        edges = np.linspace(0.5, 1.0, NUM_BINS + 1)
        return {
            "num_pairs": self.num_pairs,
            "ece": self.ece,
            "log_loss": self.log_loss,
            "brier": self.brier,
            "bins": [
                {"low": float(low), "high": float(high), "num_pairs": count, "confidence": sure, "right": right}
                for low, high, (count, sure, right) in zip(edges[:-1], edges[1:], self.bins, strict=True)
            ],
        }


@dataclass(frozen=True)
class ProbabilitySource:
    """One way to a probability.

    Attributes:
        name: what it is read from.
        logistic: how it was fitted. fitted_log_loss: what is left of the loss on the pairs that it was fitted to.
        reliability: how it holds on other pairs.
    """

    name: str
    logistic: Logistic
    fitted_log_loss: float
    reliability: Reliability

    @property
    def beats_coin(self) -> bool:
        """See `beats_coin`."""
        return beats_coin(slope=self.logistic.slope, log_loss=self.reliability.log_loss)

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.name,
            **vars(self.logistic),
            "fitted_log_loss": self.fitted_log_loss,
            **self.reliability.to_dict(),
        }


def beats_coin(*, slope: float, log_loss: float) -> bool:
    """Whether probabilities are of use: they rise with what they are read from, and lose less than a coin's on others.

    Args:
        log_loss: nats a label, of pairs that nothing was fitted to.
    """
    return slope > 0 and log_loss < COIN_LOSS


def calibrate(
    x_by_source: dict[str, NDArray[np.float64]], *, fitted_N: NDArray[np.bool_]
) -> tuple[ProbabilitySource, ...]:
    """Fit every source to some pairs and test it on the others; the one that fits best comes first.

    It is chosen by the pairs that it is fitted to, so that nothing was chosen by the others. Every source
    has the same two numbers to fit, which favours none.

    Args:
        x_by_source: x of the chosen minus x of the rejected response, of the same N pairs.
        fitted_N: bool, the pairs to fit to; at least one and not all.
    """
    sources: list[ProbabilitySource] = []
    for name, x_N in x_by_source.items():
        logistic = fit_to_labels(x_N[fitted_N])
        fitted, tested = (Reliability.of(logistic.probability(x_N[part_N])) for part_N in (fitted_N, ~fitted_N))
        sources.append(ProbabilitySource(name, logistic, fitted.log_loss, tested))
    return tuple(sorted(sources, key=lambda source: source.fitted_log_loss))


def log_odds_of_densities(chosen_NG: NDArray[np.floating], rejected_NG: NDArray[np.floating]) -> NDArray[np.float64]:
    """log P / (1 - P) of P: that a reward drawn from the chosen response's density beats one from the rejected's.

    Args:
        chosen_NG, rejected_NG: energies on one grid; the density is their exponential.
    """
    chosen_NG, rejected_NG = _densities(chosen_NG), _densities(rejected_NG)
    below_NG = np.cumsum(rejected_NG, axis=1) - rejected_NG / 2  # half of what falls on the same grid point
    p_N = np.clip((chosen_NG * below_NG).sum(axis=1), _LEAST, 1 - _LEAST)
    return np.log(p_N) - np.log1p(-p_N)


def density_deviations(energy_NG: NDArray[np.floating], grid_G: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each density, in units of the grid."""
    density_NG = _densities(energy_NG)
    mean_N = density_NG @ grid_G
    return np.sqrt((density_NG * (grid_G - mean_N[:, None]) ** 2).sum(axis=1))


def _densities(energy_NG: NDArray[np.floating]) -> NDArray[np.float64]:
    weight_NG = np.exp(energy_NG.astype(np.float64) - energy_NG.max(axis=1, keepdims=True))
    return weight_NG / weight_NG.sum(axis=1, keepdims=True)
