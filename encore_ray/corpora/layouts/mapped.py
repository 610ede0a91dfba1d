"""The layout that a user spells out: which column, or place in one, holds what."""

from functools import partial
from typing import Any

from encore_ray.corpora.files.columns import (
    CONVERSATION,
    FIRST,
    HISTORY,
    ID_COLUMN,
    RESPONSE,
    SECOND,
    SYSTEM,
    WINNER,
    ColumnMap,
    at_path,
    label_text,
    top_of,
)
from encore_ray.corpora.layouts.layout import ID, LISTS, NESTED, REPLY, TRANSCRIPT, Layout, Row
from encore_ray.corpora.layouts.parts import continued, judged, opening, verdict
from encore_ray.corpora.layouts.sided import pairings
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import messages_of, text_of, transcript_turns
from encore_ray.corpora.turns.standard import is_empty
from encore_ray.corpora.turns.stored import stored_list
from encore_ray.corpora.values import is_message
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, SUBSET, Reason

MAPPED = "mapped"


def mapped_layout(columns: ColumnMap) -> Layout:
    """The layout of a file whose columns a user names."""
    tops = {top_of(path) for _, path in columns.places}
    told = {top_of(path) for place, path in columns.places if place in (WINNER, SUBSET, ID_COLUMN, SYSTEM, HISTORY)}
    shapes = TRANSCRIPT | REPLY | LISTS | NESTED | ID
    sides = (columns[RESPONSE],) if columns[CHOSEN] is None else (columns[CHOSEN], columns[REJECTED])
    plain = tuple(path for path in (columns[PROMPT], *sides) if path)
    return Layout(
        MAPPED,
        dict.fromkeys(sorted(tops), shapes),
        frozenset(tops - told),
        partial(_read, columns=columns),
        is_single=columns[CHOSEN] is None,
        can_be_rated=columns[WINNER] is None,
        has_ids=columns[ID_COLUMN] is None,
        plain=plain if columns[WINNER] is None and len(plain) == len(sides) + 1 else None,
    )


def _read(row: Row, *, columns: ColumnMap) -> list[Candidate]:
    if path := columns[CONVERSATION]:
        return [Candidate(_whole(_value(row, path), path), None)]
    sides = [(path, _value(row, path)) for path in (columns[CHOSEN], columns[REJECTED], columns[RESPONSE]) if path]
    prompt = columns[PROMPT]
    if prompt is None:
        turns = [_whole(value, path) for path, value in sides]
    else:
        begin = opening(_value(row, prompt), where=prompt)
        if len(sides) == 1 and is_empty(sides[0][1]):
            raise BadRow(Reason.NO_RESPONSE, f"{sides[0][0]} is empty: there is a prompt, and nothing to score")
        if columns[WINNER] is None and any(_is_several(value) for _, value in sides):
            return pairings(begin, sides[0][1], sides[-1][1])
        turns = [continued(begin, value, path) for path, value in sides]
    if len(turns) == 1:
        return [Candidate(turns[0], None)]
    winner = columns[WINNER]
    return judged(turns[0], turns[1], _verdict(at_path(row, winner), winner, columns) if winner else FIRST)


def _verdict(value: Any, where: str, columns: ColumnMap) -> int:
    words = dict(columns.words)
    if columns.is_listed or is_empty(value) or label_text(value) in words:
        try:
            return verdict(value, where, words)
        except BadRow as problem:
            if problem.reason is Reason.BAD_LABEL:
                raise BadRow(problem.reason, f"{problem.detail}. Say what it means by inputs[].chosen_if") from None
            raise
    return SECOND


def _value(row: Row, path: str) -> Any:
    value = at_path(row, path)
    items = stored_list(value) if isinstance(value, str) else None
    if items and (is_message(items[0]) or isinstance(items[0], list)):
        return items
    return value


def _is_several(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str | list)


def _whole(value: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        return transcript_turns(text_of(value, where=where), where=where)
    return messages_of([value] if isinstance(value, dict) else value, where=where)
