"""Compare: every weight scheme on the same pairs, in three rounds over the scores.

The first measures what weights are made of, the second (several passes) fits the Bradley-Terry weights to the
calibration pairs, the third counts what every scheme gets right. Apart from the fit, what units add up to is whole
numbers, so the result is the same to the last bit for any sharding and any number of workers.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from encore_ray.artifacts import Comparison, read_weights
from encore_ray.composition.compare.comparison import write_comparison
from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.lineup import line_up
from encore_ray.composition.compare.rounds import count_lineup, diagnose, learn, selection_masks, sweep_binnings
from encore_ray.composition.compare.weightings import Weightings
from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.scales.score_range import ScoreRange
from encore_ray.composition.weigh.evidence import kept_rules
from encore_ray.composition.weigh.schemes import Encore
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.config import WeighOptions
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError, DataError, ResumeRefused
from encore_ray.folder.pass_facts import read_facts
from encore_ray.folder.protocol.versions import code_digest
from encore_ray.folder.reading.score_block import ScoreBlock, read_scores
from encore_ray.folder.reading.table_rules import table_rules
from encore_ray.folder.reading.tables import TableUnit, count_numbers, table_units
from encore_ray.folder.spec import COMPARE
from encore_ray.foreign.table import table_content
from encore_ray.passes.bradley_terry import fit_bradley_terry
from encore_ray.passes.evaluate import LENGTHS, how_much_shorter
from encore_ray.passes.external_rewards import OtherRewards, check_some_known, open_beside, other_margins
from encore_ray.passes.option_facts import compare_facts, rule_facts, table_digest, unlike_weights
from encore_ray.passes.repeats import refuse_foreign_repeats
from encore_ray.passes.second_table import SecondTable, open_ratings, ratings_facts
from encore_ray.passes.selection.selected import Selection, find_selection, read_selection
from encore_ray.passes.weigh import choose_binnings, measure_ratings
from encore_ray.redaction import redact
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import COMPARISON_FILE, PAIR_ID, SCORES_DIR, SUBSET, WEIGHTS_FILE
from encore_ray.shell import option, to_paste
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, absolute

BY_TEMPERATURE = "accuracy_by_temperature/x100"  # a step is a whole number


@dataclass(frozen=True)
class Compare(Step[Comparison]):
    """Write comparison.json from a table of scores.

    Attributes:
        options: bins, temperature and guards, for all schemes; which scheme they name does not matter.
        scores: folder or file of scores, ours or made elsewhere; None for the run's.
        rules: of the scores; None: the run's, or those that stand with them.
        beside: further rewards of the same pairs by name, each a folder or file as of `compose` or `refine apply`; None
            for those that the standing comparison has.

    Raises:
        ConfigError: a further reward is called like a scheme, or the run's weights are of other options: one page would
            show both. DataError: there is no pair, a score is not finite or outside its scale, or rules differ in
            range. ResumeRefused: the comparison that stands is of other options.
    """

    spec = COMPARE
    asked = ("options", "rules", "table")
    options: WeighOptions
    scores: str | None = None
    rules: RuleSet | None = None
    beside: Mapping[str, str] | None = None

    @property
    def paths(self) -> Sequence[str]:
        ratings = [absolute(self.options.ratings)] if self.options.ratings else []
        return [*(self.beside or {}).values(), *ratings]

    def numbers(self, run: Run) -> int:
        return 4 * count_numbers(self.scores or run.path(SCORES_DIR))  # read so often, by the rounds and the fit

    def facts(self, run: Run) -> dict[str, Any] | None:
        scores = self.scores or run.path(SCORES_DIR)
        units = table_units(scores)
        rules = table_rules(units, self.rules or (run.rules if self.scores is None else None))
        if self.scores is None:
            _refuse_other_weights(run, rules, self.options)
        else:
            _refuse_unknown(run)
        selection = find_selection(run.folder) if self.scores is None else None
        return {
            "options": compare_facts(rules, self.options),
            "rules": rule_facts(rules),
            **({} if self.scores is None else {"table": redact(units[0].table_name)}),
            "scores": table_digest(scores),
            **ratings_facts(self.options),
            "selection": dict(selection.facts) if selection else None,
            "beside": {name: [uri, table_content(uri)] for name, uri in self._beside(run).items()},
            "code": code_digest(),
        }

    def standing(self, run: Run, kept: Any) -> Comparison:
        return Comparison.read(run.folder)

    def __call__(self, run: Run) -> Comparison:
        units = table_units(self.scores or run.path(SCORES_DIR))
        rules = table_rules(units, self.rules or (run.rules if self.scores is None else None))
        selection = find_selection(run.folder) if self.scores is None else None
        beside = self._beside(run)
        with (
            open_ratings(self.options, rules, scratch=run.folder) as ratings,
            open_beside(beside, units, scratch=run.folder) as others,
        ):
            for table in [*([ratings] if ratings else []), *others]:
                for sentence in table.sentences:
                    run.note(sentence)
            made = compare_units(
                units,
                rules,
                self.options,
                run.reducer,
                ratings=ratings,
                beside=beside,
                others=others,
                selection=selection,
                rules_in=None if self.scores is None else rules.place,
            )
        comparison = Comparison.of(made)
        comparison.write(run.folder)
        return comparison

    def _beside(self, run: Run) -> Mapping[str, str]:
        """The further rewards that are asked for; those of the standing comparison that are still there."""
        if self.beside is not None or self.scores is not None:
            return self.beside or {}
        with contextlib.suppress(DataError):
            lines = Comparison.read(run.folder).beside if run.folder.exists(Comparison.FILE) else []
            found = {line.name: str((line.params or {}).get("rewards", "")) for line in lines}
            return {name: uri for name, uri in found.items() if uri and Folder(uri).exists()}
        return {}

    def record(self, made: Comparison) -> Record:
        return Record(
            params=self.options.model_dump(mode="json", exclude={"scheme", "rule"}),
            metrics=made.figures(),
            artifacts={Comparison.FILE: made.to_json()},
            job_metrics=made.figures_of(self.options.scheme),
            job_curves={BY_TEMPERATURE: made.by_temperature},
            job_tags={"decision": made.decision.title} if made.decision else {},
        )


def _refuse_unknown(run: Run) -> None:
    """Refuse to replace a file of which it is not known what it was made from, in a folder that is no run's.

    Raises:
        ConfigError: it is no comparison, which are all that is ever replaced. ResumeRefused: it is one.
    """
    if not run.folder.exists(COMPARISON_FILE) or read_facts(run.folder, COMPARE):
        return
    place = run.path(COMPARISON_FILE)
    try:
        Comparison.read(run.folder)
    except DataError:
        raise ConfigError(
            f"{place} is there, and is no comparison of this version: it is not replaced. Name another "
            f"{option('output')}, or move it away."
        ) from None
    if not run.overwrite:
        raise ResumeRefused(
            f"{place} is there, and nothing tells what it was made from. Name another {option('output')}, or replace "
            f"it{to_paste(overwrite=True)}"
        )


def _refuse_other_weights(run: Run, rules: RuleSet, options: WeighOptions) -> None:
    """ConfigError where the run's weights are of other options or rules than a comparison beside them would be."""
    if not run.folder.exists(WEIGHTS_FILE):
        return
    found = unlike_weights(read_weights(run.folder), rules, options)
    if found:
        raise ConfigError(
            f"{run.path(WEIGHTS_FILE)} is of other options than this comparison would be: {found}. Leave them out to "
            "compare by those of the weights; or weigh anew with them (`encore-ray weigh --overwrite`), then compose "
            "and compare; or compare elsewhere, by --scores and --output."
        )


def compare_units(
    units: Sequence[TableUnit],
    rules: RuleSet,
    options: WeighOptions,
    reducer: Reducer,
    *,
    ratings: SecondTable | None = None,
    beside: Mapping[str, str] | None = None,
    others: Sequence[OtherRewards] = (),
    selection: Selection | None = None,
    rules_in: str | None = None,
) -> dict[str, Any]:
    """The content of comparison.json from the units of a table of scores.

    Args:
        ratings: whose entropies count, as of `open_ratings`.
        beside: where further rewards are, by name. others: these, as of `open_beside`.
        selection: of the run that the scores are of: what its rules say competes too, beside rules drawn at random.
        rules_in: the file that the rules are of, as of `refuse_scores`.
    """
    scores = units[0].table_name
    refuse_foreign_repeats(units, reducer)
    for other in others:
        refuse_foreign_repeats(list(other.units.values()), reducer)
    binnings = choose_binnings(units, rules, options, reducer)
    swept = sweep_binnings(rules, binnings)
    measure = partial(_Measure, rules, binnings, list(swept.values()), options.clip)
    diagnostics: RuleDiagnostics = reducer.total("compare", measure, units)
    statistics = diagnostics.statistics
    weights = weigh(
        statistics,
        scheme=Encore(options.temperature),
        log_base=options.log_base,
        estimator=options.estimator,
        min_active=options.min_active,
        score_range=options.score_range,
        rules_in=rules_in,
    )
    if not statistics.num_pairs:
        raise DataError(
            f"{scores} holds {statistics.num_singles:,} single responses and no pair: schemes are compared by how they "
            "tell a chosen from a rejected response."
        )
    rated = measure_ratings(ratings, rules, options, reducer)
    if rated is not None:
        rated.raise_problems()
    kept = kept_rules(statistics, min_active=options.min_active)
    fit = None
    if diagnostics.calibration.num_pairs:
        kept_set = RuleSet(rules[k] for k in kept)
        fit = fit_bradley_terry(units, kept_set, reducer, score_range=options.score_range)
    learned = learn(diagnostics, kept=kept, fit=fit)
    lineup = line_up(
        diagnostics,
        weights,
        temperature=options.temperature,
        learned=learned,
        num_lowest=options.num_rules,
        seed=options.seed,
        by_group=options.by_group,
        swept_num_bins=list(swept),
        selection=selection.facts if selection else None,
        force_consensus=options.force_consensus,
        ratings=rated,
    )
    weightings = lineup.weightings
    count = partial(_Count, rules, options.score_range, weightings, others, selection=selection, seed=options.seed)
    counts: LineupCounts = reducer.total("compare", count, units)
    comparison = write_comparison(
        diagnostics,
        counts,
        weights=weights,
        learned=learned,
        lineup=lineup,
        temperature=options.temperature,
        beside=beside,
        ratings=rated,
    )
    check_some_known(comparison["beside"], scores)
    return comparison


class _Measure:
    """Diagnostics of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet, binnings: Sequence[Binning], swept: Sequence[Sequence[Binning]], clip: bool):
        self._rules, self._binnings, self._swept, self._clip = rules, binnings, swept, clip

    def __call__(self, unit: TableUnit) -> RuleDiagnostics:
        block = read_scores(unit, self._rules, extra=[SUBSET])
        return diagnose(block, self._rules, self._binnings, swept=self._swept, clip=self._clip)


class _Count:
    """What every scheme gets right in one unit: runs in a worker."""

    def __init__(
        self,
        rules: RuleSet,
        score_range: ScoreRange,
        weightings: Weightings,
        others: Sequence[OtherRewards],
        *,
        selection: Selection | None,
        seed: int,
    ):
        self._rules, self._weightings, self._others = rules, weightings, others
        self._score_range: ScoreRange = score_range
        self._selection, self._seed = selection, seed

    def __call__(self, unit: TableUnit) -> LineupCounts:
        block = read_scores(unit, self._rules, extra=[SUBSET, *LENGTHS])
        return count_lineup(
            block,
            self._rules,
            self._weightings,
            score_range=self._score_range,
            beside=[other_margins(rewards, unit.unit, block.pair_ids) for rewards in self._others],
            shorter_N=how_much_shorter(block.table),
            masks=self._masks(block, unit.unit),
        )

    def _masks(self, block: ScoreBlock, unit: str) -> list[np.ndarray]:
        if self._selection is None:
            return []
        selected_KN = np.zeros((len(self._rules), block.table.num_rows), dtype=bool)
        if unit in self._selection.units:
            selected_KN = read_selection(self._selection.units[unit], block.table.column(PAIR_ID), self._rules)
        num_rules = self._selection.facts["num_rules"]
        return selection_masks(block, selected_KN, kept=self._weightings.kept, num_rules=num_rules, seed=self._seed)
