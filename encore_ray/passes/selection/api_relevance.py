"""The relevance of rules to prompts by a judge behind an API: the same requests and answers, about something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.folder.attempt import Attempt
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.tables import TableUnit
from encore_ray.models.judge.questions import ask_relevance, questions_digest, relevance_question, relevance_rules
from encore_ray.models.text.conversations import Message
from encore_ray.passes.scorers.api_judge import ApiJudge, ApiScores
from encore_ray.passes.selection.relevance import write_relevance
from encore_ray.rules import Rule
from encore_ray.schema import PROMPT, REJECTED


@dataclass(frozen=True)
class ApiRelating(ApiJudge):
    """A judge that rates how much each rule matters to a prompt."""

    @classmethod
    def of(cls, judge: ApiJudge) -> "ApiRelating":
        """The judge of the ratings, asked about relevance instead."""
        return cls(judge.url, judge.options, relevance_rules(judge.rules), judge.answers)

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "by": "judge", "questions": questions_digest(self.rules, ask=relevance_question)}

    def about(self, row: Mapping[str, Any]) -> list[list[Message]]:
        return [row[PROMPT]] if row[REJECTED] is not None else []

    def messages(self, turns: Sequence[Message], rule: Rule) -> list[Message]:
        return ask_relevance(turns, rule)


class ApiRelevance(ApiScores):
    """The relevances of one unit, many requests at a time; a prompt that several pairs share is asked about once."""

    def _write(
        self, unit: TableUnit, attempt: Attempt, table: pa.Table, scores_N2K: np.ndarray, *, bad: Sequence[LeftOut]
    ) -> Mapping[str, int]:
        facts = {key: str(value) for key, value in self._judge.facts.items()}
        how = {"rules": self._judge.rules, "bad": bad, "columns": {}, "facts": facts}
        return write_relevance(unit, attempt, table, scores_N2K[:, 0], **how)
