"""Bradley-Terry weights: the linear reward under which the labels are most likely, fitted by (projected) Newton steps.

    minimise  sum over pairs of log(1 + exp(-w.d))  +  1/2 |w|^2

with d the signed score differences of a pair and no intercept. The free fit takes w of any sign. The simplex fit takes
w >= 0 of the same objective and divides it by its sum. A step needs sums over pairs only, so the pairs may be anywhere:
`fit` asks for the sums at some points, and whoever holds the pairs adds them up.

Source: Bradley and Terry, Biometrika 1952.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

L2 = 1.0  # keeps the weights finite where a rule is right on every pair
GOAL = 1e-10  # largest component of the (projected) gradient at which a fit is done

_MAX_STEPS = 100
_ARMIJO = 1e-4  # least share of the decrease that the slope promises
_PATIENCE = 3  # exchanges of all rules at once that need not better anything
_MAX_PIVOTS = 100  # about ten are usual, whatever K is
_ROUNDING = 1e-12  # a smaller relative change of the loss is lost in the rounding of its sum


@dataclass(frozen=True, eq=False)
class Terms:
    """What some pairs add to the objective at one point: loss, gradient [K], Hessian [K, K], float64.

    ``+`` joins two parts of a corpus. It rounds: only the same parts in the same order give the same bits.
    """

    num_pairs: int
    loss: float
    gradient_K: NDArray[np.float64]
    hessian_KK: NDArray[np.float64]

    @classmethod
    def of(cls, d_KN: NDArray[np.float64], weight_K: NDArray[np.float64]) -> "Terms":
        """The terms of N pairs with signed differences `d_KN`, finite, at the point `weight_K`."""
        margin_N = weight_K @ d_KN
        loss_N = np.logaddexp(0.0, -margin_N)
        miss_N = np.exp(-(margin_N + loss_N))  # 1 / (1 + exp(margin)), and no exponential that overflows
        return cls(
            num_pairs=d_KN.shape[1],
            loss=float(loss_N.sum()),
            gradient_K=-(d_KN @ miss_N),
            hessian_KK=(d_KN * (miss_N * (1 - miss_N))) @ d_KN.T,
        )

    def __add__(self, other: "Terms") -> "Terms":
        return Terms(
            self.num_pairs + other.num_pairs,
            self.loss + other.loss,
            self.gradient_K + other.gradient_K,
            self.hessian_KK + other.hessian_KK,
        )


@dataclass(frozen=True)
class Solution:
    """Where one of the two problems ended.

    Attributes:
        weight_K: the minimiser, before any division.
        gradient_norm: largest component of the gradient there; of the projected one with w >= 0.
        num_steps: accepted Newton steps.
    """

    weight_K: tuple[float, ...]
    gradient_norm: float
    num_steps: int

    @property
    def is_exact(self) -> bool:
        """Whether the goal was met; beyond some millions of pairs, float64 sums may not reach it."""
        return self.gradient_norm <= GOAL


@dataclass(frozen=True)
class BradleyTerryFit:
    """Both fits to the same pairs.

    Attributes:
        num_pairs: that were fitted to.
        num_passes: how often the pairs were summed over.
    """

    free: Solution
    simplex: Solution
    num_pairs: int
    num_passes: int

    @property
    def weights(self) -> Mapping[bool, tuple[float, ...]]:
        """Free weights under False; under True those >= 0, divided by their sum, left out where all are 0."""
        total = sum(self.simplex.weight_K)
        found = {False: self.free.weight_K}
        return found | {True: tuple(weight / total for weight in self.simplex.weight_K)} if total > 0 else found


SumTerms = Callable[[Sequence[NDArray[np.float64]]], Sequence[Terms]]


def fit(measure: SumTerms, *, num_rules: int) -> BradleyTerryFit:
    """Fit free and simplex weights together: both ask for their next point in the same pass over the pairs.

    Args:
        measure: the summed terms of all pairs at each of some points [K], in the order of the points.
        num_rules: K.
    """
    searches = {simplex: _minimise(num_rules, nonnegative=simplex) for simplex in (False, True)}
    asked = {simplex: next(search) for simplex, search in searches.items()}
    solved: dict[bool, Solution] = {}
    num_pairs, num_passes = 0, 0
    while asked:
        answers = measure(list(asked.values()))
        num_pairs, num_passes = answers[0].num_pairs, num_passes + 1
        for simplex, terms in zip(list(asked), answers, strict=True):
            try:
                asked[simplex] = searches[simplex].send(terms)
            except StopIteration as end:
                solved[simplex] = end.value
                del asked[simplex]
    return BradleyTerryFit(solved[False], solved[True], num_pairs, num_passes)


@dataclass(frozen=True, eq=False)
class _Point:
    """The whole objective at one point, and the gradient as far as it is not held by w >= 0."""

    weight_K: NDArray[np.float64]
    loss: float
    gradient_K: NDArray[np.float64]
    hessian_KK: NDArray[np.float64]
    norm: float

    @classmethod
    def of(cls, weight_K: NDArray[np.float64], terms: Terms, *, nonnegative: bool) -> "_Point":
        gradient_K = terms.gradient_K + L2 * weight_K
        held_K = (weight_K <= 0) & (gradient_K > 0) if nonnegative else np.zeros(len(weight_K), dtype=bool)
        return cls(
            weight_K=weight_K,
            loss=terms.loss + L2 / 2 * float(weight_K @ weight_K),
            gradient_K=gradient_K,
            hessian_KK=terms.hessian_KK + L2 * np.eye(len(weight_K)),
            norm=float(np.abs(np.where(held_K, 0.0, gradient_K)).max()),
        )


def _minimise(num_rules: int, *, nonnegative: bool) -> Generator[NDArray[np.float64], Terms, Solution]:
    """Damped Newton from 0: yields points, is sent their terms, returns where no step improves any more.

    A step leads to the minimum of the local quadratic, over w >= 0 where that is asked. It is shortened until the loss
    falls. Where the promised fall is lost in rounding, the gradient decides: it must fall, or the search ends.
    """
    start_K = np.zeros(num_rules)
    here = _Point.of(start_K, (yield start_K), nonnegative=nonnegative)
    num_steps = 0
    while here.norm > GOAL and num_steps < _MAX_STEPS:
        pull_K = here.hessian_KK @ here.weight_K - here.gradient_K
        solve = nonnegative_minimum if nonnegative else _solve
        step_K = solve(here.hessian_KK, pull_K) - here.weight_K
        slope = float(here.gradient_K @ step_K)
        length = 1.0
        while True:
            trial_K = here.weight_K + length * step_K
            there = _Point.of(trial_K, (yield trial_K), nonnegative=nonnegative)
            measurable = -length * slope > _ROUNDING * here.loss
            if there.loss <= here.loss + _ARMIJO * length * slope if measurable else there.norm < here.norm:
                break
            if not measurable:
                return _solution(here, num_steps)
            length /= 4
        here, num_steps = there, num_steps + 1
    return _solution(here, num_steps)


def _solution(point: _Point, num_steps: int) -> Solution:
    return Solution(tuple(point.weight_K.tolist()), point.norm, num_steps)


def nonnegative_minimum(matrix_KK: NDArray[np.float64], pull_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """The v >= 0 that minimises 1/2 v.M.v - p.v, by an active set that begins at the one found by pivoting.

    Pivoting takes about ten solves whatever K is, and is right but for rounding; the active set, which alone takes a
    solve for each rule, sees to the rest. The value is that of one solve for the free rules: who found them changes
    no bit.

    Args:
        matrix_KK: symmetric, positive definite.
        pull_K: p.

    Source: Lawson and Hanson, Solving Least Squares Problems, 1974, ch. 23.
    """
    num_rules = len(pull_K)
    free_K, value_K = _pivoted(matrix_KK, pull_K)
    refused_K = np.zeros(num_rules, dtype=bool)
    for _ in range(10 * num_rules):  # each round frees one rule
        gain_K = np.where(free_K | refused_K, 0.0, pull_K - matrix_KK @ value_K)
        added = int(gain_K.argmax())
        if gain_K[added] <= 0:
            break
        free_K[added] = True
        while True:
            inner_K = _solve_free(matrix_KK, pull_K, free_K)
            blocked_K = free_K & (inner_K <= 0)
            if not blocked_K.any():
                refused_K[:] = False
                value_K = inner_K
                break
            if blocked_K[added] and value_K[added] == 0:  # its gain was rounding
                free_K[added], refused_K[added] = False, True
                continue
            room_K = value_K[blocked_K] / (value_K[blocked_K] - inner_K[blocked_K])
            value_K = np.where(free_K, value_K + room_K.min() * (inner_K - value_K), 0.0)
            free_K &= value_K > 0
            free_K[np.flatnonzero(blocked_K)[room_K.argmin()]] = False
            value_K[~free_K] = 0.0
    return value_K


def _pivoted(
    matrix_KK: NDArray[np.float64], pull_K: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which rules are free at that minimum, and their values, all > 0, which are least for just these rules.

    All rules on the wrong side change sides at once, as long as they become fewer; where they do not, one at a time.

    Source: Portugal, Judice and Vicente, Mathematics of Computation 63, 1994.
    """
    free_K, value_K = np.zeros(len(pull_K), dtype=bool), np.zeros(len(pull_K))
    fewest, patience = len(pull_K) + 1, _PATIENCE
    for _ in range(_MAX_PIVOTS):
        wrong_K = np.where(free_K, value_K <= 0, pull_K - matrix_KK @ value_K > 0)
        num_wrong = int(wrong_K.sum())
        if not num_wrong:
            break
        if num_wrong < fewest:
            fewest, patience = num_wrong, _PATIENCE
        elif patience:
            patience -= 1
        else:
            wrong_K[: np.flatnonzero(wrong_K)[-1]] = False
        free_K ^= wrong_K
        value_K = _solve_free(matrix_KK, pull_K, free_K)
    while (blocked_K := free_K & (value_K <= 0)).any():
        free_K &= ~blocked_K
        value_K = _solve_free(matrix_KK, pull_K, free_K)
    return free_K, value_K


def _solve_free(
    matrix_KK: NDArray[np.float64], pull_K: NDArray[np.float64], free_K: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The v that minimises the same among those that are 0 for all rules but the free ones."""
    value_K = np.zeros(len(pull_K))
    value_K[free_K] = _solve(matrix_KK[np.ix_(free_K, free_K)], pull_K[free_K])
    return value_K


def _solve(matrix_KK: NDArray[np.float64], pull_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """The v with M.v = p; the smallest such v where M is singular in float64, as of equal rules on a wide scale."""
    try:
        return np.asarray(np.linalg.solve(matrix_KK, pull_K), dtype=np.float64)
    except np.linalg.LinAlgError:
        unit_K = 1 / np.sqrt(np.diag(matrix_KK))  # rules on scales of different size count alike
        return unit_K * np.linalg.lstsq(unit_K[:, None] * matrix_KK * unit_K, unit_K * pull_K)[0]
