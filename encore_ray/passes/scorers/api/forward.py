"""From a unit of pairs to a judge's ratings behind an API: many requests at a time, and no answer paid for twice."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np
import pyarrow as pa

from encore_ray.engine.process.watchdog import CalledOff, advance
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.quarantine import Allowance
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.models.judge.questions import on_scale
from encore_ray.passes.scorers.api.agree import room
from encore_ray.passes.scorers.api.answers import Replies
from encore_ray.passes.scorers.api.client import ApiClient
from encore_ray.passes.scorers.api.cutting import LEAST_CHARS, fitting_chars, num_chars
from encore_ray.passes.scorers.api.judge import ApiJudge
from encore_ray.passes.scorers.api.loss import Losses
from encore_ray.passes.scorers.api.rating import Conversation, Rater, conversations
from encore_ray.passes.scorers.api.replies import Refused, Reply
from encore_ray.passes.scorers.data_ratings import length_columns
from encore_ray.passes.scorers.outputs import CARRIED, TEXTS, OutputWriter, UnitOutputs, without
from encore_ray.passes.scorers.score_unit import ScoreUnit
from encore_ray.schema import CHOSEN, PAIR_ID, PROMPT, REJECTED, Reason

_Asked = tuple[Conversation, int | None]


class ApiForward:
    """The ratings of a judge behind an API.

    Args:
        judge: whom is asked, and what.
        allowed: how many pairs of the job may be lost.
    """

    def __init__(self, judge: ApiJudge, allowed: Allowance | None = None):
        self.judge = judge
        self.client = ApiClient(judge.url, judge.options)
        self.threads = ThreadPoolExecutor(judge.options.concurrency)
        self.losses, self.rater = Losses(allowed), Rater(judge)
        self._ended: BaseException | None = None

    def __call__(self, unit: TableUnit, left_out: Sequence[LeftOut]) -> UnitOutputs:
        table = unit.read([*CARRIED, *TEXTS])
        kept = without(table, left_out)
        row_N = np.setdiff1d(np.arange(table.num_rows), [pair.row for pair in left_out])
        asking = _Asking(self, unit, kept, row_N)
        try:
            asking.all()
        except CalledOff:
            raise self._ended or CalledOff from None  # by another unit: it is that one's error that tells
        except BaseException as error:  # it ends the pass; answers that are under way are still kept
            self._ended = self._ended or error
            self.client.stop()
            raise
        bad = [*left_out]
        bad += [LeftOut(int(row_N[i]), Reason.NOT_A_RATING, why) for i, (_, why) in sorted(asking.lost.items())]
        usable = np.array([i not in asking.lost for i in range(len(kept))], dtype=bool)
        rules, raw_N2K = self.judge.rules, asking.raw_N2K
        scores_N2K = np.stack([on_scale(rule, raw_N2K[:, :, k]) for k, rule in enumerate(rules)], axis=2)
        cut = sum(any(asked.is_cut for asked in asking.by_pair[i]) for i in np.flatnonzero(usable))
        equal = sum(_are_made_equal(asking.by_pair[i]) for i in np.flatnonzero(usable))
        return UnitOutputs(
            unit,
            table,
            bad,
            scores_N2K[usable],
            {key: str(value) for key, value in self.judge.facts.items()},
            columns=length_columns(without(table, bad)),
            counts={"requests": asking.num_asked, "known_answers": asking.num_known, "truncated": cut}
            | ({"made_equal": equal} if equal else {}),
        )


class _Asking:
    """The questions about one unit, conversation by conversation: those behind the same text follow each other, for
    caches of prefixes, and nothing more is asked about a pair that is lost.

    The longest question is asked first: a conversation that is too long with it is cut, for all rules alike.
    """

    def __init__(self, forward: ApiForward, unit: TableUnit, table: pa.Table, row_N: np.ndarray):
        self._forward, self._unit, self._row_N = forward, unit, row_N
        judge = self._judge = forward.judge
        self._ids = table.column(PAIR_ID).to_pylist()
        self._answers = Replies(judge.answers, unit.unit)
        self.asked, self.by_pair = conversations(judge, table.select([PROMPT, CHOSEN, REJECTED]).to_pylist())
        self.raw_N2K = np.full((len(table), 2, len(judge.rules)), np.nan)
        self.lost: dict[int, tuple[int, str]] = {}  # side and reason; of two that come at once, that of chosen
        self.num_asked = self.num_known = 0
        self._begun: set[int] = set()

    def all(self) -> None:
        first = self._judge.questions[0]
        waiting: deque[_Asked] = deque((asked, first) for asked in self.asked)
        running: dict[Future[tuple[Reply | Refused, bool]], _Asked] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._judge.options.concurrency:
                    asked, k = waiting.popleft()
                    if not all(i in self.lost for i, _ in asked.places):
                        self._begin(asked)
                        running[self._forward.threads.submit(self._ask, asked, k)] = asked, k
                finished, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
                for future in finished:
                    asked, k = running.pop(future)
                    reply, was_known = future.result()
                    self.num_known += was_known
                    self.num_asked += not was_known
                    if self._rate(asked, k, reply) and k == first:
                        waiting.extendleft((asked, other) for other in reversed(self._judge.questions[1:]))
            self._answers.pack()
        finally:
            for future in running:
                future.cancel()

    def _begin(self, asked: Conversation) -> None:
        for i, _ in asked.places:
            if i not in self._begun:
                self._begun.add(i)
                self._forward.losses.begin()

    def _ask(self, asked: Conversation, k: int | None) -> tuple[Reply | Refused, bool]:
        """The reply to one question and whether it was known, in a thread."""
        judge, client = self._judge, self._forward.client
        most = judge.agreement.context_chars
        if most is not None and not asked.is_settled:
            asked.room = room(judge, most)
        while True:
            body = judge.body(asked.shown, k)
            known = self._answers.find(judge.url, body)
            if known is not None:
                asked.is_settled = True
                return known, True
            reply = client.ask(body)
            if isinstance(reply, Reply):
                self._answers.keep(judge.url, body, reply)
            advance()  # after what is paid for is kept
            if isinstance(reply, Reply):
                asked.is_settled = True
                return reply, False
            too_long = reply.refusal.too_long if reply.refusal else None
            chars = num_chars(asked.turns) if asked.room is None else min(asked.room, num_chars(asked.turns))
            if too_long is None or asked.is_settled or chars <= LEAST_CHARS:
                return reply, False
            fitting = fitting_chars(num_chars(body["messages"]), too_long) - judge.question_chars
            asked.room = max(fitting, LEAST_CHARS)

    def _rate(self, asked: Conversation, k: int | None, reply: Reply | Refused) -> bool:
        """Take in the ratings of a reply; False where it loses the pairs that it is about."""
        wrong = self._forward.rater(asked, k, reply, self.raw_N2K)
        if wrong is None:
            return True
        for i, side in asked.places:
            detail = f"{(CHOSEN, REJECTED)[side]} {wrong}"
            if i not in self.lost:
                where, line = self._unit.folder.path(self._unit.file), int(self._row_N[i]) + 1
                self._forward.losses.lose(pair_id=self._ids[i], source=where, line=line, detail=detail)
            self.lost[i] = min(self.lost.get(i, (side, detail)), (side, detail))
        return False


def _are_made_equal(sides: Sequence[Conversation]) -> bool:
    """Whether the judge reads the same of two responses that differ."""
    return len(sides) == 2 and sides[0] is not sides[1] and sides[0].shown == sides[1].shown


def unit_by_api(judge: ApiJudge, writer: OutputWriter, allowed: Allowance | None = None) -> ScoreUnit:
    """The work of the one actor that asks a judge behind an API."""
    return ScoreUnit(ApiForward(judge, allowed), writer)
