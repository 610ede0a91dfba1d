"""What a judge answered, out of the body of a chat completion, in whichever form servers give it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from encore_ray.passes.scorers.api.refusals import Refusal

# How vocabularies of byte-level and sentence pieces spell a space and a line's end.
_MARKS = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})

# How thoughts begin that a server leaves in the text of a message, and what ends them and marks the answer.
_THOUGHTS = ("<think", "<|channel|>", "<reasoning", "[THINK]")
_ANSWERS = ("</think>", "</thinking>", "</reasoning>", "[/THINK]", "<|channel|>final<|message|>")
_AROUND = re.compile(r"^[\s\"'*`]+")  # an answer: no token of it

Likely = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Reply:
    """What a judge answered.

    Attributes:
        text: of its message; None where it has none, as where a filter kept it back.
        first: tokens that its answer could have begun with and their natural log-probabilities, as far as they were
            given; empty where none were.
        manner: what is to be said of how it answers, as that it thinks first; "" for nothing.
        usage: tokens of the request, where the service counts them.
    """

    text: str | None
    first: Likely
    manner: str = ""
    usage: int | None = field(default=None, compare=False)

    @property
    def is_said(self) -> bool:
        """Whether it tells how a judge answers: one that was kept back tells nothing of log-probabilities."""
        return bool(self.first or (self.text or "").strip())


@dataclass(frozen=True)
class Refused:
    """The service does not answer this one request; why, in its own words."""

    reason: str
    refusal: Refusal | None = field(default=None, compare=False)


def parse_reply(data: bytes) -> Reply | None:
    """The reply in the body of a chat completion; None where it is none.

    Half a character, as of an emoji that the last token begins, becomes a question mark: files hold none.
    """
    try:
        value = json.loads(data)
        choice = value["choices"][0]
        is_kept_back = choice.get("message") is None and _is_filtered(choice.get("finish_reason"))
        message: dict[str, Any] = {} if is_kept_back else choice["message"]
        said = _text(message.get("content"))
        text = _answer(said)
        entries = _entries(choice.get("logprobs") or {})
        first = _first(entries, text, has_thoughts=text != said or bool(_thoughts(message)))
        if not all(logprob < 0.01 for _, logprob in first):  # NaN is no logarithm of a probability either
            return None
        manner = _manner(message, said, choice.get("finish_reason"))
        usage = (value.get("usage") or {}).get("prompt_tokens")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return Reply(None if text is None else _whole(text), first, manner, usage if isinstance(usage, int) else None)


def is_message_missing(data: bytes) -> bool:
    """Whether a body is a chat completion whose choices are there, and hold no message."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    choices = value.get("choices", ()) if isinstance(value, dict) and "error" not in value else ()
    first = choices[0] if isinstance(choices, list) and choices else None
    return choices in (None, []) or (isinstance(first, dict) and first.get("message") is None)


def word_of(token: str) -> str:
    """What a token spells, without spaces around it, in lower case."""
    return token.translate(_MARKS).strip().lower()


def _text(content: Any) -> str | None:
    """The text of a message, which may come in parts; TypeError for anything else."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    if not isinstance(content, str | None):
        raise TypeError(content)
    return content


def _entries(logprobs: dict[str, Any]) -> list[tuple[str, Likely]]:
    """Of each token that was said, what could have stood there; chat completions' form, or the one before it."""
    if logprobs.get("content"):
        return [(str(each["token"]), _likely(each.get("top_logprobs") or ())) for each in logprobs["content"]]
    tokens, tops = logprobs.get("tokens") or [], logprobs.get("top_logprobs") or []
    chosen = logprobs.get("token_logprobs") or []
    entries = []
    for place, token in enumerate(tokens):
        top = tops[place] if place < len(tops) else None
        if not top:  # at least the one that was said
            top = {token: chosen[place]} if place < len(chosen) and chosen[place] is not None else {}
        pairs = [{"token": name, "logprob": value} for name, value in top.items()] if isinstance(top, dict) else top
        entries.append((str(token), _likely(pairs)))
    return entries


def _likely(pairs: Sequence[Any]) -> Likely:
    """Tokens and their log-probabilities; without those of probability 0, which some services write as null."""
    given = [(str(each["token"]), each["logprob"]) for each in pairs]
    return tuple((_whole(token), float(logprob)) for token, logprob in given if logprob is not None)


def _first(entries: list[tuple[str, Likely]], text: str | None, *, has_thoughts: bool) -> Likely:
    """What could have stood where the answer begins: thoughts, marks of a template and quotes may be before it.

    Nothing where there are thoughts, and log-probabilities of these alone. Thoughts may begin as the answer does: it is
    the last that is said.
    """
    if not entries:
        return ()
    answer = _AROUND.sub("", text or "").strip().lower()
    if not answer:
        return entries[0][1]
    words = [word_of(_whole(token)) for token, _ in entries]
    begun = [place for place, word in enumerate(words) if word and _whole(answer).startswith(word)]
    rests = ["".join(token.translate(_MARKS) for token, _ in entries[place:]).strip().lower() for place in begun]
    whole = [place for place, rest in zip(begun, rests, strict=True) if rest.startswith(answer)]
    parts = [place for place, rest in zip(begun, rests, strict=True) if answer.startswith(rest)]
    if has_thoughts:
        found = whole[-1:] or parts[:1]
        return entries[found[0]][1] if found else ()
    found = whole[:1] or parts[:1]
    return entries[found[0]][1] if found and begun[0] != 0 else entries[0][1]


def _answer(said: str | None) -> str | None:
    """A message's text behind the thoughts that it may begin with, where these have an end."""
    if said is None or not said.lstrip().startswith(_THOUGHTS):
        return said
    ends = [found + len(end) for end in _ANSWERS if (found := said.rfind(end)) >= 0]
    return said[max(ends) :] if ends else said


def _thoughts(message: dict[str, Any]) -> Any:
    return message.get("reasoning_content") or message.get("reasoning") or message.get("thinking")


def _manner(message: dict[str, Any], text: str | None, finish: Any) -> str:
    said = []
    is_thinking = (text or "").lstrip().startswith(_THOUGHTS) and not (text or "").lstrip().startswith(_ANSWERS)
    if _thoughts(message) or is_thinking:
        said.append("it thinks before it answers")
    if finish == "length" and not (text or "").strip():
        said.append("its tokens ended before an answer")
    if _is_filtered(finish):
        said.append("a filter of the service kept the answer back")
    if message.get("refusal"):
        said.append(f"it refuses: {str(message['refusal'])[:80]!r}")
    return "; ".join(said)


def _is_filtered(finish: Any) -> bool:
    return str(finish).startswith("content_filter")  # Google names the category behind it


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()
