"""Which column of a file that fits no layout is likely what, by its name and shape: to be pasted, and corrected."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from encore_ray.corpora.files.columns import RESPONSE, WINNER
from encore_ray.corpora.layouts.layout import REPLY, TALK
from encore_ray.corpora.values import STORED, WHOLE, Shape
from encore_ray.files.plain_yaml import scalar_text
from encore_ray.schema import CHOSEN, PROMPT, REJECTED

_PROMPTS = ("prompt", "question", "instruction", "query", "input", "request", "context", "problem", "user", "task")
_RESPONSES = ("response", "answer", "completion", "output", "reply", "generation", "assistant")
_WINNERS = ("winner", "label", "preference", "preferred", "choice", "chosen", "better", "verdict", "judgement", "vote")
# Words by which the names of two columns differ: the better side first, or sides that a third column decides between.
_BETTER = (
    *((CHOSEN, REJECTED), ("chosen", "reject"), ("accepted", "rejected"), ("better", "worse"), ("best", "worst")),
    *(("good", "bad"), ("win", "lose"), ("winner", "loser"), ("winning", "losing"), ("preferred", "dispreferred")),
    *(("positive", "negative"), ("pos", "neg"), ("safe", "unsafe"), ("w", "l")),
)
_SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("first", "second"), ("left", "right"), ("one", "two"))
_LABELS = frozenset({Shape.TEXT, Shape.NUMBER, Shape.BOOL, Shape.FLOAT}) | WHOLE


@dataclass(frozen=True)
class Proposal:
    """What columns likely hold.

    Attributes:
        columns: as `inputs[].columns` has them.
        chosen_if: value of the winner that likely stands for the first side; None where words say it, or there is none.
        is_open: whether nothing says which of the two responses is the better one.
    """

    columns: Mapping[str, str]
    chosen_if: str | None = None
    is_open: bool = False

    def __str__(self) -> str:
        """As flags and as a file have it."""
        words = [f"{place}={column}" for place, column in self.columns.items()]
        flags = shlex.join(["--map", *words, *(["--chosen-if", self.chosen_if] if self.chosen_if else [])])
        columns = ", ".join(f"{place}: {scalar_text(column)}" for place, column in self.columns.items())
        in_a_file = f"columns: {{{columns}}}" + (f", chosen_if: {self.chosen_if}" if self.chosen_if else "")
        return f"`{flags}` (of init, prepare, and run and check with --input; in a job's file, {in_a_file})"

    @property
    def sentence(self) -> str:
        """What is proposed, and what of it is a mere guess."""
        direction = ""
        if self.is_open:
            direction = (
                " Nothing says which response is the better one: it is right where the chosen one always is, else add "
                "winner=COLUMN."
            )
        elif self.chosen_if is not None:
            direction = f" --chosen-if is the value of {self.columns[WINNER]} under which {self.columns[CHOSEN]} wins."
        return f"By their names it is {self}; correct what is not so.{direction}"


def propose(found: Mapping[str, Shape]) -> Proposal | None:
    """What columns of these shapes likely hold; None where no name tells it."""
    shapes = {name: STORED.get(shape, shape) for name, shape in found.items()}
    talk = [name for name, shape in shapes.items() if shape in TALK]
    replies = [name for name, shape in shapes.items() if shape in REPLY]
    prompt = _called(_PROMPTS, talk)
    asked = {PROMPT: prompt} if prompt else {}
    for sides, is_decided in ((_BETTER, True), (_SIDES, False)):
        pair = next(_pairs(replies, sides, without=prompt), None)
        if pair is None:
            continue
        columns = asked | {CHOSEN: pair[0], REJECTED: pair[1]}
        winner = (
            None if is_decided else _called(_WINNERS, [n for n in shapes if shapes[n] in _LABELS and n not in pair])
        )
        if winner is None or winner == prompt:
            return Proposal(columns, is_open=not is_decided)
        is_word = shapes[winner] is Shape.TEXT
        return Proposal(columns | {WINNER: winner}, None if is_word else pair[2] if pair[2].isdigit() else "VALUE")
    response = _called(_RESPONSES, [name for name in replies if name != prompt])
    return Proposal({PROMPT: prompt, RESPONSE: response}) if prompt and response else None


def _called(words: tuple[str, ...], names: list[str]) -> str | None:
    """The name that has the first of the words that any of them has."""
    parts = {name: set(_parts(name)) for name in names}
    return next((name for word in words for name in names if word in parts[name]), None)


def _pairs(
    names: list[str], sides: tuple[tuple[str, str], ...], *, without: str | None
) -> Iterator[tuple[str, str, str]]:
    """Names that differ by the words of two sides alone, and the first of these words."""
    by_parts = {tuple(_parts(name)): name for name in names if name != without}
    for first, second in sides:
        for parts, name in by_parts.items():
            for place in (place for place, part in enumerate(parts) if part == first):
                other = by_parts.get((*parts[:place], second, *parts[place + 1 :]))
                if other is not None:
                    yield name, other, first


def _parts(name: str) -> list[str]:
    """Words of a name, as "answer_a", "responseA" and "Answer 1" have two."""
    spaced = re.sub(r"([a-z])([A-Z0-9])|([0-9])([A-Za-z])", r"\1\3 \2\4", name)
    return [part for part in re.split(r"[\W_]+", spaced.lower()) if part]
