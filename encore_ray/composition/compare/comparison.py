"""The content of comparison.json: every scheme on the same pairs, every rule, and how far to trust both."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.decision import decide
from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.entries import baseline_entries, beside_entries, scheme_entries
from encore_ray.composition.compare.label_free import consensus_entry, label_free_choice
from encore_ray.composition.compare.lineup import Lineup, SweepCell
from encore_ray.composition.compare.reliability import (
    LeftOutRules,
    check_theory,
    correlate_accuracy,
    estimate_sample_size,
)
from encore_ray.composition.compare.verdict import name_world, write_verdict, write_warnings
from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.inference.entropy import entropy
from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.vetoes import VetoCounts
from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.sums.moments import Moments
from encore_ray.composition.weigh.evidence import Learned, kept_rules
from encore_ray.composition.weigh.rated import Ratings
from encore_ray.composition.weigh.weights import RuleWeight, Weights
from encore_ray.rules import prior_keys
from encore_ray.schema import SCHEMA_VERSION

REDUNDANT = 0.95  # |r| of two rules' differences from which one of them tells next to nothing more
MOST_RULES = 100  # of which every two are told, from the first on: all of 2,000 rules were 123 MB of JSON
MOST_PAIRS = 100  # of all rules, those that correlate most


def write_comparison(
    diagnostics: RuleDiagnostics,
    counts: LineupCounts,
    *,
    weights: Weights,
    learned: Learned,
    lineup: Lineup,
    temperature: float,
    beside: Mapping[str, str] | None = None,
    ratings: Ratings | None = None,
) -> dict[str, Any]:
    """All of comparison.json; null for what no pair tells.

    Args:
        diagnostics, counts: of the whole corpus, which has pairs.
        weights: ENCORE's, from the same statistics.
        learned: of the kept rules.
        lineup: who competed.
        temperature: tau of ENCORE.
        beside: where the rewards made elsewhere came from, by name, in the order of the counts.
        ratings: the table by whose entropies ENCORE competed too.
    """
    statistics = diagnostics.statistics
    names = [rule.name for rule in weights.rules]
    width_K = np.array(weights.width_K)
    fitted_K = _fitted_weights(diagnostics, weights, learned)
    deviation_K = [math.sqrt(diagnostics.differences.covariance_KK[k, k]) * width for k, width in enumerate(width_K)]
    left_out = LeftOutRules.of(diagnostics, weights)
    num_groups = None if lineup.consensus is None else len(lineup.consensus.groups)
    entropy_accuracy = correlate_accuracy(weights, left_out, num_groups=num_groups)
    num_schemes = len(lineup.entrants)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "num_pairs": statistics.num_pairs,
        "num_singles": statistics.num_singles,
        "num_keys": statistics.num_keys,
        "heldout": {"num_pairs": diagnostics.num_heldout, "num_keys": diagnostics.heldout_keys.count},
        "temperature": temperature,
        "log_base": weights.log_base,
        "estimator": weights.estimator,
        "score_range": weights.score_range,
        "min_active": weights.min_active,
        "clip": weights.clip,
        "counts_sha256": weights.counts_sha256,
        "ratings": _ratings(ratings, weights) if ratings else None,
        "rule_names": names,
        "schemes": scheme_entries(lineup, counts, names=names, width_K=width_K, responses=diagnostics.responses),
        "beside": beside_entries(beside or {}, counts, num_schemes=num_schemes),
        "baselines": baseline_entries(counts, num_schemes=num_schemes, num_beside=len(beside or {})),
        "sweep": _sweep(counts, lineup, num_keys=statistics.num_keys),
        "rules": [
            _rule(rule, counts, num_keys=statistics.num_keys, fitted=fitted)
            for rule, counts, fitted in zip(
                weights.rules, statistics.counts_K, fitted_K or [None] * len(names), strict=True
            )
        ],
        "correlations": _correlations(diagnostics.differences, names),
        "entropy_accuracy": entropy_accuracy.to_dict(),
        "theory_check": check_theory(weights, bradley_terry_K=fitted_K, deviation_K=deviation_K).to_dict(),
        "consensus": consensus_entry(diagnostics, counts, lineup, weights=weights),
        "sample_size": estimate_sample_size(diagnostics, weights, left_out, temperature=temperature).to_dict(),
    }
    if counts.vetoes is not None:
        content["decided_by_veto"] = _decided_by_veto(*counts.vetoes)
    content["world"] = name_world(content["entropy_accuracy"])
    content["label_free"] = label_free_choice(lineup, counts)
    content["decision"] = decide(content)
    content["verdict"] = write_verdict(content)
    content["warnings"] = [*weights.warnings, *write_warnings(content, left_out=lineup.left_out)]
    return content


def is_of_weights(comparison: Any, weights: Weights) -> bool:
    """Whether a comparison is of the same scores, counted and weighed by the same options, as the weights.

    Counts tell nothing of names and directions, which decide what a scheme gets right.
    """
    try:
        rules = [(rule["name"], rule["higher_is"]) for rule in comparison["rules"]]
    except (KeyError, TypeError):
        return False
    if rules != [(rule.name, rule.higher_is) for rule in weights.rules]:
        return False
    prior = [(rule.get("veto"), rule.get("points")) for rule in comparison["rules"]]
    if prior != [(rule.veto and rule.veto.to_dict(), rule.points) for rule in weights.rules]:
        return False
    shared = ("log_base", "estimator", "score_range", "min_active", "clip", "counts_sha256")
    same = all(comparison.get(name) == getattr(weights, name) for name in shared)
    ratings = comparison.get("ratings") or {}
    same = same and ratings.get("counts_sha256") == (weights.rated.counts_sha256 if weights.rated else None)
    return same and weights.temperature in (None, comparison.get("temperature"))


def _decided_by_veto(of_all: VetoCounts, of_heldout: VetoCounts) -> dict[str, Any]:
    """What hard rules decide under every scheme, of all pairs, and of the held-out ones."""
    return of_all.to_dict() | {"heldout": {"num_pairs": of_heldout.decided, "right": of_heldout.right}}


def _ratings(ratings: Ratings, weights: Weights) -> dict[str, Any]:
    """The table whose entropies competed, and these."""
    statistics = ratings.statistics
    return {
        "table": ratings.table,
        "counts_sha256": statistics.counts_sha256,
        "num_responses": statistics.num_responses,
        "entropies": {
            counts.rule.name: entropy(counts.count_L, log_base=weights.log_base, estimator=weights.estimator)
            for counts in statistics.counts_K
        },
    }


def _fitted_weights(diagnostics: RuleDiagnostics, weights: Weights, learned: Learned) -> list[float] | None:
    """The free Bradley-Terry weight of each rule, NaN for one that was dropped; None where not fitted."""
    if learned.fit is None:
        return None
    fitted_K = [math.nan] * len(weights.rules)
    kept = kept_rules(diagnostics.statistics, min_active=weights.min_active)
    for k, weight in zip(kept, learned.fit.weights[False], strict=True):
        fitted_K[k] = weight
    return fitted_K


def _sweep(counts: LineupCounts, lineup: Lineup, *, num_keys: int) -> dict[str, Any]:
    default_K = lineup.entrants[0].weight_DK
    assert default_K is not None
    num_pairs = int(counts.corpus.all.count_E3[0, 0])

    def of_cell(cell: SweepCell, w: int) -> dict[str, Any]:
        wins, ties = map(int, counts.count_2W2[:, w].sum(axis=0))
        statistics = Tally(wins, ties, num_pairs - wins - ties).to_dict(num_keys=num_keys)
        return {
            "temperature": cell.temperature,
            "num_bins": cell.num_bins,
            **{key: statistics[key] for key in ("accuracy", "accuracy_low", "accuracy_high")},
            "largest_weight_change": float(np.abs(cell.weight_K - default_K[0]).max()),
        }

    return {
        "temperatures": sorted({cell.temperature for cell in lineup.cells}),
        "num_bins": list(dict.fromkeys(cell.num_bins for cell in lineup.cells)),
        "cells": [of_cell(*pair) for pair in zip(lineup.cells, lineup.cell_weighting_C, strict=True)],
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
        **prior_keys(rule.veto, rule.points),
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
    """Correlations of every two of the first rules, and of all rules those that say most nearly the same."""
    r_KK = differences.correlation_KK
    first_KK = r_KK[:MOST_RULES, :MOST_RULES]
    size_KK = np.nan_to_num(np.abs(r_KK))
    a_C, b_C = np.triu_indices(len(names), 1)
    size_C = size_KK[a_C, b_C]
    closest = [
        {"a": names[a_C[c]], "b": names[b_C[c]], "r": float(r_KK[a_C[c], b_C[c]])}
        for c in np.argsort(-size_C, kind="stable")[:MOST_PAIRS]
        if not math.isnan(r_KK[a_C[c], b_C[c]])
    ]
    return {
        "of": "score differences",
        "matrix": [[None if math.isnan(r) else r for r in row] for row in first_KK.tolist()],
        "closest": closest,
        "redundant": [pair for pair in closest if abs(pair["r"]) >= REDUNDANT],
        "num_redundant": int((size_C >= REDUNDANT).sum()),
    }
