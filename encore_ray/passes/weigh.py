"""Weigh: histograms of every rule over all units, added up, turned into entropies and weights.json.

Each task counts a few units; the counts are integers and exact sums, so the driver may add them in any order and
the weights are the same to the last bit for any sharding and any number of workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from encore_ray.composition.binning import Binning, choose_binning
from encore_ray.composition.statistics import RuleStatistics
from encore_ray.composition.weighing import weigh
from encore_ray.composition.weights import Weights
from encore_ray.config import WeighOptions
from encore_ray.errors import DataError, ResumeRefused
from encore_ray.passes.committed import Watch, ignore_progress
from encore_ray.passes.facts import refusal
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import Resources
from encore_ray.passes.reduce import reduce_units
from encore_ray.passes.tables import TableUnit, read_scores, table_rules, table_units
from encore_ray.rules import RuleSet
from encore_ray.schema import SUBSET
from encore_ray.storage import Folder


def weigh_scores(
    scores: str,
    output: tuple[Folder, str],
    *,
    options: WeighOptions,
    have: Resources,
    rules: RuleSet | None = None,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> Weights:
    """Compute weights from a table of scores and write them.

    Args:
        scores: folder or file of scores, ours or made elsewhere.
        output: folder and name of the weights file.
        options: scheme, temperature, bins and guards.
        have: resources of the cluster.
        rules: of the scores; None: those that our score pass stored with them.
        visible: what each node must see.
        overwrite: replace different weights that are there.
        watch: told of the progress in pairs.

    Raises:
        DataError: a score is not finite or outside its scale, or rules differ in range. ResumeRefused: other weights
            are there already.
    """
    units = table_units(scores)
    rules = table_rules(units, rules)
    if options.edges == "observed":
        binnings = _observed_binnings(units, rules, options, have, visible)
    else:
        binnings = [choose_binning(rule, num_bins=options.num_bins, levels=options.levels) for rule in rules]
    statistics = reduce_units(
        "weigh",
        partial(_Measure, rules, binnings, options.clip),
        units,
        have=have,
        visible=visible,
        watch=watch,
    )
    weights = weigh(
        statistics,
        scheme=options.scheme,
        temperature=options.temperature,
        log_base=options.log_base,
        estimator=options.estimator,
        min_active=options.min_active,
        score_range=options.score_range,
    )
    folder, name = output
    if folder.exists(name) and folder.read_bytes(name).strip() and not overwrite:
        found = Weights.from_dict(folder.read_json(name), where=folder.path(name))
        if found.recipe != weights.recipe:  # the same recipe on more scores replaces its own weights
            raise ResumeRefused(refusal(folder.path(name), found.recipe, weights.recipe))
    folder.write_json(name, weights.to_dict())
    return weights


class _Measure:
    """Statistics of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet, binnings: Sequence[Binning], clip: bool):
        self._rules, self._binnings, self._clip = rules, binnings, clip

    def __call__(self, unit: TableUnit) -> RuleStatistics:
        block = read_scores(unit, self._rules, extra=[SUBSET])
        return RuleStatistics.measure(
            block.chosen_KN,
            block.rejected_KN,
            has_rejected_N=block.has_rejected_N,
            rules=self._rules,
            binnings=self._binnings,
            pair_ids=block.pair_ids,
            keys=block.keys,
            subsets=block.subsets,
            clip=self._clip,
        )


@dataclass(frozen=True)
class _Extremes:
    """Smallest and largest finite score of every rule; merges with +."""

    low_K: np.ndarray
    high_K: np.ndarray

    def __add__(self, other: "_Extremes") -> "_Extremes":
        return _Extremes(np.minimum(self.low_K, other.low_K), np.maximum(self.high_K, other.high_K))


class _MeasureExtremes:
    """Extremes of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet):
        self._rules = rules

    def __call__(self, unit: TableUnit) -> _Extremes:
        block = read_scores(unit, self._rules)
        both = [np.concatenate(sides) for sides in zip(block.chosen_KN, block.rejected_KN, strict=True)]
        finite = [scores[np.isfinite(scores)] for scores in both]
        return _Extremes(
            np.array([scores.min(initial=np.inf) for scores in finite]),
            np.array([scores.max(initial=-np.inf) for scores in finite]),
        )


def _observed_binnings(
    units: Sequence[TableUnit], rules: RuleSet, options: WeighOptions, have: Resources, visible: Visible | None
) -> list[Binning]:
    extremes = reduce_units(
        "range", partial(_MeasureExtremes, rules), units, have=have, visible=visible, watch=ignore_progress
    )
    constant = [rule.name for rule, wide in zip(rules, extremes.low_K < extremes.high_K, strict=True) if not wide]
    if constant:
        raise DataError(
            f"Bins over the observed range need two different scores; {', '.join(constant)} has one value or none. "
            "Use the declared scales."
        )
    return [
        choose_binning(rule, num_bins=options.num_bins, observed=(float(low), float(high)))
        for rule, low, high in zip(rules, extremes.low_K, extremes.high_K, strict=True)
    ]
