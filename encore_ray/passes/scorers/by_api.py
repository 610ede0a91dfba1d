"""Scores and relevances by a judge behind an OpenAI-compatible API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from encore_ray.engine.outcomes import Death
from encore_ray.engine.pools import ActorPool, Resources
from encore_ray.engine.work.unit_work import Write
from encore_ray.errors import ClusterError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.quarantine import Allowance
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes.scorers.api.agree import open_agreement
from encore_ray.passes.scorers.api.forward import unit_by_api
from encore_ray.passes.scorers.api.judge import POOL, ApiJudge, estimate_calls
from encore_ray.passes.scorers.api.request import Agreement
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
        allowed: how many pairs may get no rating, once it is known how many there are.
    """

    judge: ApiJudge
    writer: OutputWriter
    verb: str
    allowed: Allowance | None = None

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

    def ready(self, run: Run, table: PassTable, units: Sequence[TableUnit], allowed: Allowance) -> "ApiScorer":
        settled = replace(self, judge=self._settled(run, table, units), allowed=allowed)
        judge, options = settled.judge, settled.judge.options
        run.tracked.log_params(judge.facts)
        if units:
            run.note(f"{self.verb} by {judge.facts['model']}: {estimate_calls(judge, units)}")
            for sentence in judge.agreement.said(text_only=options.text_only, structured=options.structured):
                run.note(f"{self.verb} by {judge.facts['model']}: {sentence}")
        return settled

    def resumed(self, standing: Mapping[str, Any]) -> "ApiScorer":
        agreed, own = Agreement.of_facts(standing), self.judge.agreement
        given = self.judge.options.context_tokens
        if given is not None and agreed.context_tokens != given:
            agreed = replace(agreed, context_tokens=given, context_chars=own.context_chars)
        return replace(self, judge=replace(self.judge, agreement=agreed))

    def _settled(self, run: Run, table: PassTable, units: Sequence[TableUnit]) -> ApiJudge:
        """The judge as it is asked: as for scores that stand, else as the first questions show."""
        standing, judge = table.standing_facts() or {}, self.judge
        resumed = self.resumed(standing)
        if standing and (standing == resumed.facts or not run.overwrite):
            return resumed.judge
        if not units:
            return judge
        timeout_s = run.engine.unit_timeout_s
        with run.engine.single_worker(partial(open_agreement, judge), pool=POOL, timeout_s=timeout_s) as worker:
            agreement = worker.attempt(units)
        if isinstance(agreement, Death):
            raise ClusterError(f"The worker that asked the first questions died: {agreement.detail}.")
        return replace(judge, agreement=agreement)

    def pool(self, resources: Resources, num_units: int) -> ActorPool:
        return POOL

    @property
    def work(self) -> Callable[[], Write]:
        return partial(unit_by_api, self.judge, self.writer, self.allowed)

    def end(self, run: Run, counts: Mapping[str, int], max_bad_fraction: float) -> None:
        requests, known = counts.get("requests", 0), counts.get("known_answers", 0)
        run.note(f"{self.verb}: {requests:,} requests, {known:,} answers known before")
        if counts.get("truncated"):
            run.note(f"{self.verb}: too long for the judge, and without their beginning: {counts['truncated']:,} pairs")
        if counts.get("made_equal"):
            run.note(f"{self.verb}: cutting made both responses the same in {counts['made_equal']:,} pairs")
