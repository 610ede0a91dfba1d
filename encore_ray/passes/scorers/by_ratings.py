"""Scores that the corpus brings along as ratings: no model is needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from encore_ray.engine.pools import Resources, TaskPool, task_pool
from encore_ray.engine.work.unit_work import Write
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.quarantine import Allowance
from encore_ray.folder.reading.tables import TableUnit, column_names, count_numbers
from encore_ray.passes.scorers.data_ratings import FACTS, unit_by_ratings
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import CHOSEN, PAIRS_DIR, SIDE_SEPARATOR, rejected_column


@dataclass(frozen=True)
class RatingsScorer:
    """Ratings in the columns of pairs/; see `Scorer`.

    Attributes:
        given: the rules that say which direction is better, and on which scale.
    """

    given: RuleSet | None

    @property
    def rules(self) -> RuleSet:
        assert self.given is not None, "it is not ready"
        return self.given

    @property
    def facts(self) -> Mapping[str, Any]:
        return {**FACTS, "rules": self.rules.scoring_fingerprint}

    @property
    def tags(self) -> Mapping[str, str]:
        return {}

    @property
    def verb(self) -> str:
        return "score"

    @property
    def paths(self) -> Sequence[str]:
        return ()

    def numbers(self, run: Run) -> int:
        return count_numbers(run.path(PAIRS_DIR))

    def resumed(self, standing: Mapping[str, Any]) -> "RatingsScorer":
        return self

    def ready(self, run: Run, table: PassTable, units: Sequence[TableUnit], allowed: Allowance) -> "RatingsScorer":
        return replace(self, given=rules_of_ratings(rated_rules(units), self.given))

    def pool(self, resources: Resources, num_units: int) -> TaskPool:
        return task_pool(resources)

    @property
    def work(self) -> Callable[[], Write]:
        return partial(unit_by_ratings, self.rules)

    def end(self, run: Run, counts: Mapping[str, int], max_bad_fraction: float) -> None:
        pass


def rated_rules(units: Sequence[TableUnit]) -> list[str]:
    """Rules of which the pairs have ratings on both sides."""
    names = column_names(units[0]) if units else []
    prefix = f"{CHOSEN}{SIDE_SEPARATOR}"
    rated = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return [name for name in rated if rejected_column(name) in names]


def rules_of_ratings(rated: Sequence[str], rules: RuleSet | None) -> RuleSet:
    """The rules of a corpus that brings its own ratings, once it is certain that they are the same.

    Raises:
        ConfigError: no ratings, or no rules. DataError: a rule without ratings.
    """
    if not rated:
        raise ConfigError(
            "The job names no model, and the data carries no ratings (chosen__<rule> columns). Set `model` or `judge`."
        )
    if rules is None:
        raise ConfigError(
            f"The data carries ratings of {', '.join(rated)}: name a rules.yaml with `rules` that says which "
            "direction is better and on which scale. `encore-ray init` drafts one from the data."
        )
    missing = [name for name in rules.names if name not in rated]
    if missing:
        raise DataError(f"The data has no ratings of {', '.join(missing)}; it has {', '.join(rated)}.")
    return rules
