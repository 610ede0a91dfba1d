"""From a unit of pairs to a judge's ratings behind an API: many requests at a time, and no answer paid for twice."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.engine.watchdog import advance
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.tables import TableUnit
from encore_ray.models.judge.questions import answer_form, on_scale
from encore_ray.passes.scorers.api.answers import Replies, rate_reply
from encore_ray.passes.scorers.api.client import ApiClient, Refused, Reply
from encore_ray.passes.scorers.api.judge import ApiJudge
from encore_ray.passes.scorers.data_ratings import length_columns
from encore_ray.passes.scorers.outputs import CARRIED, TEXTS, OutputWriter, UnitOutputs, without
from encore_ray.passes.scorers.score_unit import ScoreUnit
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, Reason
from encore_ray.storage import fingerprint

_NAMED = 3  # ratings that a quarantined pair's detail names


class ApiForward:
    """The ratings of a judge behind an API.

    Args:
        judge: whom is asked, and what.
    """

    def __init__(self, judge: ApiJudge):
        self._judge = judge
        self._client = ApiClient(judge.url, judge.options)
        self._threads = ThreadPoolExecutor(judge.options.concurrency)

    def __call__(self, unit: TableUnit, left_out: Sequence[LeftOut]) -> UnitOutputs:
        table = unit.read([*CARRIED, *TEXTS])
        kept = without(table, left_out)
        answers = Replies(self._judge.answers, unit.unit)
        bodies = self._bodies(kept)
        requests = {place: fingerprint(body) for place, body in bodies.items()}
        distinct = {requests[place]: body for place, body in bodies.items()}
        replies = {request: answers.find(self._judge.url, body) for request, body in distinct.items()}
        missing = {request: distinct[request] for request, reply in replies.items() if reply is None}
        replies |= self._ask_all(missing, answers)
        answers.pack()
        row_N = np.setdiff1d(np.arange(table.num_rows), [pair.row for pair in left_out])
        scores_N2K, wrong = self._rate({place: replies[request] for place, request in requests.items()}, len(kept))
        bad = [*left_out]
        bad += [LeftOut(int(row_N[i]), Reason.NOT_A_RATING, "; ".join(why[:_NAMED])) for i, why in wrong.items()]
        usable = np.array([i not in wrong for i in range(len(kept))], dtype=bool)
        return UnitOutputs(
            unit,
            table,
            bad,
            scores_N2K[usable],
            {key: str(value) for key, value in self._judge.facts.items()},
            columns=length_columns(without(table, bad)),
            counts={"requests": len(missing), "known_answers": len(distinct) - len(missing)},
        )

    def _bodies(self, table: pa.Table) -> dict[tuple[int, int, int], dict[str, Any]]:
        """Requests by pair, side and rule; those about a conversation follow each other, for caches of prefixes."""
        bodies = {}
        for i, row in enumerate(table.select([PROMPT, CHOSEN, REJECTED]).to_pylist()):
            for side, turns in enumerate(self._judge.about(row)):
                bodies |= {(i, side, k): self._judge.body(turns, k) for k in range(len(self._judge.rules))}
        return bodies

    def _ask_all(self, bodies: Mapping[str, dict[str, Any]], answers: Replies) -> dict[str, Reply | Refused]:
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
        except BaseException:  # it ends the pass; answers that are under way are still kept
            self._client.stop()
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
            rating = rate_reply(answer_form(rules[k]), reply)
            if isinstance(rating, str):
                wrong.setdefault(i, []).append(f"{(CHOSEN, REJECTED)[side]} {rules[k].name}: {rating}")
            else:
                raw_N2K[i, side, k] = rating
        return np.stack([on_scale(rule, raw_N2K[:, :, k]) for k, rule in enumerate(rules)], axis=2), wrong


def unit_by_api(judge: ApiJudge, writer: OutputWriter) -> ScoreUnit:
    """The work of the one actor that asks a judge behind an API."""
    return ScoreUnit(ApiForward(judge), writer)
