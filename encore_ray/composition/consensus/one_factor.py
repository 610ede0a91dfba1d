"""The one-factor model of correlations, R_jk = l_j l_k for j != k, fitted by least squares (minres).

Each coordinate in turn is set to its best value, l_k = sum_{j != k} R_jk l_j / sum_{j != k} l_j^2, from the leading
eigenvector on. Sums are taken in order, element by element, so that a fit has the same bits on any machine.

Source: Harman and Jones, Psychometrika 1966.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 0.995  # of a loading: at 1 a rule would be the factor itself, and its weight infinite

_GOAL = 1e-12  # largest change of a loading in a round over all of them, at which a fit is done
_MAX_ROUNDS = 10_000
_START_DECIMALS = 6  # of the eigenvector, whose last digits depend on the machine


@dataclass(frozen=True, eq=False)
class OneFactorFit:
    """Fits to B matrices of correlations between G quantities.

    Attributes:
        loading_BG: -.995 to .995, of positive sum.
        explained_B: 1 - sum (R - l l^T)^2 / sum R^2 off the diagonal; NaN where no two quantities go together.
    """

    loading_BG: NDArray[np.float64]
    explained_B: NDArray[np.float64]


def fit_one_factor(r_BGG: NDArray[np.float64]) -> OneFactorFit:
    """Fit each of B matrices by itself; the quantities' order changes no more than rounding does.

    Args:
        r_BGG: float64, symmetric, finite; the diagonal is not looked at.
    """
    num_fits, num_groups, _ = r_BGG.shape
    off_BGG = np.where(np.eye(num_groups, dtype=bool), 0.0, r_BGG)
    loading_BG = _start(off_BGG)
    open_B = np.arange(num_fits)
    for _ in range(_MAX_ROUNDS):
        if not len(open_B):
            break
        before_BG, now_BG = loading_BG[open_B], loading_BG[open_B]
        for k in range(num_groups):
            others_BG = now_BG.copy()
            others_BG[:, k] = 0.0
            pull_B = _sum(off_BGG[open_B, k] * others_BG)
            square_B = _sum(others_BG * others_BG)
            best_B = np.divide(pull_B, square_B, out=np.zeros_like(pull_B), where=square_B > 0)
            now_BG[:, k] = np.clip(best_B, -LARGEST, LARGEST)
        loading_BG[open_B] = now_BG
        open_B = open_B[np.abs(now_BG - before_BG).max(axis=1) > _GOAL]
    loading_BG = np.where(_sum(loading_BG)[:, None] < 0, -loading_BG, loading_BG)
    return OneFactorFit(loading_BG, _explained(off_BGG, loading_BG))


def _start(off_BGG: NDArray[np.float64]) -> NDArray[np.float64]:
    """The leading eigenvectors of the correlations, ones on the diagonal, as long as their eigenvalues say."""
    value_BG, vector_BGG = np.linalg.eigh(off_BGG + np.eye(off_BGG.shape[1]))
    leading_BG: NDArray[np.float64] = vector_BGG[:, :, -1] * np.sqrt(np.maximum(value_BG[:, -1:], 0.0))
    return np.clip(leading_BG.round(_START_DECIMALS), -LARGEST, LARGEST)


def _explained(off_BGG: NDArray[np.float64], loading_BG: NDArray[np.float64]) -> NDArray[np.float64]:
    model_BGG = loading_BG[:, :, None] * loading_BG[:, None, :]
    left_BGG = np.where(np.eye(off_BGG.shape[1], dtype=bool), 0.0, off_BGG - model_BGG)
    left_B, all_B = (_sum((x_BGG * x_BGG).reshape(len(x_BGG), -1)) for x_BGG in (left_BGG, off_BGG))
    return 1 - np.divide(left_B, all_B, out=np.full_like(all_B, np.nan), where=all_B > 0)


def _sum(x_BG: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the last axis, from its first element to its last."""
    return x_BG.cumsum(axis=-1)[..., -1]
