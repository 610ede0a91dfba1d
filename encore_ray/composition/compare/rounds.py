"""The three rounds of a comparison, as functions of scores and of what was measured of all of them.

First `diagnose` every row, and add up. Then fit the Bradley-Terry weights: `learn` puts them beside the accuracies.
Then `line_up` the schemes, `count_lineup` every row, and add up: `write_comparison` is the result.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.weightings import Weightings
from encore_ray.composition.hashing.keys import hash_keys, is_heldout
from encore_ray.composition.measure.differences import signed_differences, signed_shares
from encore_ray.composition.measure.scores import PairScores, measure_statistics
from encore_ray.composition.measure.statistics import Subsets
from encore_ray.composition.measure.vetoes import BrokenRules
from encore_ray.composition.scales.binning import Binning, choose_binning
from encore_ray.composition.scales.score_range import ScoreRange
from encore_ray.composition.select.selection import random_rules
from encore_ray.composition.weigh.bradley_terry import BradleyTerryFit
from encore_ray.composition.weigh.evidence import Learned
from encore_ray.rules import RuleSet

SWEPT_NUM_BINS = (5, 10, 20, 50)


def sweep_binnings(rules: RuleSet, binnings: Sequence[Binning]) -> dict[int, list[Binning]]:
    """Other numbers of equal bins between the ends in use, but for one that all rules have already."""
    return {
        num_bins: [
            choose_binning(
                rule, num_bins=num_bins, observed=None if binning.levels is not None else (binning.lo, binning.hi)
            )
            for rule, binning in zip(rules, binnings, strict=True)
        ]
        for num_bins in SWEPT_NUM_BINS
        if any(binning.num_bins != num_bins for binning in binnings)
    }


def diagnose(
    scores: PairScores,
    rules: RuleSet,
    binnings: Sequence[Binning],
    *,
    swept: Sequence[Sequence[Binning]],
    clip: bool,
) -> RuleDiagnostics:
    """Round one, of some rows."""
    return RuleDiagnostics.measure(
        measure_statistics(scores, rules, binnings, clip=clip, with_products=True, compared="pairs"),
        chosen_KN=scores.chosen_KN,
        rejected_KN=scores.rejected_KN,
        rules=rules,
        binnings=binnings,
        swept=swept,
        has_rejected_N=scores.has_rejected_N,
        hash_N=hash_keys(scores.keys),
        heldout_N=is_heldout(scores.keys),
    )


def learn(diagnostics: RuleDiagnostics, *, kept: Sequence[int], fit: BradleyTerryFit | None) -> Learned:
    """Round two: what labels say of the kept rules.

    Args:
        fit: to the calibration pairs; None where there are none.
    """
    accuracy_K = diagnostics.calibration.accuracy_K
    return Learned(
        diagnostics.calibration.num_pairs,
        accuracy_K=None if accuracy_K is None else tuple(accuracy_K[k] for k in kept),
        fit=fit,
    )


def count_lineup(
    scores: PairScores,
    rules: RuleSet,
    weightings: Weightings,
    *,
    score_range: ScoreRange,
    beside: Sequence[NDArray[np.float64]] = (),
    shorter_N: NDArray[np.float64],
    masks: Sequence[NDArray[np.bool_]] = (),
) -> LineupCounts:
    """Round three, of some rows; single responses are left out.

    Args:
        beside, shorter_N, masks: of all N rows, as `LineupCounts.measure` takes them of the pairs.
    """
    pair_N = scores.has_rejected_N
    chosen_KP, rejected_KP = ([score_N[pair_N] for score_N in side] for side in (scores.chosen_KN, scores.rejected_KN))
    soft_margins = []
    if weightings.soft_mins:
        shares = [signed_shares(side_KP, rules=rules) for side_KP in (chosen_KP, rejected_KP)]
        soft_margins = [soft.rewards(shares[0]) - soft.rewards(shares[1]) for soft in weightings.soft_mins]
    subsets = None if scores.subsets is None else Subsets.of(scores.subsets)
    return LineupCounts.measure(
        signed_differences(chosen_KP, rejected_KP, rules=rules, score_range=score_range),
        weightings=weightings,
        hash_N=hash_keys(scores.keys)[pair_N],
        heldout_N=is_heldout(scores.keys)[pair_N],
        subsets=None if subsets is None else Subsets(subsets.names, subsets.code_N[pair_N]),
        beside=[margin_N[pair_N] for margin_N in beside],
        shorter_N=shorter_N[pair_N],
        masks=[mask_KN[:, pair_N] for mask_KN in masks],
        soft_margins=soft_margins,
        broken=BrokenRules.of(
            rules.rules, chosen_KN=chosen_KP, rejected_KN=rejected_KP, has_rejected_N=np.ones(pair_N.sum(), dtype=bool)
        ),
    )


def selection_masks(
    scores: PairScores, selected_KN: NDArray[np.bool_], *, kept: Sequence[int], num_rules: int, seed: int
) -> list[NDArray[np.bool_]]:
    """The rules that count for each weighting that a selection brings, in the order of `SELECTED`.

    Args:
        selected_KN: of each row; none of a row that was not selected for.
        kept, num_rules: the rules that may have a weight; how many of them are drawn at random for each row.
    """
    random_KN = np.zeros_like(selected_KN)
    random_KN[list(kept)] = random_rules(hash_keys(scores.pair_ids), num_rules, num_rules=len(kept), seed=seed)
    return [selected_KN, selected_KN, random_KN]
