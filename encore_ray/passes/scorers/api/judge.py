"""A judge behind an OpenAI-compatible API: what it is asked about a unit, and what that will cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from encore_ray.config import RateOptions
from encore_ray.engine.pools import CPU_SHARE, ActorPool
from encore_ray.errors import ConfigError
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.models.judge.questions import answer_form, ask_all, ask_rating, questions_digest
from encore_ray.models.spec.conversation import Message
from encore_ray.passes.scorers.api.connection import check_url, headers
from encore_ray.passes.scorers.api.cutting import CHARS_A_TOKEN, num_chars
from encore_ray.passes.scorers.api.request import Agreement
from encore_ray.passes.scorers.outputs import TEXTS
from encore_ray.rules import Rule, RuleSet
from encore_ray.schema import CHOSEN, PROMPT, REJECTED
from encore_ray.storage import Folder, fingerprint

# A short answer and what would show that it is none. Log-probabilities are given of its first token alone.
_MAX_ANSWER_TOKENS = 8
_MAX_JSON_TOKENS = 24  # a rule, and as many for what is around them
_TOKEN_NAMES = ("max_tokens", "max_completion_tokens")

# One actor has all threads: they only wait, and their number and rate are those of the whole job.
POOL = ActorPool(1, 1, cpus=CPU_SHARE, gpus=0.0, calls_at_a_time=2)


@dataclass(frozen=True)
class ApiJudge:
    """The judge of a job.

    Attributes:
        url: of the API, as in http://127.0.0.1:8000/v1.
        options: of the endpoint, with its model.
        rules: that it rates by.
        answers: folder of all replies of the run.
        agreement: how it is asked, as far as it is settled.
    """

    url: str
    options: RateOptions
    rules: RuleSet
    answers: Folder
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def asked_for(self) -> dict[str, Any]:
        """What decides a rating, by the options alone."""
        options = self.options
        return {
            "model": f"{options.model} at {self.url}",
            "text_only": options.text_only,
            "questions": questions_digest(self.rules),
            **({"structured": fingerprint(self.messages_of_all([]))} if options.structured else {}),
            **({"body": options.body} if options.body else {}),
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What decides a rating."""
        return {**self.asked_for, **self.agreement.facts}

    @property
    def asks_logprobs(self) -> bool:
        return not self.options.is_all_or_nothing

    @property
    def questions(self) -> list[int | None]:
        """What is asked about a conversation, the longest first: rules by their number, or None for all at once."""
        if self.options.structured:
            return [None]
        lengths = [num_chars(self.messages([], rule)) for rule in self.rules]
        longest = lengths.index(max(lengths))
        return [longest, *(k for k in range(len(lengths)) if k != longest)]

    @property
    def question_chars(self) -> int:
        """Characters that the longest question adds to a conversation."""
        return num_chars(self.asked([], self.questions[0]))

    def about(self, row: Mapping[str, Any]) -> list[list[Message]]:
        """The conversations that are asked about, of a row of pairs: with either response, as far as there is one."""
        return [[*row[PROMPT], *row[side]] for side in (CHOSEN, REJECTED) if row[side] is not None]

    def messages(self, turns: Sequence[Message], rule: Rule) -> list[Message]:
        """A conversation with its question."""
        return ask_rating(turns, rule)

    def messages_of_all(self, turns: Sequence[Message]) -> list[Message]:
        """A conversation with the questions of all rules."""
        return ask_all(turns, self.rules)

    def body(self, turns: Sequence[Message], k: int | None) -> dict[str, Any]:
        """The request that asks for the rating of a conversation under rule k; under all of them for None."""
        own = self.options.body or {}
        most = _MAX_ANSWER_TOKENS if k is not None else _MAX_JSON_TOKENS * (len(self.rules) + 1)
        fields = self.agreement.fields(max_tokens=most, asks_logprobs=self.asks_logprobs)
        if k is None and self.agreement.response_format != "text":
            fields["response_format"] = self._response_format()
        if any(name in own for name in _TOKEN_NAMES):
            fields = {name: value for name, value in fields.items() if name not in _TOKEN_NAMES}
        body = {"model": self.options.model, "messages": self.asked(turns, k), **fields, **own}
        return {name: value for name, value in body.items() if value is not None}

    def asked(self, turns: Sequence[Message], k: int | None) -> list[Message]:
        return self.messages_of_all(turns) if k is None else self.messages(turns, self.rules[k])

    def _response_format(self) -> dict[str, Any]:
        if self.agreement.response_format != "json_schema":
            return {"type": self.agreement.response_format}
        properties = {rule.name: {"type": "string", "enum": list(answer_form(rule).answers)} for rule in self.rules}
        schema = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return {"type": "json_schema", "json_schema": {"name": "ratings", "strict": True, "schema": schema}}


def plan_api_judge(url: str, options: RateOptions, *, rules: RuleSet, run: Folder) -> ApiJudge:
    """The judge of a run.

    Raises:
        ConfigError: no model is named, the URL is none, or a header's variable is not set.
    """
    check_url(url)
    if options.model is None:
        raise ConfigError(f"{url} may serve several models: name the judge with rate.model (--model).")
    headers(options)
    return ApiJudge(url, options, rules, run.child("answers"), _first_agreement(options))


def _first_agreement(options: RateOptions) -> Agreement:
    if options.context_tokens is None:
        return Agreement()
    least = max(options.context_tokens - _MAX_ANSWER_TOKENS, 1)
    return Agreement(context_tokens=options.context_tokens, context_chars=least * CHARS_A_TOKEN)


@dataclass(frozen=True)
class CallEstimate:
    """What rating a corpus will take at most: answers that are there already are not asked for again.

    Attributes:
        requests: one a rule and conversation.
        tokens_in, tokens_out: of all requests and answers, at four characters a token.
        cost: in the currency of the prices; None where they are not given.
        minutes: that the limit of requests a minute leaves it; None without a limit.
        too_long: share of the conversations that lose their beginning.
        most_tokens: what the judge takes, where that is known.
    """

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    minutes: float | None
    too_long: float = 0.0
    most_tokens: int | None = None

    def __str__(self) -> str:
        parts = [
            f"at most {self.requests:,} requests, about {self.tokens_in:,} tokens in and {self.tokens_out:,} out",
            "no prices given (rate.input_price, rate.output_price)" if self.cost is None else f"cost {self.cost:.2f}",
        ]
        if self.minutes is not None:
            parts.append(f"{self.minutes:,.0f} minutes at its limit of requests")
        if self.too_long:
            limit = f" of {self.most_tokens:,} tokens" if self.most_tokens else ""
            parts.append(f"{self.too_long:.0%} of the conversations are too long for its context{limit}, and are cut")
        return "; ".join(parts)


def estimate_calls(judge: ApiJudge, units: Sequence[TableUnit]) -> CallEstimate:
    """From the texts of the first unit, for all of them."""
    table = units[0].read(TEXTS)
    asked = [turns for row in table.to_pylist() for turns in judge.about(row)]
    chars = [[num_chars(judge.asked(turns, k)) for k in judge.questions] for turns in asked]
    most = judge.agreement.context_chars
    too_long = sum(max(each) > most for each in chars) / max(len(chars), 1) if most else 0.0
    all_chars = sum(sum(each) if most is None else sum(min(one, most) for one in each) for each in chars)
    scale = sum(unit.rows for unit in units) / table.num_rows
    requests = round(scale * len(asked) * len(judge.questions))
    tokens_in = round(scale * all_chars / CHARS_A_TOKEN)
    a_request = len(json.dumps(dict.fromkeys(judge.rules.names, "Yes"))) // CHARS_A_TOKEN
    tokens_out = requests * a_request if judge.options.structured else requests
    options = judge.options
    prices = options.input_price, options.output_price
    cost = None if None in prices else (tokens_in * (prices[0] or 0) + tokens_out * (prices[1] or 0)) / 1e6
    minutes = requests / options.requests_per_minute if options.requests_per_minute else None
    return CallEstimate(
        requests, tokens_in, tokens_out, cost, minutes, too_long, judge.agreement.context_tokens if too_long else None
    )
