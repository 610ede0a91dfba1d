"""Scores and relevances by a judge behind an OpenAI-compatible API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from encore_ray.engine.pools import ActorPool, Resources
from encore_ray.engine.unit_work import Write
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.tables import TableUnit
from encore_ray.passes.scorers.api.forward import unit_by_api
from encore_ray.passes.scorers.api.judge import POOL, ApiJudge, estimate_calls
from encore_ray.passes.scorers.outputs import OutputWriter
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.rules import RuleSet
from encore_ray.run import Run


def rate_by_api(judge: ApiJudge) -> "ApiScorer":
    """A judge that makes scores/."""
    return ApiScorer(judge, ScoreWriter(judge.rules), "rate")


@dataclass(frozen=True)
class ApiScorer:
    """A judge that makes a table; see `Scorer`.

    Attributes:
        judge: whom to ask.
        writer: keeps what is wanted of its answers.
        verb: what the terminal calls it.
    """

    judge: ApiJudge
    writer: OutputWriter
    verb: str

    @property
    def rules(self) -> RuleSet:
        return self.judge.rules

    @property
    def facts(self) -> Mapping[str, Any]:
        return {**self.judge.facts, "rules": self.judge.rules.scoring_fingerprint}

    @property
    def tags(self) -> Mapping[str, str]:
        return {}

    @property
    def paths(self) -> Sequence[str]:
        return ()

    def numbers(self, run: Run) -> int:
        return 0  # it waits for the network, wherever it is

    def ready(self, run: Run, table: PassTable, units: Sequence[TableUnit]) -> Self:
        run.tracked.log_params(self.judge.facts)
        if units:
            run.note(f"{self.verb} by {self.judge.facts['model']}: {estimate_calls(self.judge, units)}")
        return self

    def pool(self, resources: Resources, num_units: int) -> ActorPool:
        return POOL

    @property
    def work(self) -> Callable[[], Write]:
        return partial(unit_by_api, self.judge, self.writer)

    def end(self, run: Run, counts: Mapping[str, int], max_bad_fraction: float) -> None:
        requests, known = counts.get("requests", 0), counts.get("known_answers", 0)
        run.note(f"{self.verb}: {requests:,} requests, {known:,} answers known before")
