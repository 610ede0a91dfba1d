"""The relevance of rules to prompts by a judge behind an API: the same requests and answers, about something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from encore_ray.engine.run_units import Watch, ignore_progress
from encore_ray.engine.visible import Visible
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.tables import table_units
from encore_ray.models.judge.questions import ask_relevance, questions_digest, relevance_question, relevance_rules
from encore_ray.models.spec.conversation import Message
from encore_ray.passes.score import finish_scored
from encore_ray.passes.scorers.api_forward import unit_by_api
from encore_ray.passes.scorers.api_judge import POOL, ApiJudge
from encore_ray.passes.selection.relevance import RelevanceWriter
from encore_ray.rules import Rule
from encore_ray.schema import PROMPT, REJECTED


@dataclass(frozen=True)
class ApiRelevanceJudge(ApiJudge):
    """A judge that rates how much each rule matters to a prompt."""

    @classmethod
    def of(cls, judge: ApiJudge) -> "ApiRelevanceJudge":
        """The judge of the ratings, asked about relevance instead."""
        return cls(judge.url, judge.options, relevance_rules(judge.rules), judge.answers)

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "by": "judge", "questions": questions_digest(self.rules, ask=relevance_question)}

    def about(self, row: Mapping[str, Any]) -> list[list[Message]]:
        return [row[PROMPT]] if row[REJECTED] is not None else []

    def messages(self, turns: Sequence[Message], rule: Rule) -> list[Message]:
        return ask_relevance(turns, rule)


def relate_by_api(
    pairs: str,
    output: PassTable,
    *,
    judge: ApiRelevanceJudge,
    max_bad_fraction: float,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Write relevance/ of all units of pairs/ by a judge behind an API; resumable.

    Returns:
        Counts: rows, scored, quarantined, requests, known_answers.

    Raises:
        ResumeRefused: the folder holds relevances made by another model or option.
    """
    output = output.open({**judge.facts, "rules": judge.rules.scoring_fingerprint}, overwrite=overwrite)
    return finish_scored(
        table_units(pairs),
        output,
        partial(unit_by_api, judge, RelevanceWriter(judge.rules)),
        pool=lambda num_units: POOL,
        max_bad_fraction=max_bad_fraction,
        visible=visible,
        overwrite=overwrite,
        watch=watch,
    )
