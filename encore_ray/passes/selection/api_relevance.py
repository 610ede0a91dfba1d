"""The relevance of rules to prompts by a judge behind an API: the same requests and answers, about something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.models.judge.questions import (
    ask_all_relevance,
    ask_relevance,
    questions_digest,
    relevance_question,
    relevance_rules,
)
from encore_ray.models.spec.conversation import Message
from encore_ray.passes.scorers.api.judge import ApiJudge
from encore_ray.rules import Rule
from encore_ray.schema import PROMPT, REJECTED


@dataclass(frozen=True)
class ApiRelevanceJudge(ApiJudge):
    """A judge that rates how much each rule matters to a prompt."""

    @classmethod
    def of(cls, judge: ApiJudge) -> "ApiRelevanceJudge":
        """The judge of the ratings, asked about relevance instead."""
        return cls(judge.url, judge.options, relevance_rules(judge.rules), judge.answers, judge.agreement)

    @property
    def asked_for(self) -> dict[str, Any]:
        return {**super().asked_for, "by": "judge", "questions": questions_digest(self.rules, ask=relevance_question)}

    def about(self, row: Mapping[str, Any]) -> list[list[Message]]:
        return [row[PROMPT]] if row[REJECTED] is not None else []

    def messages(self, turns: Sequence[Message], rule: Rule) -> list[Message]:
        return ask_relevance(turns, rule)

    def messages_of_all(self, turns: Sequence[Message]) -> list[Message]:
        return ask_all_relevance(turns, self.rules)
