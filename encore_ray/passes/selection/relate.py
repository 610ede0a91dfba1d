"""Relate: how much each rule matters to each pair, unit by unit, resumable; by a rule adapter, a judge or an API."""

from collections.abc import Sequence
from dataclasses import dataclass

from encore_ray.errors import ConfigError
from encore_ray.folder.reading.table_rules import table_rules
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.spec import RELEVANCE, SELECT
from encore_ray.passes.scorers.by_api import ApiScorer
from encore_ray.passes.scorers.by_model import ModelScorer
from encore_ray.passes.scorers.model.planned import JudgeModel
from encore_ray.passes.scorers.scorer import Scorer, fill_table
from encore_ray.passes.selection.api_relevance import ApiRelevanceJudge
from encore_ray.passes.selection.relevance import AdapterModel, RelevanceJudgeModel, RelevanceWriter, check_same_rules
from encore_ray.passes.selection.select import SelectionMethod, check_method
from encore_ray.run import Run
from encore_ray.schema import SCORES_DIR
from encore_ray.step import Record, Step


@dataclass(frozen=True)
class Relate(Step[dict[str, int]]):
    """Write relevance/ of all units of pairs/; resumable. Makes counts: rows, scored, quarantined.

    Attributes:
        scorer: who tells how much a rule matters.
        max_bad_fraction: share of pairs without relevances past which the pass fails.

    Raises:
        ResumeRefused: the folder holds relevances made by another model or option.
    """

    spec = RELEVANCE
    scorer: Scorer
    max_bad_fraction: float

    @property
    def paths(self) -> Sequence[str]:
        return self.scorer.paths

    def numbers(self, run: Run) -> int | None:
        return self.scorer.numbers(run)

    def __call__(self, run: Run) -> dict[str, int]:
        _, counts = fill_table(run, RELEVANCE, self.scorer, max_bad_fraction=self.max_bad_fraction)
        return counts

    def record(self, made: dict[str, int]) -> Record:
        return Record(metrics=made, step=made["rows"])


def judge_of_relevance(scorer: Scorer) -> Scorer:
    """The judge of the ratings, asked about relevance instead.

    Raises:
        ConfigError: the scorer is no judge.
    """
    if isinstance(scorer, ApiScorer):
        judge = ApiRelevanceJudge.of(scorer.judge)
        return ApiScorer(judge, RelevanceWriter(judge.rules), "relevance")
    if isinstance(scorer, ModelScorer) and isinstance(scorer.model, JudgeModel):
        model = RelevanceJudgeModel.of(scorer.model)
        return ModelScorer(model, RelevanceWriter(model.rules), "relevance")
    raise ConfigError("Only a judge can be asked how much a rule matters to a prompt.")


def adapter_scorer(model: AdapterModel) -> Scorer:
    """A rule adapter that reads pairs."""
    return ModelScorer(model, RelevanceWriter(model.rules), "relevance")


def refuse_before_reading(run: Run, options: SelectionMethod, model: AdapterModel) -> None:
    """Refuse what `Select` would refuse of an adapter's relevances, before any pair is read."""
    rules = model.rules
    if run.folder.exists(SCORES_DIR):
        rules = table_rules(table_units(run.path(SCORES_DIR)), run.rules)
        check_same_rules(model, rules)
    check_method(options, rules)
    run.table(SELECT).is_of(options.facts(rules, by_relevance=True), overwrite=run.overwrite)
