"""Parts that all layouts are read by: the prompt, a response after it, a label, the verdict between two responses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.corpora.files.columns import FIRST, TIE, label_text
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import check_contents, list_of, messages_of, text_of
from encore_ray.corpora.turns.transcripts import ASSISTANT, SYSTEM, USER, Turn, is_foreign, read_transcript, replied
from encore_ray.corpora.values import number_of
from encore_ray.schema import PROMPT, Reason


@dataclass(frozen=True, slots=True)
class Opening:
    """What comes before the responses; `is_transcript` where it was written with markers."""

    turns: list[Turn]
    is_transcript: bool = False


def opening(value: Any, *, where: str = PROMPT) -> Opening:
    """The turns of a prompt: of a list of messages, of a transcript, or one user turn of any other text."""
    if isinstance(value, list | dict):
        turns = turns_of(value, where=where)
        if sum(role == USER for role, _ in turns) != 1 or turns[-1][0] != USER:
            return Opening(turns)
        told = _told(turns[-1][1], where=where)
        return Opening([*turns[:-1], *told], True) if told else Opening(turns)
    text = text_of(value, where=where)
    told = _told(text, where=where)
    return Opening(told, True) if told else Opening([(USER, text)])


def turns_of(value: Any, *, where: str) -> list[Turn]:
    """Turns of a list of messages, or of a single one."""
    return messages_of([value] if isinstance(value, dict) else value, where=where)


def continued(begin: Opening, value: Any, where: str) -> list[Turn]:
    """The whole conversation of a response: a text, the turns that follow the prompt, or prompt and turns."""
    prompt = begin.turns
    if isinstance(value, list | dict):
        turns = turns_of(value, where=where)
        return turns if turns[: len(prompt)] == prompt else [*prompt, *turns]
    text = text_of(value, where=where)
    transcript = read_transcript(text)
    if transcript:
        turns = list(transcript.turns)
        if _same(turns[: len(prompt)], prompt):
            check_contents(turns[len(prompt) :], where=where)
            return [*prompt, *turns[len(prompt) :]]
        if transcript.is_sure:
            raise BadRow(
                Reason.NO_COMMON_PROMPT,
                f"{where} is a transcript ({transcript.form}) that does not begin as the prompt",
            )
    if begin.is_transcript:
        text = text_of(replied(text), where=where)
    return [*prompt, (ASSISTANT, text)]


def responses_of(value: Any, where: str) -> list[Any]:
    """The responses of one side: a list of texts or of message lists, or a single one of either."""
    if isinstance(value, str | dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return [value]
    return list_of("response", value, where)


def object_of(value: Any, where: str) -> Mapping[str, Any]:
    """A value that is an object."""
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    if not isinstance(value, dict):
        raise BadRow(Reason.WRONG_TYPE, f"{where}: expected an object, found {type(value).__name__}")
    return value


def objects_of(value: Any, where: str) -> list[Mapping[str, Any]]:
    """A list of one or more objects."""
    found = list_of("object", value, where)
    return [object_of(item, f"item {place} of {where}") for place, item in enumerate(found, start=1)]


def label(value: Any, where: str, allowed: range) -> int:
    """A whole number of a range, also one that a text spells out."""
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    number = number_of(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or number not in allowed:
        expected = f"{allowed.start} to {allowed.stop - 1}"
        raise BadRow(Reason.BAD_LABEL, f"{where}: expected a whole number, {expected}; found {str(value)[:40]!r}")
    return int(number)


def number(value: Any, where: str) -> float:
    """A finite number, also one that a text spells out."""
    found = number_of(value) if isinstance(value, str) else value
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 1e300:
        raise BadRow(Reason.BAD_LABEL, f"{where}: expected a number, found {str(value)[:40]!r}")
    return float(found)


def verdict(value: Any, where: str, words: Mapping[str, int]) -> int:
    """FIRST, SECOND or TIE, as a word or number says it; words are looked up in small letters."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    found = words.get(label_text(value))
    if found is None:
        known = ", ".join(map(repr, words))
        raise BadRow(Reason.BAD_LABEL, f"{where}: expected one of {known}; found {str(value)[:40]!r}")
    return found


def judged(first: list[Turn], second: list[Turn], which: int) -> list[Candidate]:
    """The pair in the direction of its verdict; in a tie two single responses of one group."""
    if which == TIE:
        return [Candidate(first, None), Candidate(second, None)]
    return [Candidate(first, second) if which == FIRST else Candidate(second, first)]


def with_history(turns: list[Turn], *, system: str | None, history: Sequence[Turn]) -> list[Turn]:
    """A conversation behind a system turn and earlier turns that stand in columns of their own."""
    start = 0
    while start < len(turns) and turns[start][0] == SYSTEM:
        start += 1
    given = [content.strip() for _, content in turns[:start]]
    if system is not None and given and given != [system.strip()]:
        raise BadRow(Reason.BAD_ROLES, "the system turn and the column beside it are not the same")
    own = [(SYSTEM, system)] if system is not None and not given else []
    return [*own, *turns[:start], *history, *turns[start:]]


def history_of(value: Any, *, where: str) -> Iterator[Turn]:
    """Earlier turns: a list of [question, answer] as LLaMA-Factory has them, or of messages."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        yield from turns_of(value, where=where)
        return
    if not isinstance(value, list) or not all(isinstance(item, list) and len(item) == 2 for item in value):
        raise BadRow(Reason.UNREAD_COLUMN, f"{where}: expected a list of [question, answer] or of messages")
    for number_, (question, answer) in enumerate(value, start=1):
        yield USER, text_of(question, where=f"question {number_} of {where}")
        yield ASSISTANT, text_of(answer, where=f"answer {number_} of {where}")


def _told(text: str, *, where: str) -> list[Turn]:
    """The turns of a prompt that is a transcript, up to the user's last one; none where it is an ordinary text."""
    transcript = read_transcript(text)
    if transcript is None:
        if is_foreign(text):
            raise BadRow(Reason.UNREAD_TRANSCRIPT, f"{where} has the markers of turns in an unknown form; {_ADVICE}")
        return []
    turns = list(transcript.turns)
    if transcript.is_open:
        turns.pop()
    if not turns or turns[-1][0] != USER:
        raise BadRow(
            Reason.UNREAD_TRANSCRIPT,
            f"{where} is a transcript ({transcript.form}) that does not end with the user's turn; {_ADVICE}",
        )
    check_contents(turns, where=where)
    return turns


_ADVICE = "give the turns as a list of {role, content}"


def _same(turns: Sequence[Turn], prompt: Sequence[Turn]) -> bool:
    return [(role, content.strip()) for role, content in turns] == [(role, content.strip()) for role, content in prompt]
