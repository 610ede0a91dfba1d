"""Pairs to look at: what was asked and answered, cut to what a page can hold, and what each rule made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST_CHARS = 1000  # of a turn
MOST_TURNS = 4  # of a prompt, or of a response


@dataclass(frozen=True)
class Turn:
    """The begin of a message, and how many characters the whole has."""

    role: str
    text: str
    num_chars: int

    @classmethod
    def of(cls, role: str | None, text: str | None) -> "Turn":
        text = text or ""
        return cls((role or "")[:40], text[:MOST_CHARS], len(text))


@dataclass(frozen=True)
class PairTexts:
    """What stands in a pair.

    Attributes:
        prompt, chosen, rejected: their last turns. left_out: earlier turns of the prompt.
        parts: of each rule, what it adds to the margin, weight times difference; none where it is not known.
    """

    prompt: Sequence[Turn] = ()
    chosen: Sequence[Turn] = ()
    rejected: Sequence[Turn] = ()
    left_out: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)
