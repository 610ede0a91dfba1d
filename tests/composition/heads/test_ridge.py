"""ProblemHeads by regression from sums: the same as from all rows at once, whoever holds the rows."""

import numpy as np
import pytest
from scipy.optimize import minimize

from encore_ray.composition.heads.logistic import LogisticSums, ProblemHeads, fit_logistic
from encore_ray.composition.heads.ridge import PENALTIES, LinearFit, ResponseSums, fit_ridge, prediction_sums

N, D, K = 120, 6, 3
GROUPS = [[0, 2], [1]]  # rule 1 lacks some labels


def problem(*, yes_no: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings far from the origin, labels that depend on them, folds."""
    rng = np.random.default_rng(3)
    x_ND = rng.normal(5.0, [1, 1, 1, 1, 0.1, 0.0], (N, D))  # the last dimension is constant
    y_NK = (x_ND - 5) @ rng.normal(size=(D, K)) + rng.normal(size=(N, K))
    y_NK = (y_NK > 0).astype(float) if yes_no else y_NK
    y_NK[rng.random(N) < 0.3, 1] = np.nan
    return x_ND, y_NK, rng.integers(0, 5, N)


def sums_of(x_ND: np.ndarray, y_NK: np.ndarray, fold_N: np.ndarray) -> ResponseSums:
    return ResponseSums.of(x_ND, y_NK, fold_N=fold_N, groups=GROUPS)


def out_of_fold(fit: LinearFit, x_ND: np.ndarray, fold_N: np.ndarray) -> np.ndarray:
    return np.einsum("nkd,nd->nk", fit.fold_weight_FKD[fold_N], x_ND) + fit.fold_bias_FK[fold_N]


def direct(x_ND: np.ndarray, y_N: np.ndarray, multiple: float) -> tuple[np.ndarray, float]:
    """Ridge with an intercept by its textbook formula."""
    x_ND, y_N = x_ND[~np.isnan(y_N)], y_N[~np.isnan(y_N)]
    centred = x_ND - x_ND.mean(axis=0)
    gram = centred.T @ centred
    penalty = multiple * np.trace(gram) / D  # the trace is the sum of the eigenvalues
    weight_D = np.linalg.solve(gram + penalty * np.eye(D), centred.T @ (y_N - y_N.mean()))
    return weight_D, float(y_N.mean() - weight_D @ x_ND.mean(axis=0))


def test_ridge_from_sums_is_ridge_from_rows_with_the_penalty_of_the_least_held_out_error() -> None:
    x_ND, y_NK, fold_N = problem()
    fit = fit_ridge(sums_of(x_ND, y_NK, fold_N), groups=GROUPS, rules=range(K))
    for k in range(K):
        error_A = []
        for multiple in PENALTIES:
            error = 0.0
            for fold in range(5):
                w, b = direct(x_ND[fold_N != fold], y_NK[fold_N != fold, k], multiple)
                error += np.nansum((y_NK[fold_N == fold, k] - x_ND[fold_N == fold] @ w - b) ** 2)
                if multiple == fit.penalty_K[k]:
                    np.testing.assert_allclose(fit.fold_weight_FKD[fold, k], w, atol=1e-8)
                    np.testing.assert_allclose(fit.fold_bias_FK[fold, k], b, atol=1e-7)
            error_A.append(error)
        assert fit.penalty_K[k] == PENALTIES[int(np.argmin(error_A))]
        weight_D, bias = direct(x_ND, y_NK[:, k], fit.penalty_K[k])
        np.testing.assert_allclose(fit.weight_KD[k], weight_D, atol=1e-8)
        np.testing.assert_allclose(fit.bias_K[k], bias, atol=1e-7)


def test_sums_of_parts_add_up_to_those_of_the_whole() -> None:
    x_ND, y_NK, fold_N = problem()
    parts = sums_of(x_ND[:50], y_NK[:50], fold_N[:50]) + sums_of(x_ND[50:], y_NK[50:], fold_N[50:])
    whole = sums_of(x_ND, y_NK, fold_N)
    for name in ResponseSums.__dataclass_fields__:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


def test_rules_can_be_fitted_apart() -> None:
    sums = sums_of(*problem())
    together = fit_ridge(sums, groups=GROUPS, rules=range(K))
    alone = fit_ridge(sums, groups=GROUPS, rules=[2])
    np.testing.assert_allclose(alone.weight_KD[0], together.weight_KD[2], rtol=1e-9, atol=1e-14)


def test_sums_of_predictions_are_those_of_the_rows() -> None:
    x_ND, y_NK, fold_N = problem()
    rng = np.random.default_rng(0)
    weight_KD, bias_K = rng.normal(size=(1, D)), rng.normal(size=1)
    mine_N = (fold_N == 2) & ~np.isnan(y_NK[:, 1])
    z_N = x_ND[mine_N] @ weight_KD[0] + bias_K[0]
    found = prediction_sums(sums_of(x_ND, y_NK, fold_N), group=1, fold=2, weight_KD=weight_KD, bias_K=bias_K)
    np.testing.assert_allclose([value[0] for value in found], [z_N.sum(), (z_N**2).sum()])


def test_logistic_heads_are_at_the_minimum_of_their_objective() -> None:
    x_ND, y_NK, fold_N = problem(yes_no=True)
    sums = sums_of(x_ND, y_NK, fold_N)

    def measure(heads: ProblemHeads) -> LogisticSums:  # in two parts, as two units would
        halves = (slice(0, 70), slice(70, N))
        parts = [LogisticSums.of(x_ND[h], y_NK[h], heads, fold_N=fold_N[h]) for h in halves]
        return parts[0] + parts[1]

    found = fit_logistic(measure, sums, groups=GROUPS, rules=range(K))
    assert found.is_exact
    for k in range(K):
        for fold in (0, None):
            kept_N = ~np.isnan(y_NK[:, k]) & (fold_N != fold)
            x, y = x_ND[kept_N], y_NK[kept_N, k]
            mean = x.mean(axis=0)
            penalty = found.heads.penalty_K[k] / 4 * np.trace((x - mean).T @ (x - mean)) / D

            def objective(wb: np.ndarray, x=x, y=y, mean=mean, penalty=penalty) -> float:
                z = (x - mean) @ wb[:-1] + wb[-1]
                return (np.logaddexp(0, z) - y * z).sum() + penalty / 2 * (wb[:-1] ** 2).sum()

            best = minimize(objective, np.zeros(D + 1), tol=1e-12)
            weight_D = found.heads.weight_KD[k] if fold is None else found.heads.fold_weight_FKD[fold, k]
            bias = found.heads.bias_K[k] if fold is None else found.heads.fold_bias_FK[fold, k]
            here = np.append(weight_D, bias + weight_D @ mean)
            assert objective(here) == pytest.approx(best.fun, abs=1e-5 * len(y))
            np.testing.assert_allclose(here, best.x, atol=5e-3)


@pytest.mark.parametrize("num_yes", [1, 17, 119])
def test_the_mean_of_the_probabilities_is_the_share_of_yes_labels(num_yes: int) -> None:
    x_ND, y_NK, fold_N = problem(yes_no=True)
    y_NK[:] = np.random.default_rng(2).permutation(np.arange(N) < num_yes)[:, None]
    groups = [[0, 1, 2]]
    sums = ResponseSums.of(x_ND, y_NK, fold_N=fold_N, groups=groups)
    found = fit_logistic(
        lambda heads: LogisticSums.of(x_ND, y_NK, heads, fold_N=fold_N), sums, groups=groups, rules=[0]
    ).heads
    z_N = x_ND @ found.weight_KD[0] + found.bias_K[0]
    assert (1 / (1 + np.exp(-z_N))).sum() == pytest.approx(num_yes, abs=1e-6)
    for fold in range(5):
        other_N = fold_N != fold
        z_N = x_ND[other_N] @ found.fold_weight_FKD[fold, 0] + found.fold_bias_FK[fold, 0]
        yes = y_NK[other_N, 0].sum()
        if 0 < yes < other_N.sum():
            assert (1 / (1 + np.exp(-z_N))).sum() == pytest.approx(yes, abs=1e-6)


def test_labels_that_are_all_yes_give_a_finite_head() -> None:
    x_ND, y_NK, fold_N = problem(yes_no=True)
    y_NK[:] = 1.0
    groups = [[0, 1, 2]]
    sums = ResponseSums.of(x_ND, y_NK, fold_N=fold_N, groups=groups)
    found = fit_logistic(
        lambda heads: LogisticSums.of(x_ND, y_NK, heads, fold_N=fold_N), sums, groups=groups, rules=[0]
    )
    z_N = out_of_fold(found.heads, x_ND, fold_N)[:, 0]
    for fold in range(5):
        num = (fold_N != fold).sum()
        np.testing.assert_allclose(z_N[fold_N == fold], np.log((num + 0.5) / 0.5))  # (n + 1/2) / (n + 1) are yes


def test_embeddings_that_are_all_the_same_predict_the_mean_label() -> None:
    rng = np.random.default_rng(0)
    x_ND, y_NK, fold_N = np.full((N, D), 1000.1), rng.uniform(1, 5, (N, K)), np.arange(N) % 5
    fit = fit_ridge(ResponseSums.of(x_ND, y_NK, fold_N=fold_N, groups=[[0, 1, 2]]), groups=[[0, 1, 2]], rules=range(K))
    np.testing.assert_allclose(x_ND[0] @ fit.weight_KD.T + fit.bias_K, y_NK.mean(axis=0), atol=1e-6)
    for fold in range(5):
        np.testing.assert_allclose(
            out_of_fold(fit, x_ND[:1], np.array([fold]))[0], y_NK[fold_N != fold].mean(axis=0), atol=1e-6
        )
