"""Layouts of several responses with ranks, scores or ratings: every pair of which one is better."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from encore_ray.corpora.layouts.layout import Row
from encore_ray.corpora.layouts.parts import Opening, continued, label, number, object_of, objects_of, opening
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.pairing.ratings import Ratings, rating_or_none
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import text_of
from encore_ray.corpora.turns.transcripts import Turn
from encore_ray.schema import PROMPT, Reason

ULTRAFEEDBACK_RULES = ("instruction_following", "honesty", "truthfulness", "helpfulness")
HELPSTEER2_RULES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
TIED_PAIRS, UNRATED, MISSING_RATINGS = "tied_pairs", "unrated_responses", "missing_ratings"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of several.

    Attributes:
        turns: the whole conversation.
        worth: the higher, the better; None where nobody said.
        ratings: by rule, None where there is none.
    """

    turns: list[Turn]
    worth: float | None
    ratings: Mapping[str, float | None] | None = None


def pairs_of(answers: Sequence[Answer], *, keys: Sequence[str] | None = None) -> list[Candidate]:
    """Every pair of different worth, the better response first; without any, the responses as singles.

    Args:
        answers: to one prompt.
        keys: names of the responses within their row; by default a0, a1, ...
    """
    keys = keys or [f"a{index}" for index in range(len(answers))]
    placed = [(key, answer) for key, answer in zip(keys, answers, strict=True) if answer.worth is not None]
    notes = [UNRATED] * (len(answers) - len(placed))
    notes += [MISSING_RATINGS for _, a in placed for rating in (a.ratings or {}).values() if rating is None]
    if not placed:
        raise BadRow(Reason.BAD_RATING, f"none of {len(answers)} responses has a rating")
    made = []
    for (one, first), (two, second) in itertools.combinations(placed, 2):
        if first.worth == second.worth:
            notes.append(TIED_PAIRS)
            continue
        if _worth(first) < _worth(second):
            one, first, two, second = two, second, one, first
        made.append(Candidate(first.turns, second.turns, one, two, _ratings(first, second)))
    made = made or [Candidate(answer.turns, None, key, None, _ratings(answer, None)) for key, answer in placed]
    return with_notes(made, notes)


def with_notes(made: Sequence[Candidate], notes: Iterable[str]) -> list[Candidate]:
    """The candidates of a row, the first of them with further notes."""
    return [replace(made[0], notes=(*made[0].notes, *notes)), *made[1:]]


def _worth(answer: Answer) -> float:
    assert answer.worth is not None
    return answer.worth


def _ratings(chosen: Answer, rejected: Answer | None) -> Ratings | None:
    if chosen.ratings is None:
        return None
    return Ratings(dict(chosen.ratings), dict(rejected.ratings) if rejected and rejected.ratings else None)


def ultrafeedback_raw(row: Row) -> list[Candidate]:
    """A completion is worth the mean of its aspects' ratings; `overall_score`, known to be wrong, only without any.

    Source: the data of UltraFeedback, arXiv 2310.01377; overall scores of 10 that were 1: argilla-io/notus#7.
    """
    begin = opening(row.get("instruction"), where="instruction")
    answers = []
    for place, completion in enumerate(objects_of(row.get("completions"), "completions"), start=1):
        where = f"completion {place}"
        found = completion.get("annotations") or {}
        aspects = object_of(found, f"annotations of {where}")
        ratings = {rule: _aspect(aspects.get(rule), f"{rule} of {where}") for rule in ULTRAFEEDBACK_RULES}
        known = [rating for rating in ratings.values() if rating is not None]
        worth = math.fsum(known) / len(known) if known else rating_or_none(completion.get("overall_score"), where)
        answers.append(Answer(continued(begin, completion.get("response"), f"response of {where}"), worth, ratings))
    return pairs_of(answers)


def _aspect(value: Any, where: str) -> float | None:
    """The rating of one aspect: {Rating, Rationale}, or the rating itself."""
    return rating_or_none(value.get("Rating") if isinstance(value, dict) else value, where)


def helpsteer2(rows: Sequence[Row]) -> list[Candidate]:
    """Rows of one prompt: the more helpful response is chosen."""
    answers = []
    for row in rows:
        begin = opening(row.get(PROMPT))
        ratings = {rule: rating_or_none(row.get(rule), rule) for rule in HELPSTEER2_RULES}
        answers.append(Answer(continued(begin, row.get("response"), "response"), ratings["helpfulness"], ratings))
    return pairs_of(answers)


def helpsteer2_row(row: Row) -> list[Candidate]:
    return helpsteer2([row])


def nectar(row: Row) -> list[Candidate]:
    begin = opening(row.get(PROMPT))
    answers = []
    for place, answer in enumerate(objects_of(row.get("answers"), "answers"), start=1):
        turns = continued(begin, answer.get("answer"), f"answer {place}")
        answers.append(Answer(turns, -number(answer.get("rank"), f"rank of answer {place}")))
    return pairs_of(answers)


def nemo_rl(row: Row) -> list[Candidate]:
    """NeMo-RL's preference data: the lower a completion's rank, the better."""
    begin = opening(row.get("context"), where="context")
    answers = []
    for place, completion in enumerate(objects_of(row.get("completions"), "completions"), start=1):
        turns = continued(begin, completion.get("completion"), f"completion {place}")
        answers.append(Answer(turns, -number(completion.get("rank"), f"rank of completion {place}")))
    return pairs_of(answers)


def rmb_best_of_n(row: Row) -> list[Candidate]:
    """The best response beside each of the others, whose order among themselves nobody judged."""
    begin = opening(row.get("conversation_input"), where="conversation_input")
    best = continued(begin, object_of(row.get("bon_best"), "bon_best").get("answer"), "bon_best.answer")
    losers = objects_of(row.get("loser_list"), "loser_list")
    return [
        Candidate(best, continued(begin, loser.get("answer"), f"answer {place + 1} of loser_list"), "c0", f"r{place}")
        for place, loser in enumerate(losers)
    ]


def ppe_correctness(row: Row) -> list[Candidate]:
    """PPE's best-of-k sets: the pairs that its authors drew, of a right and a wrong response."""
    begin = opening(row.get(PROMPT))
    drawn, scores = row.get("sampled_conflict_pairs"), row.get("scores")
    if not isinstance(drawn, list) or not drawn or not isinstance(scores, list):
        raise BadRow(Reason.MISSING_FIELD, "sampled_conflict_pairs or scores: expected lists")
    made = []
    for pair in drawn:
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRow(Reason.BAD_LABEL, f"sampled_conflict_pairs: expected two places, found {str(pair)[:40]}")
        one, two = (label(place, "sampled_conflict_pairs", range(len(scores))) for place in pair)
        if label(int(bool(scores[one])), "scores", range(2)) == int(bool(scores[two])):
            raise BadRow(Reason.BAD_LABEL, f"sampled_conflict_pairs: {one} and {two} have the same score")
        right, wrong = (one, two) if scores[one] else (two, one)
        chosen, rejected = (_numbered(begin, row, place) for place in (right, wrong))
        made.append(Candidate(chosen, rejected, f"a{right}", f"a{wrong}"))
    return made


def _numbered(begin: Opening, row: Row, place: int) -> list[Turn]:
    name = f"response_{place + 1}"
    return continued(begin, text_of(row.get(name), where=name), name)
