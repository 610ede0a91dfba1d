"""A judge behind an OpenAI-compatible API: what it is asked about a unit, and what that will cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.config import RateOptions
from encore_ray.engine.pools import CPU_SHARE, ActorPool
from encore_ray.errors import ConfigError
from encore_ray.folder.tables import TableUnit
from encore_ray.models.judge.questions import ask_rating, questions_digest
from encore_ray.models.spec.conversation import Message
from encore_ray.passes.scorers.api.client import check_url
from encore_ray.passes.scorers.outputs import TEXTS
from encore_ray.rules import Rule, RuleSet
from encore_ray.schema import CHOSEN, PROMPT, REJECTED
from encore_ray.storage import Folder

# A short answer and what would show that it is none. Log-probabilities are given of its first token alone.
_MAX_ANSWER_TOKENS = 8
_TOP = 20  # the most that endpoints give
_CHARS_A_TOKEN = 4  # about so many in English

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
    """

    url: str
    options: RateOptions
    rules: RuleSet
    answers: Folder

    @property
    def facts(self) -> dict[str, Any]:
        """What decides a rating."""
        return {
            "model": f"{self.options.model} at {self.url}",
            "text_only": self.options.text_only,
            "questions": questions_digest(self.rules),
        }

    def about(self, row: Mapping[str, Any]) -> list[list[Message]]:
        """The conversations that are asked about, of a row of pairs: with either response, as far as there is one."""
        return [[*row[PROMPT], *row[side]] for side in (CHOSEN, REJECTED) if row[side] is not None]

    def messages(self, turns: Sequence[Message], rule: Rule) -> list[Message]:
        """A conversation with its question."""
        return ask_rating(turns, rule)

    def body(self, turns: Sequence[Message], k: int) -> dict[str, Any]:
        """The request that asks for the rating of a conversation under rule k."""
        body = {
            "model": self.options.model,
            "messages": self.messages(turns, self.rules[k]),
            "max_tokens": _MAX_ANSWER_TOKENS,
            "temperature": 0,
        }
        return body if self.options.text_only else {**body, "logprobs": True, "top_logprobs": _TOP}


def plan_api_judge(url: str, options: RateOptions, *, rules: RuleSet, run: Folder) -> ApiJudge:
    """The judge of a run.

    Raises:
        ConfigError: no model is named, or the URL is none.
    """
    check_url(url)
    if options.model is None:
        raise ConfigError(f"{url} may serve several models: name the judge with rate.model (--model).")
    return ApiJudge(url, options, rules, run.child("answers"))


@dataclass(frozen=True)
class CallEstimate:
    """What rating a corpus will take at most: answers that are there already are not asked for again.

    Attributes:
        requests: one a rule and conversation.
        tokens_in, tokens_out: of all requests and answers, at four characters a token.
        cost: in the currency of the prices; None where they are not given.
        minutes: that the limit of requests a minute leaves it; None without a limit.
    """

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    minutes: float | None

    def __str__(self) -> str:
        parts = [
            f"at most {self.requests:,} requests, about {self.tokens_in:,} tokens in and {self.tokens_out:,} out",
            "no prices given (rate.input_price, rate.output_price)" if self.cost is None else f"cost {self.cost:.2f}",
        ]
        if self.minutes is not None:
            parts.append(f"{self.minutes:,.0f} minutes at its limit of requests")
        return "; ".join(parts)


def estimate_calls(judge: ApiJudge, units: Sequence[TableUnit]) -> CallEstimate:
    """From the texts of the first unit, for all of them."""
    table = units[0].read(TEXTS)
    asked = [turns for row in table.to_pylist() for turns in judge.about(row)]
    messages = (message for turns in asked for rule in judge.rules for message in judge.messages(turns, rule))
    all_chars = sum(len(message["content"]) for message in messages)
    scale = sum(unit.rows for unit in units) / table.num_rows
    requests = round(scale * len(asked) * len(judge.rules))
    tokens_in, tokens_out = round(scale * all_chars / _CHARS_A_TOKEN), requests
    options = judge.options
    prices = options.input_price, options.output_price
    cost = None if None in prices else (tokens_in * (prices[0] or 0) + tokens_out * (prices[1] or 0)) / 1e6
    minutes = requests / options.requests_per_minute if options.requests_per_minute else None
    return CallEstimate(requests, tokens_in, tokens_out, cost, minutes)
