"""The content of comparison.json: every scheme on the same pairs, every rule, and how far to trust both."""

import math
from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.entrants import Cell, Entrant, Field
from encore_ray.composition.compare.lineup import Contest, Halves, Part
from encore_ray.composition.compare.reliability import ReplicatedRules, check_theory, correlate_accuracy, judge_sample
from encore_ray.composition.compare.verdict import name_world, write_verdict, write_warnings
from encore_ray.composition.measure.agreement import Tally
from encore_ray.composition.measure.binning import Binning
from encore_ray.composition.measure.bootstrap import NUM_REPLICATES, percentile_interval
from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.moments import Moments
from encore_ray.composition.weigh.evidence import Learned, kept_rules
from encore_ray.composition.weigh.formulas import effective_num_rules
from encore_ray.composition.weigh.weights import RuleWeight, Weights
from encore_ray.schema import SCHEMA_VERSION

REDUNDANT = 0.95  # |r| of two rules' differences from which one of them tells next to nothing more
BASELINES = {"shorter_wins": "The shorter response wins", "longer_wins": "The longer response wins"}


def write_comparison(
    diagnostics: RuleDiagnostics,
    contest: Contest,
    *,
    weights: Weights,
    learned: Learned,
    field: Field,
    temperature: float,
    beside: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All of comparison.json; null for what no pair tells.

    Args:
        diagnostics, contest: of the whole corpus, which has pairs.
        weights: ENCORE's, from the same statistics.
        learned: of the kept rules.
        field: who competed in the contest.
        temperature: tau of ENCORE.
        beside: where the rewards made elsewhere came from, by name, in the contest's order.
    """
    statistics = diagnostics.statistics
    names = [rule.name for rule in weights.rules]
    width_K = np.array(weights.width_K)
    fitted_K = _fitted_weights(diagnostics, weights, learned)
    deviation_K = [math.sqrt(diagnostics.differences.covariance_KK[k, k]) * width for k, width in enumerate(width_K)]
    replicated = ReplicatedRules.of(diagnostics, weights)
    entropy_accuracy = correlate_accuracy(weights, replicated)
    num_schemes = len(field.entrants)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "num_pairs": statistics.num_pairs,
        "num_singles": statistics.num_singles,
        "num_keys": statistics.num_keys,
        "heldout": {"num_pairs": diagnostics.num_heldout, "num_keys": diagnostics.heldout_keys.count},
        "replicates": NUM_REPLICATES,
        "temperature": temperature,
        "log_base": weights.log_base,
        "estimator": weights.estimator,
        "score_range": weights.score_range,
        "min_active": weights.min_active,
        "clip": weights.clip,
        "counts_sha256": weights.counts_sha256,
        "rule_names": names,
        "schemes": [
            _standing(entrant, s, contest)
            | _shape(entrant, names, responses=diagnostics.responses, width_K=width_K)
            | {"accuracy_sd": _spread_of_draws(contest, field) if len(field.judges.standings[s]) > 1 else None}
            for s, entrant in enumerate(field.entrants)
        ],
        "beside": [
            _given(name, {"rewards": uri}, num_schemes + x, contest, known=x)
            for x, (name, uri) in enumerate((beside or {}).items())
        ],
        "baselines": _baselines(contest, num_schemes=num_schemes, num_beside=len(beside or {})),
        "sweep": _sweep(contest, field, num_keys=statistics.num_keys),
        "rules": [
            _rule(rule, counts, num_keys=statistics.num_keys, fitted=fitted)
            for rule, counts, fitted in zip(
                weights.rules, statistics.counts_K, fitted_K or [None] * len(names), strict=True
            )
        ],
        "correlations": _correlations(diagnostics.differences, names),
        "entropy_accuracy": entropy_accuracy.to_dict(),
        "theory_check": check_theory(weights, bradley_terry_K=fitted_K, deviation_K=deviation_K).to_dict(),
        "sample_size": judge_sample(diagnostics, weights, replicated, temperature=temperature).to_dict(),
    }
    content["world"] = name_world(content["entropy_accuracy"])
    content["verdict"] = write_verdict(content)
    content["warnings"] = [*weights.warnings, *write_warnings(content, left_out=field.left_out)]
    return content


def is_of_weights(comparison: Any, weights: Weights) -> bool:
    """Whether a comparison is of the same scores, counted and weighed by the same options, as the weights."""
    if not isinstance(comparison, dict):
        return False
    shared = ("log_base", "estimator", "score_range", "min_active", "clip", "counts_sha256")
    same = all(comparison.get(name) == getattr(weights, name) for name in shared)
    return same and weights.temperature in (None, comparison.get("temperature"))


def _fitted_weights(diagnostics: RuleDiagnostics, weights: Weights, learned: Learned) -> list[float] | None:
    """The free Bradley-Terry weight of each rule, NaN for one that was dropped; None where not fitted."""
    if learned.fit is None:
        return None
    fitted_K = [math.nan] * len(weights.rules)
    kept = kept_rules(diagnostics.statistics, min_active=weights.min_active)
    for k, weight in zip(kept, learned.fit.weights[False], strict=True):
        fitted_K[k] = weight
    return fitted_K


def _standing(entrant: Entrant, s: int, contest: Contest, *, known: int | None = None) -> dict[str, Any]:
    """What one entrant got right, and how much more than uniform weights; `known`: see `_counts`."""
    num_draws = 1 if entrant.weight_DK is None else len(entrant.weight_DK)
    counting = {"num_draws": num_draws, "known": known}

    def of_subset(halves: Halves) -> dict[str, Any]:
        return _counts(halves.heldout if entrant.uses_labels else halves.all, s, **counting)

    on_all = not entrant.uses_labels
    return {
        "name": entrant.name,
        "params": entrant.params,
        "uses_labels": entrant.uses_labels,
        "all": _counts(contest.corpus.all, s, **counting) if on_all else None,
        "heldout": _counts(contest.corpus.heldout, s, **counting),
        "subsets": {name: of_subset(halves) for name, halves in sorted((contest.subsets or {}).items())},
        "difference_to_uniform": _difference(contest.points_2BS3[1, :, s]),
        "difference_to_uniform_all": _difference(contest.points_2BS3[:, :, s].sum(axis=0)) if on_all else None,
    }


def _shape(entrant: Entrant, names: list[str], *, responses: Moments, width_K: NDArray[np.float64]) -> dict[str, Any]:
    """Weights and what they make of the rewards; means over the draws, null where a pair decides the weights."""
    if entrant.weight_DK is None:
        return {"weights": None, "reward_sd": None, "effective_num_rules": None}
    rows = list(entrant.weight_DK)
    return {
        "weights": dict(zip(names, rows[0].tolist(), strict=True)) if len(rows) == 1 else None,
        "reward_sd": fmean(responses.deviation(row * width_K) for row in rows),
        "effective_num_rules": fmean(effective_num_rules(row.tolist()) for row in rows),
    }


def _counts(part: Part, s: int, *, num_draws: int, known: int | None) -> dict[str, Any]:
    """The statistics object of one standing; of several draws the mean, without counts of their own.

    `known` numbers the keys of the pairs that it judges, where it may not judge all.
    """
    judged, wins, ties = map(int, part.count_S3[s])
    keys = part.keys if known is None else part.known_keys[known]
    counts = Tally(wins, ties, judged - wins - ties).to_dict(num_keys=keys.count)
    if num_draws > 1:
        counts |= {"num_pairs": judged // num_draws, "wins": None, "ties": None, "losses": None}
    return counts


def _difference(points_B3: NDArray[np.int64]) -> dict[str, float | None]:
    """Accuracy above uniform weights on the same pairs, with the interval over the replicates that have any."""
    filled = points_B3[:, 1] > 0
    if not filled[0]:
        return {"value": None, "low": None, "high": None}
    difference_B = (points_B3[filled, 0] - points_B3[filled, 2]) / (2 * points_B3[filled, 1])
    interval = percentile_interval(difference_B[1:])
    return {
        "value": float(difference_B[0]),
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def _spread_of_draws(contest: Contest, field: Field) -> dict[str, float | None]:
    """Standard deviation of the accuracy over the draws of random weights."""
    count_2D2 = contest.count_2J2[:, list(field.draw_judges)]
    num_pairs = [int(part.count_S3[0, 0]) for part in (contest.corpus.all, contest.corpus.heldout)]
    points = [2 * count_D2[:, 0] + count_D2[:, 1] for count_D2 in (count_2D2.sum(axis=0), count_2D2[1])]
    return {
        name: stdev((points_D / (2 * n)).tolist()) if n else None
        for name, points_D, n in zip(("all", "heldout"), points, num_pairs, strict=True)
    }


def _given(name: str, params: dict[str, Any], s: int, contest: Contest, *, known: int) -> dict[str, Any]:
    """The standing of what judges by other means than the scores, over the pairs that it knows."""
    standing = _standing(Entrant(name, params, False, None), s, contest, known=known)
    return standing | {"weights": None, "reward_sd": None, "effective_num_rules": None, "accuracy_sd": None}


def _baselines(contest: Contest, *, num_schemes: int, num_beside: int) -> list[dict[str, Any]]:
    """The shorter and the longer response wins, over the pairs whose lengths are known; none where none is."""
    first = num_schemes + num_beside
    found = [_given(name, {}, first + number, contest, known=num_beside) for number, name in enumerate(BASELINES)]
    return [standing for standing in found if standing["all"]["num_pairs"]]


def _sweep(contest: Contest, field: Field, *, num_keys: int) -> dict[str, Any]:
    default_K = field.entrants[0].weight_DK
    assert default_K is not None
    num_pairs = int(contest.corpus.all.count_S3[0, 0])

    def of_cell(cell: Cell, judge: int) -> dict[str, Any]:
        wins, ties = map(int, contest.count_2J2[:, judge].sum(axis=0))
        counts = Tally(wins, ties, num_pairs - wins - ties).to_dict(num_keys=num_keys)
        return {
            "temperature": cell.temperature,
            "num_bins": cell.num_bins,
            **{key: counts[key] for key in ("accuracy", "accuracy_low", "accuracy_high")},
            "largest_weight_change": float(np.abs(cell.weight_K - default_K[0]).max()),
        }

    return {
        "temperatures": sorted({cell.temperature for cell in field.cells}),
        "num_bins": list(dict.fromkeys(cell.num_bins for cell in field.cells)),
        "cells": [of_cell(*pair) for pair in zip(field.cells, field.cell_judge_C, strict=True)],
    }


def _rule(rule: RuleWeight, counts: RuleCounts, *, num_keys: int, fitted: float | None) -> dict[str, Any]:
    interval = counts.tally.interval(num_keys=num_keys)
    keys = ("name", "higher_is", "entropy", "entropy_low", "entropy_high", "accuracy")
    content = rule.to_dict()
    return {
        **{key: content[key] for key in keys},
        "accuracy_low": interval.low if interval else None,
        "accuracy_high": interval.high if interval else None,
        **{key: content[key] for key in ("wins", "ties", "losses", "mode_share", "active_pair_share")},
        **{key: content[key] for key in ("contribution_share", "weight")},
        "bradley_terry_weight": None if fitted is None or math.isnan(fitted) else fitted,
        "histogram": _histogram(rule.binning, counts),
        "flags": content["flags"],
    }


def _histogram(binning: Binning, counts: RuleCounts) -> dict[str, Any]:
    if binning.levels is not None:
        cells: dict[str, Any] = {"kind": "levels", "levels": list(binning.levels)}
    else:
        cells = {"kind": "bins", "edges": np.linspace(binning.lo, binning.hi, binning.num_cells + 1).tolist()}
    return cells | {
        "chosen": counts.joint_LL.sum(axis=1).tolist(),
        "rejected": counts.joint_LL.sum(axis=0).tolist(),
        "single": counts.single_L.tolist(),
    }


def _correlations(differences: Moments, names: list[str]) -> dict[str, Any]:
    matrix = [[differences.correlation(i, j) for j in range(len(names))] for i in range(len(names))]
    redundant = [
        {"a": names[i], "b": names[j], "r": r}
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if (r := matrix[i][j]) is not None and abs(r) >= REDUNDANT
    ]
    return {"of": "score differences", "matrix": matrix, "redundant": redundant}
