"""Trees of messages, of which replies to one message are ranked: OASST, nested or as one row a message.

Both become one list of messages, parents before their replies, and pairs of an assistant's replies to one turn.

Source: OpenAssistant Conversations, arXiv 2304.07327; rank 0 is the most preferred reply.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from encore_ray.corpora.layouts.layout import Row
from encore_ray.corpora.layouts.parts import number, object_of, objects_of
from encore_ray.corpora.layouts.ranked import Answer, pairs_of, with_notes
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import text_of
from encore_ray.corpora.turns.transcripts import ASSISTANT, USER, Turn
from encore_ray.schema import PROMPT, Reason

TREE_ID, MESSAGE_ID, PARENT_ID, REPLIES = "message_tree_id", "message_id", "parent_id", "replies"
LONE, DELETED, RANKED_TURNS = "lone_replies", "deleted_messages", "ranked_user_turns"

_ROLES = {"prompter": USER, "assistant": ASSISTANT}


def nested(row: Row) -> list[Candidate]:
    """A tree in a row: `prompt` is its first message, and each message has its `replies`."""
    return _compared(list(_below(object_of(row.get(PROMPT), PROMPT))), row.get(TREE_ID))


def flat(rows: Sequence[Row]) -> list[Candidate]:
    """A tree in rows that follow each other, each a message that names the one it answers."""
    return _compared([(row.get(PARENT_ID) or None, row) for row in rows], rows[0].get(TREE_ID))


def check_message(row: Row) -> None:
    """BadRow for a row that is no message of a tree, whatever stands around it."""
    _turn(row)
    text_of(row.get(MESSAGE_ID), where=MESSAGE_ID)
    text_of(row.get(TREE_ID), where=TREE_ID)
    if row.get(PARENT_ID):
        text_of(row[PARENT_ID], where=PARENT_ID)
    _rank(row)


def _below(root: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Each message with the id of the one that it answers: depth first, replies in their order."""
    waiting: list[tuple[Any, Mapping[str, Any]]] = [(None, root)]
    while waiting:
        parent, message = waiting.pop()
        yield parent, message
        if message.get(REPLIES):
            replies = objects_of(message[REPLIES], REPLIES)
            waiting += [(message.get(MESSAGE_ID), reply) for reply in reversed(replies)]


def _compared(messages: Sequence[tuple[Any, Mapping[str, Any]]], tree: Any) -> list[Candidate]:
    """Pairs of replies to one turn; a response is called by its message's place in the tree, whose name is `tree`.

    Raises:
        BadRow: a message that cannot be read or answers none of those before it; no two ranked replies.
    """
    threads: dict[Any, list[Turn] | None] = {}  # None: behind a message that was deleted
    answers: dict[Any, list[tuple[int, Answer]]] = {}
    notes: Counter[str] = Counter()
    for place, (parent, message) in enumerate(messages):
        if parent is not None and parent not in threads:
            raise BadRow(
                Reason.MISSING_FIELD,
                f"{MESSAGE_ID} {str(message.get(MESSAGE_ID))[:40]!r} answers {str(parent)[:40]!r}, which no message "
                "before it in its tree is: keep the rows of a tree together, a message before its replies",
            )
        before = threads[parent] if parent is not None else []
        is_there = before is not None and not _is_deleted(message)
        notes[DELETED] += not is_there
        thread = [*before, _turn(message)] if before is not None and is_there else None
        threads[text_of(message.get(MESSAGE_ID), where=MESSAGE_ID)] = thread
        if thread is None or parent is None:
            continue
        rank = _rank(message)
        if thread[-1][0] == ASSISTANT:
            answers.setdefault(parent, []).append((place, Answer(thread, None if rank is None else -rank)))
        else:
            notes[RANKED_TURNS] += rank is not None
    made: list[Candidate] = []
    for replies in answers.values():
        if len(replies) == 1:
            notes[LONE] += 1
        elif sum(answer.worth is not None for _, answer in replies) < 2:
            notes["unrated_responses"] += len(replies)
        else:
            made += pairs_of([answer for _, answer in replies], keys=[f"a{place}" for place, _ in replies])
    if not made:
        raise BadRow(Reason.NO_RESPONSE, "no two replies to one message of this tree are ranked: nothing to compare")
    name = text_of(tree, where=TREE_ID)
    made = [replace(each, tree=name) if each.rejected else each for each in made]
    return with_notes(made, notes.elements())


def _turn(message: Mapping[str, Any]) -> Turn:
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRow(Reason.BAD_ROLES, f"role of a message: expected prompter or assistant, found {str(role)[:40]!r}")
    return _ROLES[role], text_of(message.get("text"), where="text of a message")


def _is_deleted(message: Mapping[str, Any]) -> bool:
    deleted = message.get("deleted")
    return deleted.strip().lower() in ("true", "1") if isinstance(deleted, str) else bool(deleted)


def _rank(message: Mapping[str, Any]) -> float | None:
    """The lower, the better; None where nobody ranked, which a table of floats writes as NaN."""
    rank = message.get("rank")
    if rank is None or rank == "" or (isinstance(rank, float) and math.isnan(rank)):
        return None
    return number(rank, "rank of a message")
