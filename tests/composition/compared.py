"""Comparisons of scores in memory, cut into units in any way, as `encore_ray.passes.compare` makes them of tables."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encore_ray.composition.compare.comparison import write_comparison
from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.lineup import line_up
from encore_ray.composition.hashing.keys import hash_keys, is_heldout
from encore_ray.composition.measure.binning import choose_binning
from encore_ray.composition.measure.differences import signed_differences
from encore_ray.composition.measure.score_range import ScoreRange
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.select.selection import random_rules
from encore_ray.composition.weigh.bradley_terry import Terms, fit
from encore_ray.composition.weigh.evidence import Learned, kept_rules
from encore_ray.composition.weigh.schemes import Encore
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.rules import RuleSet

SWEPT = (5, 20)


def compare(
    chosen_KN: ArrayLike,
    rejected_KN: ArrayLike,
    *,
    rules: RuleSet,
    cuts: Sequence[int] = (),
    keys: Sequence[str] | None = None,
    subsets: Sequence[str | None] | None = None,
    shorter_N: ArrayLike | None = None,
    temperature: float = 2.0,
    min_active: float | None = None,
    score_range: ScoreRange = "declared",
    by_group: bool = False,
    beside: Mapping[str, ArrayLike] | None = None,
    mask_KN: ArrayLike | None = None,
) -> dict[str, Any]:
    """The content of comparison.json; a pair without a key of its own is `p` and its row number.

    Args:
        cuts: row numbers at which a new unit begins.
        beside: margins of rewards made elsewhere, by name.
        mask_KN: the selected rules of each pair, where some are.
    """
    chosen_KN, rejected_KN = np.asarray(chosen_KN), np.asarray(rejected_KN)
    n = chosen_KN.shape[1]
    keys = keys or [f"p{row}" for row in range(n)]
    hash_N, heldout_N = hash_keys(keys), is_heldout(keys)
    shorter_N = np.full(n, np.nan) if shorter_N is None else np.asarray(shorter_N, dtype=np.float64)
    binnings = [choose_binning(rule) for rule in rules]
    units = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, n], strict=True)]

    def measure(unit: slice) -> RuleDiagnostics:
        has_N = np.ones(len(keys[unit]), dtype=bool)
        columns = {"chosen_KN": chosen_KN[:, unit], "rejected_KN": rejected_KN[:, unit]}
        statistics = RuleStatistics.measure(
            *columns.values(),
            rules=rules,
            binnings=binnings,
            has_rejected_N=has_N,
            pair_ids=keys[unit],
            keys=keys[unit],
            subsets=None if subsets is None else subsets[unit],
        )
        return RuleDiagnostics.measure(
            statistics,
            **columns,
            rules=rules,
            binnings=binnings,
            swept=[[choose_binning(rule, num_bins=num_bins) for rule in rules] for num_bins in SWEPT],
            has_rejected_N=has_N,
            hash_N=hash_N[unit],
            heldout_N=heldout_N[unit],
        )

    diagnostics = reduce(add, map(measure, units))
    d_KN = signed_differences(chosen_KN, rejected_KN, rules=rules, score_range=score_range)
    kept = kept_rules(diagnostics.statistics, min_active=min_active)
    calibration_KN = d_KN[kept][:, ~heldout_N]
    agreement = diagnostics.calibration
    fitted = fit(lambda points: [Terms.of(calibration_KN, point_K) for point_K in points], num_rules=len(kept))
    learned = Learned(
        agreement.num_pairs,
        accuracy_K=tuple(agreement.accuracy_K[k] for k in kept) if agreement.accuracy_K else None,
        fit=fitted if agreement.num_pairs else None,
    )
    weights = weigh(diagnostics.statistics, scheme=Encore(temperature), min_active=min_active, score_range=score_range)
    lineup = line_up(
        diagnostics,
        weights,
        temperature=temperature,
        learned=learned,
        num_lowest=None,
        seed=0,
        by_group=by_group,
        swept_num_bins=SWEPT,
        selection=None if mask_KN is None else {"num_rules": int(np.asarray(mask_KN)[:, 0].sum()), "by": "scores"},
    )
    masks = []
    if mask_KN is not None:
        random_KN = random_rules(hash_N, lineup.entrants[-1].params["num_rules"], num_rules=len(rules), seed=0)
        masks = [np.asarray(mask_KN), np.asarray(mask_KN), random_KN]

    def count(unit: slice) -> LineupCounts:
        return LineupCounts.measure(
            d_KN[:, unit],
            weightings=lineup.weightings,
            hash_N=hash_N[unit],
            heldout_N=heldout_N[unit],
            subsets=None if subsets is None else subsets[unit],
            beside=[np.asarray(margin_N)[unit] for margin_N in (beside or {}).values()],
            shorter_N=shorter_N[unit],
            masks=[one_KN[:, unit] for one_KN in masks],
        )

    counts = reduce(add, map(count, units))
    return write_comparison(
        diagnostics,
        counts,
        weights=weights,
        learned=learned,
        lineup=lineup,
        temperature=temperature,
        beside={name: f"{name}/rewards" for name in beside or {}},
    )
