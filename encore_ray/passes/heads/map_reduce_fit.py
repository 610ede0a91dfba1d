"""Fits one linear head a rule by map and reduce: embeddings stay in their units, the driver holds sums of them only.

Rules with link `sigmoid` take yes/no labels and a logistic regression, those with link `identity` take ratings and a
ridge regression. Every sum over responses is a pass over the units. Penalties are chosen by five-fold cross-validation
over prompts, and the figures of each rule are those of the same five fits, each on the prompts that it has not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from encore_ray.composition.hashing.keys import NUM_FOLDS
from encore_ray.composition.heads.figures import head_figures
from encore_ray.composition.heads.heldout import HeldoutSums, PredictionCells
from encore_ray.composition.heads.label_counts import LabelCounts
from encore_ray.composition.heads.logistic import LogisticFit, LogisticSums, ProblemHeads, fit_logistic
from encore_ray.composition.heads.ridge import ROUNDING, LinearFit, ResponseSums, fit_ridge, prediction_sums
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError
from encore_ray.passes.heads.labels import LabelledUnit, LabelPlace, find_labels, labelled_units, read_responses
from encore_ray.rules import RuleSet

Places = dict[str, LabelPlace]


@dataclass(frozen=True, eq=False)
class FittedHeads:
    """Heads of K rules and what is known of them.

    Attributes:
        weight_KD, bias_K: in the units of each rule's scale, before its link.
        figures: content of fit.json as far as it is about the heads.
    """

    weight_KD: np.ndarray
    bias_K: np.ndarray
    figures: dict[str, Any]


def check_fittable(rules: RuleSet) -> None:
    """Raise ConfigError where a rule's link and scale are none that a head can be fitted for."""
    problems = [
        f"{rule.name}: link expected_level has an output a level; use identity"
        for rule in rules
        if rule.link == "expected_level"
    ] + [
        f"{rule.name}: link sigmoid needs scale {{lo: 0, hi: 1}}, found {rule.scale.lo:g} to {rule.scale.hi:g}"
        for rule in rules
        if rule.link == "sigmoid" and (rule.scale.lo, rule.scale.hi) != (0.0, 1.0)
    ]
    if problems:
        raise ConfigError(f"Heads cannot be fitted for these rules: {'; '.join(problems)}.")


def fit_heads(
    embeddings: str,
    labels: str,
    rules: RuleSet,
    reducer: Reducer,
) -> FittedHeads:
    """Fit a head for each rule.

    Args:
        embeddings: folder of features.
        labels: pairs/ or scores/ of the same run, see `passes.labels`.
        rules: K rules, see `check_fittable`.
        reducer: told of the progress of each pass in pairs.

    Raises:
        DataError: a rule without labels, or labels outside of its scale.
    """
    units = labelled_units(embeddings, labels)
    places = find_labels([unit.labels for unit in units], rules)
    counts: LabelCounts = reducer.total("labels", partial(_CountLabels, rules, places), units)
    counts.check(rules, where=labels)
    groups = counts.groups
    sums: ResponseSums = reducer.total_in_order("gram", partial(_SumProducts, rules, places, groups), units)
    rated = [k for k, rule in enumerate(rules) if rule.link == "identity"]
    asked = [k for k, rule in enumerate(rules) if rule.link == "sigmoid"]
    parts: list[tuple[list[int], LinearFit]] = []
    logistic: LogisticFit | None = None
    if rated:
        parts.append((rated, fit_ridge(sums, groups=groups, rules=rated)))
    if asked:

        def measure(heads: ProblemHeads) -> LogisticSums:
            return reducer.total_in_order("fit", partial(_SumLogistic, rules, places, heads), units)

        logistic = fit_logistic(measure, sums, groups=groups, rules=asked)
        parts.append((asked, logistic.heads))
    fit = _in_rule_order(parts)
    centre_FK, cells = _centres_and_cells(sums, fit, counts.group_K)
    thresholds = [
        (rule.scale.lo + rule.scale.hi) / 2 if is_yes_no else None
        for rule, is_yes_no in zip(rules, counts.is_yes_no_K, strict=True)
    ]
    known_FK = (sums.num_FM.sum(axis=0) > sums.num_FM)[:, counts.group_K]
    heldout: HeldoutSums = reducer.total_in_order(
        "heldout", partial(_MeasureHeldout, rules, places, fit, centre_FK, cells, thresholds, known_FK), units
    )
    return FittedHeads(fit.weight_KD, fit.bias_K, head_figures(rules, counts, fit, logistic, heldout))


class _CountLabels:
    """Label counts of one unit: runs in a worker, as all below."""

    def __init__(self, rules: RuleSet, places: Places):
        self._rules, self._places = rules, places

    def __call__(self, unit: LabelledUnit) -> LabelCounts:
        responses = read_responses(unit, self._rules, self._places)
        return LabelCounts.of(responses.label_NK, responses.mark_N, rules=self._rules)


class _SumProducts:
    """What a ridge regression needs of one unit."""

    def __init__(self, rules: RuleSet, places: Places, groups: Sequence[Sequence[int]]):
        self._rules, self._places, self._groups = rules, places, groups

    def __call__(self, unit: LabelledUnit) -> ResponseSums:
        responses = read_responses(unit, self._rules, self._places)
        return ResponseSums.of(responses.embedding_ND, responses.label_NK, fold_N=responses.fold_N, groups=self._groups)


class _SumLogistic:
    """What a step of the logistic regressions needs of one unit."""

    def __init__(self, rules: RuleSet, places: Places, heads: ProblemHeads):
        self._rules, self._places, self._heads = rules, places, heads

    def __call__(self, unit: LabelledUnit) -> LogisticSums:
        responses = read_responses(unit, self._rules, self._places)
        return LogisticSums.of(responses.embedding_ND, responses.label_NK, self._heads, fold_N=responses.fold_N)


class _MeasureHeldout:
    """What the figures need of one unit: each response as the heads see it that were fitted without its fold.

    Responses are ranked around `centre_FK`, see `HeldoutSums`. `known_FK` says whether other folds have labels of a
    rule; where none has, nothing is known of what a head would say.
    """

    def __init__(
        self,
        rules: RuleSet,
        places: Places,
        fit: LinearFit,
        centre_FK: np.ndarray,
        cells: Sequence[PredictionCells],
        thresholds: Sequence[float | None],
        known_FK: np.ndarray,
    ):
        self._rules, self._places, self._fit = rules, places, fit
        self._centre_FK, self._cells, self._thresholds, self._known_FK = centre_FK, cells, thresholds, known_FK

    def __call__(self, unit: LabelledUnit) -> HeldoutSums:
        responses = read_responses(unit, self._rules, self._places)
        z_NK = np.empty_like(responses.label_NK)
        for fold in range(NUM_FOLDS):
            mine_N = responses.fold_N == fold
            weight_KD, bias_K = self._fit.fold_weight_FKD[fold], self._fit.fold_bias_FK[fold]
            z_NK[mine_N] = responses.embedding_ND[mine_N] @ weight_KD.T + bias_K
        is_sigmoid_K = np.array([rule.link == "sigmoid" for rule in self._rules])
        value_NK = np.where(is_sigmoid_K, np.exp(-np.logaddexp(0.0, -z_NK)), z_NK)
        return HeldoutSums.of(
            z_NK - self._centre_FK[responses.fold_N],
            value_NK,
            np.where(self._known_FK[responses.fold_N], responses.label_NK, np.nan),
            cells=self._cells,
            thresholds=self._thresholds,
            hash_N=responses.hash_N,
        )


def _in_rule_order(parts: Sequence[tuple[list[int], LinearFit]]) -> LinearFit:
    order = np.argsort([k for rules, _ in parts for k in rules])
    fits = [fit for _, fit in parts]
    return LinearFit(
        np.concatenate([fit.penalty_K for fit in fits])[order],
        np.concatenate([fit.weight_KD for fit in fits])[order],
        np.concatenate([fit.bias_K for fit in fits])[order],
        np.concatenate([fit.fold_weight_FKD for fit in fits], axis=1)[:, order],
        np.concatenate([fit.fold_bias_FK for fit in fits], axis=1)[:, order],
    )


def _centres_and_cells(
    sums: ResponseSums, fit: LinearFit, group_K: Sequence[int]
) -> tuple[np.ndarray, list[PredictionCells]]:
    """The mean of what each of the five fits of a rule says of its own fold [F, K], and cells around these means."""
    num_FK = sums.num_FM[:, group_K]
    total_FK, square_FK = np.zeros_like(num_FK), np.zeros_like(num_FK)
    for fold in range(NUM_FOLDS):
        for k, group in enumerate(group_K):
            weight_KD, bias_K = fit.fold_weight_FKD[fold, k : k + 1], fit.fold_bias_FK[fold, k : k + 1]
            found = prediction_sums(sums, group=group, fold=fold, weight_KD=weight_KD, bias_K=bias_K)
            total_FK[fold, k], square_FK[fold, k] = found[0][0], found[1][0]
    centre_FK = total_FK / np.maximum(num_FK, 1.0)
    apart_K = (square_FK - total_FK * centre_FK).sum(axis=0)
    apart_K[apart_K <= ROUNDING * square_FK.sum(axis=0)] = 0.0
    return centre_FK, [
        PredictionCells.around(num=float(num), total=0.0, square=float(apart))
        for num, apart in zip(num_FK.sum(axis=0), apart_K, strict=True)
    ]
