"""Before the bill: the first questions of a job, by which it and its judge agree on how it is asked.

What a service refuses of a request is asked for otherwise, until it answers: another name for the limit of tokens, no
temperature, fewer log-probabilities. The first question and the longest of the first unit are asked, so that a judge
whose context is short, or who gives no log-probabilities, is known before all others are. Their answers are kept: none
is paid for twice.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from encore_ray.engine.process.watchdog import advance
from encore_ray.errors import ConfigError
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.models.spec.conversation import Message
from encore_ray.passes.scorers.api.answers import Replies
from encore_ray.passes.scorers.api.client import ApiClient
from encore_ray.passes.scorers.api.cutting import LEAST_CHARS, LEFT_OUT, cut_turns, fitting_chars, num_chars
from encore_ray.passes.scorers.api.judge import ApiJudge
from encore_ray.passes.scorers.api.refusals import Refusal, TooLong
from encore_ray.passes.scorers.api.replies import Reply
from encore_ray.passes.scorers.api.request import Agreement
from encore_ray.passes.scorers.outputs import TEXTS

_FIRST = 4  # conversations that are tried until one is answered
_SURE = 3  # answers without log-probabilities that tell that there are none
_TRIES = 12  # of one question


def open_agreement(judge: ApiJudge) -> Callable[[Sequence[TableUnit]], Agreement]:
    """Makes the asking of first questions in a worker: from the units to what was agreed on."""
    return FirstQuestions(judge)


class FirstQuestions:
    """Asks until it is known how to.

    Args:
        judge: whom, and what.
    """

    def __init__(self, judge: ApiJudge):
        self._judge, self._client = judge, ApiClient(judge.url, judge.options)

    def __call__(self, units: Sequence[TableUnit]) -> Agreement:
        """What was agreed on.

        Raises:
            ConfigError: the judge refuses every kind of request, or has no room for a question.
        """
        unit = units[0]
        rows = unit.read(TEXTS).to_pylist()
        conversations = [turns for row in rows for turns in self._judge.about(row)]
        if not conversations:
            return self._judge.agreement
        answers = Replies(self._judge.answers, unit.unit)
        replies = list(itertools.islice(self._first(conversations, answers), _SURE))
        self._ask(max(conversations, key=num_chars), self._judge.questions[0], answers)
        if self._judge.asks_logprobs and replies:
            given = any(reply.first for reply in replies)
            self._judge = replace(
                self._judge, agreement=replace(self._judge.agreement, logprobs="given" if given else "absent")
            )
        return self._judge.agreement

    def _first(self, conversations: Sequence[list[Message]], answers: Replies) -> Iterator[Reply]:
        """Answers to the first questions, until one has log-probabilities; none that was kept back."""
        tried = ((turns, self._ask(turns, self._judge.questions[0], answers)) for turns in conversations[:_FIRST])
        turns, reply = next(((turns, reply) for turns, reply in tried if reply and reply.is_said), (None, None))
        if turns is None or reply is None:
            return
        yield reply
        if reply.first or not self._judge.asks_logprobs:
            return
        for k in self._judge.questions[1:]:
            other = self._ask(turns, k, answers)
            if other is not None and other.is_said:
                yield other

    def _ask(self, turns: list[Message], k: int | None, answers: Replies) -> Reply | None:
        """The answer to one question, asked as it is answered; None where it is refused for itself."""
        for _ in range(_TRIES):
            body = self._judge.body(self._fitting(turns), k)
            reply = answers.find(self._judge.url, body) or self._client.send(body)
            if isinstance(reply, Reply):
                answers.keep(self._judge.url, body, reply)
                return reply
            advance()
            agreement = self._adapted(reply, body)
            if agreement is None:
                self._client.accept(reply, body)
                return None
            self._judge = replace(self._judge, agreement=agreement)
        return None

    def _adapted(self, refusal: Refusal, body: dict) -> Agreement | None:
        agreement = self._judge.agreement
        if refusal.too_long is None:
            return agreement.adapted(refusal, body, self._judge.options.body or {})
        chars, least = num_chars(body["messages"]), self._judge.question_chars + LEAST_CHARS
        if chars > least + len(LEFT_OUT):
            return _shorter(agreement, chars, least, refusal.too_long)
        if refusal.too_long.limit is not None:
            raise ConfigError(
                f"The judge at {self._judge.url} takes {refusal.too_long.limit:,} tokens, which is not enough for the "
                f"longest question ({self._judge.question_chars:,} characters) and the end of a response: it answered "
                f"{refusal.status}: {refusal.message}. Serve it with a longer context, or shorten the rules."
            )
        return None

    def _fitting(self, turns: list[Message]) -> list[Message]:
        most = self._judge.agreement.context_chars
        return turns if most is None else cut_turns(turns, room(self._judge, most))


def room(judge: ApiJudge, most_chars: int) -> int:
    """Characters that a conversation may have, with its longest question behind it."""
    return max(most_chars - judge.question_chars, LEAST_CHARS)


def _shorter(agreement: Agreement, chars: int, least: int, refused: TooLong) -> Agreement:
    fitting = max(fitting_chars(chars, refused), least)
    return replace(agreement, context_chars=fitting, context_tokens=refused.limit or agreement.context_tokens)
