"""Conversations that are too long for a judge: they lose their beginning, the same under all rules."""

from collections.abc import Sequence

from encore_ray.models.spec.conversation import Message
from encore_ray.passes.scorers.api.refusals import TooLong

CHARS_A_TOKEN = 4  # about so many in English
LEAST_CHARS = 64  # of a conversation: one that is no longer is not cut any more

LEFT_OUT = "[…]"
_MARGIN = 0.95  # of an estimate: the parts of a text have more or fewer tokens than the whole
_STEP = 0.75  # where a refusal tells nothing that helps


def num_chars(turns: Sequence[Message]) -> int:
    return sum(len(turn["content"]) for turn in turns)


def cut_turns(turns: Sequence[Message], most_chars: int) -> list[Message]:
    """The end of a conversation: as many turns as fit, the first of them without its beginning.

    A user's turn that says that something is left out goes before an assistant's: many templates want one there.
    """
    excess = num_chars(turns) - most_chars
    if excess <= 0:
        return list(turns)
    kept = list(turns)
    while excess >= len(kept[0]["content"]) and len(kept) > 1:
        excess -= len(kept.pop(0)["content"])
    kept[0] = {**kept[0], "content": kept[0]["content"][max(excess, 0) :]}
    return [{"role": "user", "content": LEFT_OUT}, *kept] if kept[0]["role"] == "assistant" else kept


def fitting_chars(chars: int, refused: TooLong) -> int:
    """How many characters of messages may do, where so many were refused."""
    if refused.limit and refused.requested:
        return int(chars * min(refused.limit / refused.requested * _MARGIN, _STEP))
    if refused.limit and refused.limit * CHARS_A_TOKEN < chars:
        return int(refused.limit * CHARS_A_TOKEN * _MARGIN)
    return int(chars * _STEP)
