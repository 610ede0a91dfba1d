"""Conversations as turns: message lists, plain texts and transcripts, checked.

A turn is (role, content). A whole conversation is any number of system turns, then user and assistant in turn,
user first and assistant last. Content is kept to the last character.
"""

from typing import Any

from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.transcripts import (
    ASSISTANT,
    SYSTEM,
    TRANSCRIPT_START,
    USER,
    Turn,
    read_transcript,
)
from encore_ray.schema import Reason

_ALTERNATION = (USER, ASSISTANT)


def text_of(value: Any, *, where: str) -> str:
    """A text that is there and not blank."""
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    if not isinstance(value, str):
        raise BadRow(Reason.WRONG_TYPE, f"{where}: expected a text, found {type(value).__name__}")
    if not value or value.isspace():
        raise BadRow(Reason.EMPTY_FIELD, f"{where} is empty")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # of a list that was stored as text: its escapes are read here first
            raise BadRow(Reason.INVALID_UTF8, f"{where} has half of a surrogate pair, which is no text") from None
    return value


def list_of(what: str, value: Any, where: str) -> list[Any]:
    """A list that has something in it; `what` is one of it."""
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    if not isinstance(value, list):
        raise BadRow(Reason.WRONG_TYPE, f"{where}: expected a list of {what}s, found {type(value).__name__}")
    if not value:
        raise BadRow(Reason.EMPTY_FIELD, f"{where} has no {what}")
    return value


def messages_of(value: Any, *, where: str) -> list[Turn]:
    """Turns of a list of {role, content}.

    A message with another key that is not null is refused: a pair has no place for it (tool calls, names).
    """
    found = list_of("message", value, where)
    return [_turn(message, f"message {number} of {where}") for number, message in enumerate(found, start=1)]


def transcript_turns(value: Any, *, where: str) -> list[Turn]:
    """Turns of a transcript, as "\\n\\nHuman: … \\n\\nAssistant: …"; the one space after the colon is no content.

    Source: the format of Anthropic's hh-rlhf data; see transcripts.py for others.
    """
    text = text_of(value, where=where)
    transcript = read_transcript(text)
    if transcript is None:
        raise BadRow(Reason.BAD_ROLES, f"{where} does not start with {TRANSCRIPT_START!r} or another speaker's marker")
    turns = list(transcript.turns)
    check_contents(turns, where=where)
    return turns


def check_contents(turns: list[Turn], *, where: str) -> None:
    """BadRow where a turn of a transcript is empty."""
    empty = [not content or content.isspace() for _, content in turns]
    if True in empty:
        first = empty.index(True)
        said = f"turn {first + 1} of {len(turns)} ({turns[first][0]}) of {where} is empty"
        raise BadRow(Reason.EMPTY_FIELD, said)


def check_conversation(turns: list[Turn], *, where: str) -> None:
    """BadRow unless the roles are in order and an assistant has the last word."""
    roles = [role for role, _ in turns]
    num_users = roles.count(USER)
    if roles == [USER, ASSISTANT] * num_users and num_users:
        return
    num_system = 0
    while num_system < len(turns) and turns[num_system][0] == SYSTEM:
        num_system += 1
    for index in range(num_system, len(turns)):
        expected = _ALTERNATION[(index - num_system) & 1]
        if turns[index][0] != expected:
            found = turns[index][0]
            raise BadRow(Reason.BAD_ROLES, f"turn {index + 1} of {where}: expected {expected}, found {found}")
    if turns[-1][0] != ASSISTANT:
        raise BadRow(Reason.LAST_TURN_NOT_ASSISTANT, f"{where} ends with the {turns[-1][0]}'s turn")


def _turn(message: Any, where: str) -> Turn:
    if not isinstance(message, dict):
        raise BadRow(Reason.WRONG_TYPE, f"{where}: expected {{role, content}}, found {type(message).__name__}")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        reason = Reason.MISSING_FIELD if role is None else Reason.WRONG_TYPE
        raise BadRow(reason, f"{where}: expected a role, found {role!r}")
    if role not in (SYSTEM, USER, ASSISTANT):
        raise BadRow(Reason.BAD_ROLES, f"{where}: expected the role system, user or assistant, found {role!r}")
    if len(message) > 2:
        for key, value in message.items():
            if key not in ("role", "content") and value is not None:
                raise BadRow(Reason.WRONG_TYPE, f"{where} has {key!r}, for which a pair has no place")
    if role == SYSTEM and content == "":  # common and harmless; dropping it would change the data
        return role, content
    return role, text_of(content, where=f"the content of {where}")
