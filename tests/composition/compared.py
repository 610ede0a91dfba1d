"""Comparisons of scores in memory, cut into units in any way, as `encore_ray.passes.compare` makes them of tables."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encore_ray.composition.compare.comparison import write_comparison
from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.lineup import line_up
from encore_ray.composition.compare.rounds import count_lineup, diagnose, learn, selection_masks
from encore_ray.composition.measure.scores import PairScores
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.composition.scales.score_range import ScoreRange
from encore_ray.composition.weigh.bradley_terry import Terms, fit
from encore_ray.composition.weigh.evidence import kept_rules
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
    shorter_N = np.full(n, np.nan) if shorter_N is None else np.asarray(shorter_N, dtype=np.float64)
    binnings = [choose_binning(rule) for rule in rules]
    units = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, n], strict=True)]

    def scores_of(unit: slice) -> PairScores:
        return PairScores(
            chosen_KN=chosen_KN[:, unit],
            rejected_KN=rejected_KN[:, unit],
            has_rejected_N=np.ones(len(keys[unit]), dtype=bool),
            pair_ids=keys[unit],
            keys=keys[unit],
            subsets=None if subsets is None else subsets[unit],
        )

    swept = [[choose_binning(rule, num_bins=num_bins) for rule in rules] for num_bins in SWEPT]
    diagnostics = reduce(add, (diagnose(scores_of(unit), rules, binnings, swept=swept, clip=False) for unit in units))
    kept = kept_rules(diagnostics.statistics, min_active=min_active)
    d_KN = scores_of(slice(None)).calibration_differences(rules=rules, score_range=score_range)[kept]
    fitted = fit(lambda points: [Terms.of(d_KN, point_K) for point_K in points], num_rules=len(kept))
    learned = learn(diagnostics, kept=kept, fit=fitted if diagnostics.calibration.num_pairs else None)
    weights = weigh(diagnostics.statistics, scheme=Encore(temperature), min_active=min_active, score_range=score_range)
    num_selected = None if mask_KN is None else int(np.asarray(mask_KN)[:, 0].sum())
    lineup = line_up(
        diagnostics,
        weights,
        temperature=temperature,
        learned=learned,
        num_lowest=None,
        seed=0,
        by_group=by_group,
        swept_num_bins=SWEPT,
        selection=None if num_selected is None else {"num_rules": num_selected, "by": "scores"},
    )

    def count(unit: slice) -> LineupCounts:
        masks = []
        if mask_KN is not None:
            selected_KN, num_rules = np.asarray(mask_KN)[:, unit], lineup.entrants[-1].params["num_rules"]
            masks = selection_masks(scores_of(unit), selected_KN, kept=kept, num_rules=num_rules, seed=0)
        return count_lineup(
            scores_of(unit),
            rules,
            lineup.weightings,
            score_range=score_range,
            beside=[np.asarray(margin_N)[unit] for margin_N in (beside or {}).values()],
            shorter_N=shorter_N[unit],
            masks=masks,
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
