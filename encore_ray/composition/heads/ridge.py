"""K-fold ridge regression of linear heads, from sums over the responses alone: the responses may be anywhere.

    minimise  sum over responses of (y - w.x - b)^2 + penalty |w|^2

for each rule, with no penalty on b. A response adds its products to the sums of its fold, so that leaving a fold out is
a subtraction, and its squared error follows from its own sums: cross-validation needs no second pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.keys import NUM_FOLDS

# Of the mean eigenvalue of the centred Gram matrix, so that they suit any size of corpus and any scale of embeddings.
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
ROUNDING = 1e-12  # of the sum of some squares: what is left of it around their mean is rounding


@dataclass(frozen=True, eq=False)
class ResponseSums:
    """Sums over responses, float64; ``+`` joins two parts of a corpus.

    Rules with labels on the same responses are of one of M groups and share what is summed of the embeddings. F folds.

    Attributes:
        num_FM: responses with labels.
        sum_FMD, gram_FMDD: their embeddings, and the products of these.
        label_FK, square_FK, product_FKD: labels, their squares, their products with the embeddings.
    """

    num_FM: NDArray[np.float64]
    sum_FMD: NDArray[np.float64]
    gram_FMDD: NDArray[np.float64]
    label_FK: NDArray[np.float64]
    square_FK: NDArray[np.float64]
    product_FKD: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        embedding_ND: NDArray[np.float64],
        label_NK: NDArray[np.float64],
        *,
        fold_N: NDArray[np.int64],
        groups: Sequence[Sequence[int]],
    ) -> "ResponseSums":
        """The sums of N responses; labels are NaN where there are none, `groups` has the rules of each group."""
        parts = [
            _sums(embedding_ND[fold_N == fold], label_NK[fold_N == fold], groups=groups) for fold in range(NUM_FOLDS)
        ]
        return cls(*(np.stack([getattr(part, name)[0] for part in parts]) for name in cls.__dataclass_fields__))

    def __add__(self, other: "ResponseSums") -> "ResponseSums":
        return ResponseSums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def _sums(x_ND: NDArray[np.float64], y_NK: NDArray[np.float64], *, groups: Sequence[Sequence[int]]) -> ResponseSums:
    present_NK = ~np.isnan(y_NK)
    y_NK = np.where(present_NK, y_NK, 0.0)
    of_groups = [x_ND[present_NK[:, rules[0]]] for rules in groups]
    return ResponseSums(
        num_FM=np.array([[len(x_GD) for x_GD in of_groups]], dtype=np.float64),
        sum_FMD=np.array([[x_GD.sum(axis=0) for x_GD in of_groups]]),
        gram_FMDD=np.array([[x_GD.T @ x_GD for x_GD in of_groups]]),
        label_FK=y_NK.sum(axis=0)[None],
        square_FK=(y_NK**2).sum(axis=0)[None],
        product_FKD=(y_NK.T @ x_ND)[None],
    )


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The embeddings of some responses around their mean: eigenvalues >= 0 [D], eigenvectors as columns [D, D].

    All eigenvalues are 0 where the embeddings are the same but for rounding, as those of a causal model's first token.
    """

    num: float
    mean_D: NDArray[np.float64]
    value_D: NDArray[np.float64]
    vector_DD: NDArray[np.float64]

    @classmethod
    def of(cls, sums: ResponseSums, *, group: int, without: int | None) -> "Spectrum":
        """Of the responses of a group, without those of one fold."""
        kept_F = np.arange(NUM_FOLDS) != (-1 if without is None else without)
        num = float(sums.num_FM[kept_F, group].sum())
        mean_D = sums.sum_FMD[kept_F, group].sum(axis=0) / max(num, 1.0)
        raw_DD = sums.gram_FMDD[kept_F, group].sum(axis=0)
        gram_DD = raw_DD - num * np.outer(mean_D, mean_D)
        value_D, vector_DD = np.linalg.eigh(gram_DD)
        if np.trace(gram_DD) <= ROUNDING * np.trace(raw_DD):
            value_D = np.zeros_like(value_D)
        return cls(num, mean_D, np.maximum(value_D, 0.0), vector_DD)

    @property
    def unit(self) -> float:
        """What penalties are multiples of; 1 where all embeddings are the same."""
        return float(self.value_D.mean()) or 1.0

    def solve_each(
        self, right_PD: NDArray[np.float64], penalty_P: NDArray[np.float64], *, share: float = 1.0
    ) -> NDArray[np.float64]:
        """(share * centred Gram + penalty)^-1 right of each of P right sides."""
        divisor_PD = share * self.value_D + penalty_P[:, None]
        return ((right_PD @ self.vector_DD) / divisor_PD) @ self.vector_DD.T


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Heads of K rules, and of each rule the five that were fitted without one fold.

    Attributes:
        penalty_K: the chosen multiples, of PENALTIES.
        weight_KD, bias_K: fitted to all labels.
        fold_weight_FKD, fold_bias_FK: fitted to the labels of the other folds.
    """

    penalty_K: NDArray[np.float64]
    weight_KD: NDArray[np.float64]
    bias_K: NDArray[np.float64]
    fold_weight_FKD: NDArray[np.float64]
    fold_bias_FK: NDArray[np.float64]


def fit_ridge(sums: ResponseSums, *, groups: Sequence[Sequence[int]], rules: Sequence[int]) -> LinearFit:
    """Fit the heads of some rules, each with the penalty of the least squared error on the folds left out.

    Args:
        sums: of all responses.
        groups: as the sums were made.
        rules: places of the rules to fit, K of them; the fit has them in this order.
    """
    num_rules, size = sums.product_FKD.shape[1:]
    loss_AK = np.zeros((len(PENALTIES), num_rules))
    weight_GAKD = np.zeros((NUM_FOLDS + 1, len(PENALTIES), num_rules, size))  # the last of the first axis: of all folds
    bias_GAK = np.zeros(weight_GAKD.shape[:-1])
    for group, members in enumerate(groups):
        wanted = [k for k in members if k in set(rules)]
        for fold in [*range(NUM_FOLDS), None] if wanted else []:
            spectrum = Spectrum.of(sums, group=group, without=fold)
            place = NUM_FOLDS if fold is None else fold
            for a, penalty in enumerate(PENALTIES):
                weight_KD, bias_K = _solve(sums, spectrum, wanted, without=fold, penalty=penalty * spectrum.unit)
                weight_GAKD[place, a, wanted], bias_GAK[place, a, wanted] = weight_KD, bias_K
                if fold is not None:
                    loss_AK[a, wanted] += _squared_error(sums, wanted, group, fold, weight_KD, bias_K)
    chosen_K = loss_AK.argmin(axis=0)
    rule_K = np.asarray(rules, dtype=np.int64)
    weight_GKD = weight_GAKD[:, chosen_K[rule_K], rule_K]
    bias_GK = bias_GAK[:, chosen_K[rule_K], rule_K]
    return LinearFit(
        np.asarray(PENALTIES)[chosen_K[rule_K]], weight_GKD[-1], bias_GK[-1], weight_GKD[:-1], bias_GK[:-1]
    )


def _solve(
    sums: ResponseSums, spectrum: Spectrum, rules: Sequence[int], *, without: int | None, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kept_F = np.arange(NUM_FOLDS) != (-1 if without is None else without)
    mean_K = sums.label_FK[kept_F][:, rules].sum(axis=0) / max(spectrum.num, 1.0)
    product_KD = sums.product_FKD[kept_F][:, rules].sum(axis=0) - spectrum.num * np.outer(mean_K, spectrum.mean_D)
    weight_KD = spectrum.solve_each(product_KD, np.full(len(product_KD), penalty))
    return weight_KD, mean_K - weight_KD @ spectrum.mean_D


def _squared_error(
    sums: ResponseSums,
    rules: Sequence[int],
    group: int,
    fold: int,
    weight_KD: NDArray[np.float64],
    bias_K: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of one fold [K], from its sums: sum y^2 - 2 sum y z + sum z^2 with z = w.x + b."""
    with_label_K = (weight_KD * sums.product_FKD[fold, rules]).sum(axis=1) + bias_K * sums.label_FK[fold, rules]
    _, square_K = prediction_sums(sums, group=group, fold=fold, weight_KD=weight_KD, bias_K=bias_K)
    return sums.square_FK[fold, rules] - 2 * with_label_K + square_K


def prediction_sums(
    sums: ResponseSums, *, group: int, fold: int, weight_KD: NDArray[np.float64], bias_K: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and sum of squares [K] of w.x + b over the responses of a fold that have labels."""
    num, sum_D, gram_DD = sums.num_FM[fold, group], sums.sum_FMD[fold, group], sums.gram_FMDD[fold, group]
    linear_K = weight_KD @ sum_D
    quadratic_K = np.einsum("kd,kd->k", weight_KD @ gram_DD, weight_KD)
    return linear_K + num * bias_K, quadratic_K + 2 * bias_K * linear_K + num * bias_K**2
