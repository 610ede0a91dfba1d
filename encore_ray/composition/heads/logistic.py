"""K-fold logistic heads for yes/no labels, by accelerated gradient steps: each needs sums over the responses alone.

    minimise  sum over responses of log(1 + exp(z)) - y z  +  penalty / 2 |w|^2 ,   z = w.x + b

with no penalty on b: the mean of the probabilities is the share of yes labels. Where all labels are the same there is
no minimum; the head then gives every response (yes + 1/2) / (labels + 1), as Krichevsky and Trofimov estimate it.

All heads, penalties and folds are fitted side by side: each is one problem, and a pass over the responses takes a step
of all that are not done. The Hessian is never more than a quarter of the Gram matrix, which the ridge sums have, so the
step that this bound gives always improves; momentum makes up for its caution. That needs D numbers a problem and pass,
where Newton's method would need D^2.

Source: the bound, Boehning and Lindsay, AISM 1988; momentum with restarts, O'Donoghue and Candes, FoCM 2015.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.keys import NUM_FOLDS
from encore_ray.composition.heads.ridge import PENALTIES, LinearFit, ResponseSums, Spectrum

GOAL = 1e-8  # nats a response that the next step would still gain, at which a problem is done
MAX_PASSES = 200
_BOUND = 0.25  # of the second derivative of log(1 + exp(z))
BALANCE = 1e-9  # of the labels, by which the probabilities' sum may miss that of the labels
BALANCE_PASSES = 20


@dataclass(frozen=True, eq=False)
class Problem:
    """One fit: the place of its rule, the fold that it leaves out or None, and its penalty in multiples."""

    rule: int
    without: int | None
    penalty: float


@dataclass(frozen=True, eq=False)
class ProblemHeads:
    """Where P problems are looked at: z = w.x + b; rule [P] and fold left out [P], -1 for none."""

    rule_P: NDArray[np.int64]
    without_P: NDArray[np.int64]
    weight_PD: NDArray[np.float64]
    bias_P: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LogisticSums:
    """Sums over responses at one point of each of P problems; ``+`` joins two parts of a corpus.

    Attributes:
        heldout_loss_P: nats, of the fold that is left out.
        slope_P, gradient_PD: of the loss of the other folds, by b and by w, penalties not counted.
        curvature_P: of the same, by b twice.
    """

    heldout_loss_P: NDArray[np.float64]
    slope_P: NDArray[np.float64]
    curvature_P: NDArray[np.float64]
    gradient_PD: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        embedding_ND: NDArray[np.float64],
        label_NK: NDArray[np.float64],
        heads: ProblemHeads,
        *,
        fold_N: NDArray[np.int64],
    ) -> "LogisticSums":
        """The sums of N responses; labels are 0 to 1, NaN where there are none."""
        label_NP = label_NK[:, heads.rule_P]
        present_NP = ~np.isnan(label_NP)
        label_NP = np.where(present_NP, label_NP, 0.0)
        held_NP = fold_N[:, None] == heads.without_P
        z_NP = embedding_ND @ heads.weight_PD.T + heads.bias_P
        softplus_NP = np.logaddexp(0.0, z_NP)
        share_NP = np.exp(z_NP - softplus_NP)
        counts_NP = present_NP & ~held_NP
        miss_NP = np.where(counts_NP, share_NP - label_NP, 0.0)
        curvature_NP = np.where(counts_NP, share_NP * (1 - share_NP), 0.0)
        loss_NP = np.where(present_NP & held_NP, softplus_NP - label_NP * z_NP, 0.0)
        return cls(loss_NP.sum(axis=0), miss_NP.sum(axis=0), curvature_NP.sum(axis=0), miss_NP.T @ embedding_ND)

    def __add__(self, other: "LogisticSums") -> "LogisticSums":
        return LogisticSums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


SumLosses = Callable[[ProblemHeads], LogisticSums]


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """The heads, how many passes over the responses they took, and whether all problems reached the goal."""

    heads: LinearFit
    num_passes: int
    is_exact: bool


def fit_logistic(
    measure: SumLosses, sums: ResponseSums, *, groups: Sequence[Sequence[int]], rules: Sequence[int]
) -> LogisticFit:
    """Fit the heads of some rules, each with the penalty of the least loss on the folds left out.

    Args:
        measure: the sums of all responses at some heads.
        sums, groups, rules: as `fit_ridge` takes them.
    """
    search = _Search(measure, sums, groups)
    crossed = [Problem(k, fold, penalty * _BOUND) for k in rules for penalty in PENALTIES for fold in range(NUM_FOLDS)]
    found = search.minimise(crossed)
    shape = (len(rules), len(PENALTIES), NUM_FOLDS)
    chosen_K = found.heldout_loss_P.reshape(shape).sum(axis=2).argmin(axis=1)
    k_K = np.arange(len(rules))
    whole = search.minimise([Problem(k, None, PENALTIES[a] * _BOUND) for k, a in zip(rules, chosen_K, strict=True)])
    fold_weight_KFD = found.weight_PD.reshape(*shape, -1)[k_K, chosen_K]
    heads = LinearFit(
        penalty_K=np.asarray(PENALTIES)[chosen_K],
        weight_KD=whole.weight_PD,
        bias_K=whole.bias_P,
        fold_weight_FKD=fold_weight_KFD.transpose(1, 0, 2),
        fold_bias_FK=found.bias_P.reshape(shape)[k_K, chosen_K].T,
    )
    return LogisticFit(heads, found.num_passes + whole.num_passes, found.is_exact and whole.is_exact)


@dataclass(frozen=True, eq=False)
class _Found:
    weight_PD: NDArray[np.float64]
    bias_P: NDArray[np.float64]
    heldout_loss_P: NDArray[np.float64]
    num_passes: int
    is_exact: bool


class _Search:
    """Minimises problems together; embeddings are centred at the mean of a problem's own responses inside."""

    def __init__(self, measure: SumLosses, sums: ResponseSums, groups: Sequence[Sequence[int]]):
        self._measure, self._sums = measure, sums
        self._group_of = {k: group for group, members in enumerate(groups) for k in members}
        self._spectra: dict[tuple[int, int | None], Spectrum] = {}

    def minimise(self, problems: Sequence[Problem]) -> _Found:
        spectrum_P = [self._spectrum(problem) for problem in problems]
        num_P = np.array([spectrum.num for spectrum in spectrum_P])
        mean_PD = np.stack([spectrum.mean_D for spectrum in spectrum_P])
        penalty_P = np.array([p.penalty * s.unit for p, s in zip(problems, spectrum_P, strict=True)])
        rule_P = np.array([problem.rule for problem in problems])
        without_P = np.array([-1 if problem.without is None else problem.without for problem in problems])
        size = mean_PD.shape[1]
        here_PE = np.zeros((len(problems), size + 1))  # w, then b for centred embeddings
        yes_P = np.array([self._num_yes(problem) for problem in problems])
        here_PE[:, size] = np.log((yes_P + 0.5) / (num_P - yes_P + 0.5))
        ahead_PE = here_PE.copy()
        momentum_P = np.ones(len(problems))
        differ_P = (yes_P > 0) & (yes_P < num_P)
        todo = np.flatnonzero(differ_P)
        num_passes = 0
        while len(todo) and num_passes < MAX_PASSES:
            at_TE = ahead_PE[todo]
            weight_TD = at_TE[:, :size]
            bias_T = at_TE[:, size] - (weight_TD * mean_PD[todo]).sum(axis=1)
            sums = self._measure(ProblemHeads(rule_P[todo], without_P[todo], weight_TD, bias_T))
            num_passes += 1
            gradient_TE = np.column_stack(
                [
                    sums.gradient_PD - mean_PD[todo] * sums.slope_P[:, None] + penalty_P[todo, None] * weight_TD,
                    sums.slope_P,
                ]
            )
            step_TE = self._step(gradient_TE, [problems[p] for p in todo.tolist()], penalty_P[todo])
            next_TE = at_TE - step_TE
            moved_TE = next_TE - here_PE[todo]
            turned_T = (gradient_TE * moved_TE).sum(axis=1) > 0
            before_T = np.where(turned_T, 1.0, momentum_P[todo])
            momentum_T = (1 + np.sqrt(1 + 4 * before_T**2)) / 2
            ahead_PE[todo] = next_TE + np.where(turned_T, 0.0, (before_T - 1) / momentum_T)[:, None] * moved_TE
            here_PE[todo], momentum_P[todo] = next_TE, momentum_T
            gain_T = (gradient_TE * step_TE).sum(axis=1) / 2
            todo = todo[gain_T > GOAL * np.maximum(num_P[todo], 1.0)]
        weight_PD = here_PE[:, :size]
        bias_P = here_PE[:, size] - (weight_PD * mean_PD).sum(axis=1)
        sums = self._measure(ProblemHeads(rule_P, without_P, weight_PD, bias_P))
        num_passes += 1
        for _ in range(BALANCE_PASSES):  # Newton's steps of b alone, from close by
            unbalanced_P = differ_P & (np.abs(sums.slope_P) > BALANCE * num_P)
            if not unbalanced_P.any():
                break
            bias_P = bias_P - np.where(unbalanced_P, sums.slope_P / np.where(differ_P, sums.curvature_P, 1.0), 0.0)
            sums = self._measure(ProblemHeads(rule_P, without_P, weight_PD, bias_P))
            num_passes += 1
        return _Found(weight_PD, bias_P, sums.heldout_loss_P, num_passes, is_exact=not len(todo))

    def _num_yes(self, problem: Problem) -> float:
        """The sum of a problem's labels."""
        kept_F = np.arange(NUM_FOLDS) != (-1 if problem.without is None else problem.without)
        return float(self._sums.label_FK[kept_F, problem.rule].sum())

    def _spectrum(self, problem: Problem) -> Spectrum:
        key = (self._group_of[problem.rule], problem.without)
        if key not in self._spectra:
            self._spectra[key] = Spectrum.of(self._sums, group=key[0], without=key[1])
        return self._spectra[key]

    def _step(
        self, gradient_PE: NDArray[np.float64], problems: Sequence[Problem], penalty_P: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The bound of the Hessian, inverted, times the gradients."""
        step_PE = np.empty_like(gradient_PE)
        spectra = [self._spectrum(problem) for problem in problems]
        for spectrum in {id(spectrum): spectrum for spectrum in spectra}.values():
            mine = [p for p, each in enumerate(spectra) if each is spectrum]
            step_PE[mine, :-1] = spectrum.solve_each(gradient_PE[mine, :-1], penalty_P[mine], share=_BOUND)
            step_PE[mine, -1] = gradient_PE[mine, -1] / (_BOUND * spectrum.num)
        return step_PE
