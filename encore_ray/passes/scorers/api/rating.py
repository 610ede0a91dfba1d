"""Conversations that a judge is asked about, and the ratings that its replies give: of one kind in the whole table."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encore_ray.models.judge.questions import AnswerForm, answer_form
from encore_ray.models.spec.conversation import Message
from encore_ray.passes.scorers.api.answers import rate_reply, rate_structured
from encore_ray.passes.scorers.api.cutting import cut_turns, num_chars
from encore_ray.passes.scorers.api.judge import ApiJudge
from encore_ray.passes.scorers.api.replies import Refused, Reply
from encore_ray.storage import fingerprint

_NAMED = 3  # ratings that a quarantined pair's detail names

GIVEN, ABSENT = "given", "absent"


@dataclass
class Conversation:
    """What is asked about once, however many pairs have it.

    Attributes:
        turns: of it.
        places: pair and side.
        room: most characters of it that are shown; None: all.
        is_settled: whether a question about it was answered, so that the others are about the same text.
    """

    turns: list[Message]
    places: list[tuple[int, int]] = field(default_factory=list)
    room: int | None = None
    is_settled: bool = False

    @property
    def is_cut(self) -> bool:
        return self.room is not None and num_chars(self.turns) > self.room

    @property
    def shown(self) -> list[Message]:
        """What of it the judge reads."""
        return self.turns if self.room is None else cut_turns(self.turns, self.room)


def conversations(
    judge: ApiJudge, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[Conversation], list[list[Conversation]]]:
    """The different conversations of N rows of pairs in order, and those of each row."""
    found: dict[str, Conversation] = {}
    by_pair: list[list[Conversation]] = [[] for _ in rows]
    for i, row in enumerate(rows):
        for side, turns in enumerate(judge.about(row)):
            asked = found.setdefault(fingerprint(turns), Conversation(turns))
            asked.places.append((i, side))
            by_pair[i].append(asked)
    return list(found.values()), by_pair


class Rater:
    """Takes in replies. Ratings by log-probabilities and ratings of texts alone are never mixed: the agreement says
    which ones a job has, else the first reply does.

    Args:
        judge: whose replies they are.
    """

    def __init__(self, judge: ApiJudge):
        self._judge = judge
        self._kind = judge.agreement.logprobs if judge.asks_logprobs else ABSENT
        self._lock = threading.Lock()

    def __call__(self, asked: Conversation, k: int | None, reply: Reply | Refused, raw_N2K: np.ndarray) -> str | None:
        """Put the ratings of a reply where they belong; rules and reasons where there is none, else None."""
        rules = self._judge.rules
        if k is None:
            ratings = dict(enumerate(rate_structured(rules, reply)))
        else:
            ratings = {k: self._rate(answer_form(rules[k]), reply)}
        for i, side in asked.places:
            for rule, rating in ratings.items():
                raw_N2K[i, side, rule] = np.nan if isinstance(rating, str) else rating
        wrong = [f"{rules[rule].name}: {why}" for rule, why in ratings.items() if isinstance(why, str)]
        return "; ".join(wrong[:_NAMED]) or None

    def _rate(self, form: AnswerForm, reply: Reply | Refused) -> float | str:
        if isinstance(reply, Refused):
            return rate_reply(form, reply)
        with self._lock:
            if self._kind is None and reply.is_said:
                self._kind = GIVEN if reply.first else ABSENT
        rating = rate_reply(form, replace(reply, first=()) if self._kind == ABSENT else reply)
        if self._kind == ABSENT or reply.first or isinstance(rating, str):
            return rating
        return (
            f"the judge gave no log-probabilities of its answer {reply.text!r}, as it did of others: an all-or-nothing "
            "rating would not mean the same"
        )
