"""A judge behind an OpenAI-compatible API: what it is asked about a unit, and what that will cost."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.config import RateOptions
from encore_ray.engine.pools import CPU_SHARE, ActorPool
from encore_ray.engine.watchdog import advance
from encore_ray.errors import ConfigError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.tables import TableUnit
from encore_ray.models.judge.questions import ask_rating, form_of, on_scale, questions_digest
from encore_ray.models.text.conversations import Message
from encore_ray.passes.scorers.api_answers import Answers, rate_reply
from encore_ray.passes.scorers.api_client import ApiClient, Refused, Reply, check_url
from encore_ray.passes.scorers.score_table import CARRIED, TEXTS, num_chars, without, write_scores
from encore_ray.rules import Rule, RuleSet
from encore_ray.schema import CHOSEN, CHOSEN_CHARS, PROMPT, REJECTED, REJECTED_CHARS, Reason
from encore_ray.storage import Folder, fingerprint

# A short answer and what would show that it is none. Log-probabilities are given of its first token alone.
_MAX_ANSWER_TOKENS = 8
_TOP = 20  # the most that endpoints give
_CHARS_A_TOKEN = 4  # about so many in English
_NAMED = 3  # ratings that a quarantined pair's detail names

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
class Estimate:
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


def estimate(judge: ApiJudge, units: Sequence[TableUnit]) -> Estimate:
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
    return Estimate(requests, tokens_in, tokens_out, cost, minutes)


class ApiScores:
    """Ratings by a judge behind an API, many requests at a time."""

    def __init__(self, judge: ApiJudge):
        self._judge = judge
        self._client = ApiClient(judge.url, judge.options)
        self._threads = ThreadPoolExecutor(judge.options.concurrency)

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        table = unit.read([*CARRIED, *TEXTS])
        kept = without(table, attempt.left_out)
        answers = Answers(self._judge.answers, unit.unit)
        bodies = self._bodies(kept)
        requests = {place: fingerprint(body) for place, body in bodies.items()}
        distinct = {requests[place]: body for place, body in bodies.items()}
        replies = {request: answers.find(self._judge.url, body) for request, body in distinct.items()}
        missing = {request: distinct[request] for request, reply in replies.items() if reply is None}
        replies |= self._ask_all(missing, answers)
        row_N = np.setdiff1d(np.arange(table.num_rows), [pair.row for pair in attempt.left_out])
        scores_N2K, wrong = self._rate({place: replies[request] for place, request in requests.items()}, len(kept))
        bad = [*attempt.left_out]
        bad += [LeftOut(int(row_N[i]), Reason.NOT_A_RATING, "; ".join(why[:_NAMED])) for i, why in wrong.items()]
        usable = np.array([i not in wrong for i in range(len(kept))], dtype=bool)
        counts = self._write(unit, attempt, table, scores_N2K[usable], bad=bad)
        answers.pack()
        return {**counts, "requests": len(missing), "known_answers": len(distinct) - len(missing)}

    def _write(
        self, unit: TableUnit, attempt: Attempt, table: pa.Table, scores_N2K: np.ndarray, *, bad: Sequence[LeftOut]
    ) -> Mapping[str, int]:
        rated = without(table, bad)
        single = rated.column(REJECTED).is_null().to_numpy(zero_copy_only=False)
        lengths = {
            CHOSEN_CHARS: pa.array(num_chars(rated.column(CHOSEN)), pa.int32()),
            REJECTED_CHARS: pa.array(num_chars(rated.column(REJECTED)), pa.int32(), mask=single),
        }
        facts = {key: str(value) for key, value in self._judge.facts.items()}
        rules = self._judge.rules
        return write_scores(unit, attempt, table, scores_N2K, rules=rules, bad=bad, columns=lengths, facts=facts)

    def _bodies(self, table: pa.Table) -> dict[tuple[int, int, int], dict[str, Any]]:
        """Requests by pair, side and rule; those about a conversation follow each other, for caches of prefixes."""
        bodies = {}
        for i, row in enumerate(table.select([PROMPT, CHOSEN, REJECTED]).to_pylist()):
            for side, turns in enumerate(self._judge.about(row)):
                bodies |= {(i, side, k): self._judge.body(turns, k) for k in range(len(self._judge.rules))}
        return bodies

    def _ask_all(self, bodies: Mapping[str, dict[str, Any]], answers: Answers) -> dict[str, Reply | Refused]:
        def ask(body: dict[str, Any]) -> Reply | Refused:
            reply = self._client.ask(body)
            if isinstance(reply, Reply):
                answers.keep(self._judge.url, body, reply)
            advance()
            return reply

        futures: dict[str, Future[Reply | Refused]] = {
            request: self._threads.submit(ask, body) for request, body in bodies.items()
        }
        try:
            return {request: future.result() for request, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            raise

    def _rate(
        self, replies: Mapping[tuple[int, int, int], Reply | Refused | None], num_pairs: int
    ) -> tuple[np.ndarray, dict[int, list[str]]]:
        """Ratings [N, 2, K], NaN where there is none, and why by pair."""
        rules = self._judge.rules
        raw_N2K = np.full((num_pairs, 2, len(rules)), np.nan)
        wrong: dict[int, list[str]] = {}
        for (i, side, k), reply in replies.items():
            assert reply is not None
            rating = rate_reply(form_of(rules[k]), reply)
            if isinstance(rating, str):
                wrong.setdefault(i, []).append(f"{(CHOSEN, REJECTED)[side]} {rules[k].name}: {rating}")
            else:
                raw_N2K[i, side, k] = rating
        return np.stack([on_scale(rule, raw_N2K[:, :, k]) for k, rule in enumerate(rules)], axis=2), wrong
