"""Weigh: histograms of every rule over all units, added up, turned into entropies and weights.json.

Each task counts a few units; the counts are integers and exact sums, so the driver may add them in any order and
the weights are the same to the last bit for any sharding and any number of workers. A scheme that uses labels takes
further passes, over the calibration pairs only; a Bradley-Terry fit adds floats, so another sharding moves its last
digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from encore_ray.composition.measure.binning import Binning, choose_binning
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.weigh.evidence import Learned, kept_rules
from encore_ray.composition.weigh.scheme import Scheme
from encore_ray.composition.weigh.schemes import find_scheme
from encore_ray.composition.weigh.weighing import check_statistics, weigh
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import WeighOptions
from encore_ray.engine.pools import Resources
from encore_ray.engine.reduce import reduce_units
from encore_ray.engine.run_units import Watch, ignore_progress
from encore_ray.engine.visible import Visible
from encore_ray.errors import DataError, ResumeRefused
from encore_ray.folder.provenance import refusal
from encore_ray.folder.tables import ScoreBlock, TableUnit, read_scores, stream_scores, table_rules, table_units
from encore_ray.passes.bradley_terry import fit_bradley_terry, measure_agreement
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
    binnings = choose_binnings(units, rules, options, have=have, visible=visible)
    statistics = reduce_units(
        "weigh",
        partial(_Measure, rules, binnings, options.clip),
        units,
        have=have,
        visible=visible,
        watch=watch,
    )
    scheme = find_scheme(options.scheme).of_options(options)
    learned = _learn(scheme, units, statistics, options, have, visible, watch) if scheme.uses_labels else None
    weights = weigh(
        statistics,
        scheme=scheme,
        log_base=options.log_base,
        estimator=options.estimator,
        min_active=options.min_active,
        score_range=options.score_range,
        by_group=options.by_group,
        learned=learned,
    )
    folder, name = output
    if not overwrite:
        found = _standing_weights(folder, name)
        if found and found.recipe != weights.recipe:  # the same recipe on more scores replaces its own weights
            raise ResumeRefused(refusal(folder.path(name), found.recipe, weights.recipe))
    folder.write_json(name, weights.to_dict())
    return weights


def _standing_weights(folder: Folder, name: str) -> Weights | None:
    """The weights that are there already; None where there is no file, or an empty one."""
    try:
        if not folder.exists(name) or not folder.read_bytes(name).strip():
            return None
        return Weights.from_dict(folder.read_json(name))
    except (DataError, OSError):
        raise ResumeRefused(
            f"{folder.path(name)} is there, and holds no whole weights of this version to compare with. Replace it "
            "with --overwrite, or name another file."
        ) from None


def _learn(
    scheme: Scheme,
    units: Sequence[TableUnit],
    statistics: RuleStatistics,
    options: WeighOptions,
    have: Resources,
    visible: Visible | None,
    watch: Watch,
) -> Learned:
    """What the scheme needs of the calibration pairs, of the rules that it weighs."""
    check_statistics(statistics, score_range=options.score_range)
    kept = kept_rules(statistics, min_active=options.min_active)
    rules = RuleSet(statistics.counts_K[k].rule for k in kept)
    how = {"score_range": options.score_range, "have": have, "visible": visible, "watch": watch}
    if scheme.lesson == "bradley_terry":
        fit = fit_bradley_terry(units, rules, **how)
        return Learned(fit.num_pairs, fit=fit if fit.num_pairs else None)
    agreement = measure_agreement(units, rules, **how)
    return Learned(agreement.num_pairs, accuracy_K=agreement.accuracy_K)


class _Measure:
    """Statistics of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet, binnings: Sequence[Binning], clip: bool):
        self._rules, self._binnings, self._clip = rules, binnings, clip

    def __call__(self, unit: TableUnit) -> RuleStatistics:
        with stream_scores(unit, self._rules, extra=[SUBSET]) as block:
            return measure_block(block, self._rules, self._binnings, clip=self._clip)


def measure_block(block: ScoreBlock, rules: RuleSet, binnings: Sequence[Binning], *, clip: bool) -> RuleStatistics:
    """The statistics of one unit's scores."""
    return RuleStatistics.measure(
        block.chosen_KN,
        block.rejected_KN,
        has_rejected_N=block.has_rejected_N,
        rules=rules,
        binnings=binnings,
        pair_ids=block.pair_ids,
        keys=block.keys,
        subsets=block.subsets,
        clip=clip,
    )


def choose_binnings(
    units: Sequence[TableUnit], rules: RuleSet, options: WeighOptions, *, have: Resources, visible: Visible | None
) -> list[Binning]:
    """The cells of each rule; observed ends take a pass over the scores."""
    if options.edges == "observed":
        return _observed_binnings(units, rules, options, have, visible)
    return [choose_binning(rule, num_bins=options.num_bins, levels=options.levels) for rule in rules]


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
