"""Weigh: histograms of every rule over all units, added up, turned into entropies and weights.json.

Each task counts a few units; the counts are integers and exact sums, so the driver may add them in any order and
the weights are the same to the last bit for any sharding and any number of workers. A scheme that uses labels takes
further passes, over the calibration pairs only; a Bradley-Terry fit adds floats, so another sharding moves its last
digits.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

from encore_ray.artifacts import WeightsFile, read_weights
from encore_ray.composition.compare.comparison import is_of_weights
from encore_ray.composition.measure.scores import ScoreExtremes, measure_statistics
from encore_ray.composition.measure.side_by_side import Compared
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import Binning, choose_binning
from encore_ray.composition.weigh.evidence import Learned, kept_rules
from encore_ray.composition.weigh.rated import Ratings
from encore_ray.composition.weigh.scheme import Scheme
from encore_ray.composition.weigh.schemes import find_scheme
from encore_ray.composition.weigh.weighing import check_statistics, weigh
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import WeighOptions
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError, DataError, ResumeRefused
from encore_ray.folder.protocol.versions import code_digest
from encore_ray.folder.provenance import is_same
from encore_ray.folder.reading.score_block import read_scores, stream_scores
from encore_ray.folder.reading.table_rules import carried_rules, table_rules
from encore_ray.folder.reading.tables import TableUnit, count_numbers, table_units
from encore_ray.folder.spec import COMPARE, COMPOSE, PASSES, WEIGH, downstream
from encore_ray.passes.bradley_terry import fit_bradley_terry, measure_agreement
from encore_ray.passes.option_facts import rule_facts, table_digest, weigh_facts
from encore_ray.passes.repeats import refuse_foreign_repeats
from encore_ray.passes.second_table import SecondTable, open_ratings, ratings_facts
from encore_ray.redaction import redact
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import COMPARISON_FILE, REWARDS_DIR, SCORES_DIR, SUBSET, WEIGHTS_FILE
from encore_ray.shell import to_paste
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, absolute

_WEIGHTS_HAVE = frozenset({"schema_version", "scheme", "rules"})  # in every version


@dataclass(frozen=True)
class Weigh(Step[Weights]):
    """Compute weights from a table of scores and write them.

    Attributes:
        options: scheme, temperature, bins and guards.
        scores: folder or file of scores, ours or made elsewhere; None for the run's.
        rules: of the scores; None: the run's, or those that stand with them.
        output: name of the weights file in the folder.

    Raises:
        DataError: a score is not finite or outside its scale, or rules differ in range. ResumeRefused: other weights
            are there already.
    """

    spec = WEIGH
    asked = ("options", "rules")
    options: WeighOptions
    scores: str | None = None
    rules: RuleSet | None = None
    output: str = WEIGHTS_FILE

    @property
    def paths(self) -> Sequence[str]:
        return [absolute(self.options.ratings)] if self.options.ratings else []

    def numbers(self, run: Run) -> int:
        return count_numbers(self.scores or run.path(SCORES_DIR))

    def facts(self, run: Run) -> dict[str, Any] | None:
        if self.scores is not None or self.output != WEIGHTS_FILE:  # not the run's own weights
            return None
        rules = table_rules(table_units(run.path(SCORES_DIR)), self.rules or run.rules)
        return {
            "options": weigh_facts(rules, self.options),
            "rules": rule_facts(rules),
            "scores": table_digest(run.path(SCORES_DIR)),
            **ratings_facts(self.options),
            "code": code_digest(),
        }

    def standing(self, run: Run, kept: Any) -> Weights:
        return read_weights(run.folder)

    def __call__(self, run: Run) -> Weights:
        units = table_units(self.scores or run.path(SCORES_DIR))
        rules = table_rules(units, self.rules or (run.rules if self.scores is None else None))
        standing = _standing_weights(run.folder, self.output, own=self.scores is None, overwrite=run.overwrite)
        with open_ratings(self.options, rules, scratch=run.folder) as ratings:
            for sentence in ratings.sentences if ratings else ():
                run.note(sentence)
            rules_in = None if self.scores is None else rules.place  # the run's are a copy, not what one corrects
            weights = weigh_units(units, rules, self.options, run.reducer, ratings=ratings, rules_in=rules_in)
        if not run.overwrite:  # the same facts on more scores replace their own weights
            is_same(run.path(self.output), standing.facts if standing else None, weights.facts)
        if self.scores is None:
            _undo_others(run, weights)
        run.folder.write_json(self.output, weights.to_dict())
        return weights

    def record(self, made: Weights) -> Record:
        weights = WeightsFile.of_weights(made)
        return Record(
            params=self.options.model_dump(mode="json"),
            metrics=weights.figures(),
            artifacts={WEIGHTS_FILE: weights.to_json()},
            job_tags={"weights": made.fingerprint[:16]},
            composer=weights.content,
        )


def weigh_units(
    units: Sequence[TableUnit],
    rules: RuleSet,
    options: WeighOptions,
    reducer: Reducer,
    *,
    ratings: SecondTable | None = None,
    rules_in: str | None = None,
) -> Weights:
    """Weights from the units of a table of scores, and of ratings where the options name any, as of `open_ratings`.

    Args:
        rules_in: the file that the rules are of, as of `refuse_scores`.

    Raises:
        DataError: a table made elsewhere repeats a pair_id, or holds what cannot be weighed.
    """
    refuse_foreign_repeats(units, reducer)
    binnings = choose_binnings(units, rules, options, reducer)
    scheme = find_scheme(options.scheme).of_options(options)
    measure = partial(_Measure, rules, binnings, options.clip)
    statistics: RuleStatistics = reducer.total("weigh", partial(measure, scheme.needs_consensus, None), units)
    if not statistics.num_pairs:  # how rules agree on responses to one prompt is all that can be told of them
        statistics = reducer.total("weigh", partial(measure, True, "siblings"), units)
    learned = None
    if scheme.uses_labels:
        learned = _learn(scheme, units, statistics, options, reducer, rules_in=rules_in)
    return weigh(
        statistics,
        scheme=scheme,
        log_base=options.log_base,
        estimator=options.estimator,
        min_active=options.min_active,
        score_range=options.score_range,
        by_group=options.by_group,
        learned=learned,
        ratings=measure_ratings(ratings, rules, options, reducer),
        rules_in=rules_in,
    )


def count_scores(units: Iterable[TableUnit], rules: RuleSet, options: WeighOptions) -> RuleStatistics:
    """What a scheme without labels weighs by, counted on the declared scales and in this process.

    Raises:
        ConfigError: as of `choose_binning`.
    """
    binnings = [choose_binning(rule, num_bins=options.num_bins, levels=options.levels) for rule in rules]
    return reduce(add, map(_Measure(rules, binnings, options.clip, False, None), units))


def measure_ratings(
    table: SecondTable | None, rules: RuleSet, options: WeighOptions, reducer: Reducer
) -> Ratings | None:
    """What the entropies are of where there is a second table; None where there is none.

    Its rules are those that stand with it, so that ratings may have another scale than scores; else the scores' own.

    Raises:
        DataError: it lacks a rule or a column of one, or holds what cannot be weighed.
    """
    if table is None or not options.ratings:
        return None
    units = table.units
    carried = carried_rules(units[0]) if units else None
    missing = [name for name in rules.names if carried is not None and name not in carried.names]
    if carried is not None and missing:
        raise DataError(
            f"weigh.ratings: {units[0].table_name} has no rule {', '.join(missing)}, of which there are scores. "
            "Ratings and scores must be of the same rules."
        )
    rated = rules if carried is None else RuleSet(carried[carried.names.index(name)] for name in rules.names)
    rated = table_rules(units, rated)
    refuse_foreign_repeats(units, reducer)
    binnings = choose_binnings(units, rated, options, reducer)
    measure = partial(_Measure, rated, binnings, options.clip, False, None)
    statistics: RuleStatistics = reducer.total("ratings", measure, units)
    if not statistics.num_responses:
        raise DataError(f"weigh.ratings: {units[0].table_name} holds no rating.")
    return Ratings(redact(absolute(options.ratings)), statistics)


def _undo_others(run: Run, weights: Weights) -> None:
    """Rewards and comparisons of other weights are not the run's any more: they go first, with all made of them."""
    standing = _ended(run.folder)
    composed = run.folder.child(REWARDS_DIR)
    if composed.exists(WEIGHTS_FILE) and not _composes_alike(_content(composed, WEIGHTS_FILE), weights):
        run.table(COMPOSE).start_over()
    if not is_of_weights(_content(run.folder, COMPARISON_FILE), weights):
        run.folder.delete(COMPARISON_FILE)
    still = _ended(run.folder)
    undone = [name for name in standing if name not in still]
    if undone:
        *others, last = undone
        named = f"{', '.join(others)} and {last} were" if others else f"{last} was"
        run.note(f"weigh: {named} of other weights, and {'are' if others else 'is'} undone")


def _ended(run: Folder) -> list[str]:
    """The passes that have ended, of those that may be of weights."""
    of_weights = [one for one in PASSES if one in (COMPOSE, *downstream(COMPOSE.name), COMPARE) and one.end_files]
    return [one.name for one in of_weights if all(map(run.exists, one.end_files))]


def _composes_alike(content: Any, weights: Weights) -> bool:
    """Whether rewards of those weights are rewards of these: an earlier version gave the figures other intervals."""
    try:
        composed = Weights.from_dict(content)
    except DataError:
        return False
    return (composed.fingerprint, composed.facts) == (weights.fingerprint, weights.facts)


def _content(folder: Folder, name: str) -> Any:
    """A JSON file; None where it is missing or damaged: then it is of no weights."""
    with contextlib.suppress(DataError):
        return folder.read_json(name)
    return None


def _standing_weights(folder: Folder, name: str, *, own: bool, overwrite: bool) -> Weights | None:
    """The weights that are there already; None where there are none, or others are to be replaced.

    Args:
        own: of a run folder, where nobody else writes. Elsewhere only weights are ever replaced.
    """
    try:
        if not folder.exists(name):
            return None
        if folder.info(name)["type"] == "directory":
            raise ConfigError(f"{folder.path(name)} is a folder. Name a file for the weights.")
        if not folder.read_bytes(name).strip():
            return None
        if not own and not _is_weights(_content(folder, name)):
            raise ConfigError(
                f"{folder.path(name)} is there, and is no weights file: it is not replaced. Name another file, or move "
                "it away."
            )
        return None if overwrite else read_weights(folder, name)
    except (DataError, OSError):
        raise ResumeRefused(
            f"{folder.path(name)} is there, and holds no whole weights of this version to compare with. Name another "
            f"file, or replace it{to_paste(overwrite=True)}"
        ) from None


def _is_weights(content: Any) -> bool:
    """Whether it is what `weigh` writes, of any version, if it is whole or not."""
    return isinstance(content, dict) and {*content} >= _WEIGHTS_HAVE


def _learn(
    scheme: Scheme,
    units: Sequence[TableUnit],
    statistics: RuleStatistics,
    options: WeighOptions,
    reducer: Reducer,
    *,
    rules_in: str | None,
) -> Learned:
    """What the scheme needs of the calibration pairs, of the rules that it weighs."""
    check_statistics(statistics, score_range=options.score_range, rules_in=rules_in)
    kept = kept_rules(statistics, min_active=options.min_active)
    rules = RuleSet(statistics.counts_K[k].rule for k in kept)
    if scheme.lesson == "bradley_terry":
        fit = fit_bradley_terry(units, rules, reducer, score_range=options.score_range)
        return Learned.of_fit(fit)
    agreement = measure_agreement(units, rules, reducer, score_range=options.score_range)
    return Learned.of_agreement(agreement)


class _Measure:
    """Statistics of one unit: runs in a worker."""

    def __init__(
        self,
        rules: RuleSet,
        binnings: Sequence[Binning],
        clip: bool,
        with_products: bool,
        compared: Compared | None,
    ):
        self._rules, self._binnings, self._clip = rules, binnings, clip
        self._with_products = with_products
        self._compared: Compared | None = compared

    def __call__(self, unit: TableUnit) -> RuleStatistics:
        with stream_scores(unit, self._rules, extra=[SUBSET]) as block:
            return measure_statistics(
                block,
                self._rules,
                self._binnings,
                clip=self._clip,
                with_products=self._with_products,
                compared=self._compared,
            )


def choose_binnings(
    units: Sequence[TableUnit], rules: RuleSet, options: WeighOptions, reducer: Reducer
) -> list[Binning]:
    """The cells of each rule; observed ends take a pass over the scores."""
    if options.edges == "observed":
        extremes: ScoreExtremes = Reducer(reducer.engine).total("range", partial(_MeasureExtremes, rules), units)
        return extremes.binnings(rules, num_bins=options.num_bins)
    return [choose_binning(rule, num_bins=options.num_bins, levels=options.levels) for rule in rules]


class _MeasureExtremes:
    """Extremes of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet):
        self._rules = rules

    def __call__(self, unit: TableUnit) -> ScoreExtremes:
        return ScoreExtremes.of(read_scores(unit, self._rules))
