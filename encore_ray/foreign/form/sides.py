"""Which columns belong together, as their names tell: the same name of either side."""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Tells = Literal["surely", "likely", "nothing"]  # what two words tell of which response is the chosen one

# Words for the chosen and for the rejected response. Columns that surely tell are taken, others proposed.
WORDS: tuple[tuple[str, str, Tells], ...] = (
    ("chosen", "rejected", "surely"),
    ("chosen", "reject", "surely"),
    ("accepted", "rejected", "surely"),
    ("preferred", "dispreferred", "surely"),
    ("preferred", "rejected", "surely"),
    ("winner", "loser", "surely"),
    ("good", "bad", "likely"),
    ("better", "worse", "likely"),
    ("best", "worst", "likely"),
    ("win", "lose", "likely"),
    ("win", "loss", "likely"),
    ("won", "lost", "likely"),
    ("winning", "losing", "likely"),
    ("pos", "neg", "likely"),
    ("positive", "negative", "likely"),
    ("accept", "reject", "likely"),
    ("liked", "disliked", "likely"),
    ("up", "down", "likely"),
    ("a", "b", "nothing"),
    ("x", "y", "nothing"),
    ("1", "2", "nothing"),
    ("0", "1", "nothing"),
    ("one", "two", "nothing"),
    ("left", "right", "nothing"),
    ("first", "second", "nothing"),
)
_GENERAL = frozenset({"score", "scores", "rating", "ratings", "reward", "rewards"})
# What is counted or stored of a response beside its scores.
_OTHER = frozenset(
    re.findall(
        r"\w+", "length len lengths tokens token chars words ids id index count num time mask embedding embeddings"
    )
)
_OURS = frozenset({"reward", "vetoes", "refined"})  # what is composed of scores
_WORD, _MARKS = re.compile(r"[A-Za-z]+|\d+"), re.compile(r"[^A-Za-z0-9]*")


@dataclass(frozen=True)
class Sided:
    """Two columns of the same of either side.

    Attributes:
        label: the name without the side; may be "".
        pattern: the names, with {rule} for the label, as `Naming` takes them.
    """

    label: str
    chosen: str
    rejected: str
    pattern: tuple[str, str]


def sided_columns(names: Sequence[str]) -> list[Sided]:
    """The columns that a side can be told of, in the order of the table; not those that count or store something."""
    return [each for each in _paired(names, _of("surely")) if is_of_rule(each.label)]


def lone_columns(names: Sequence[str], found: Sequence[Sided]) -> list[Sided]:
    """Columns with the word of a side in their names, where that of the other side is not there.

    Args:
        found: columns of both sides, whose names tell where that word stands; none: it may stand anywhere.
    """
    by_name = {name.lower(): name for name in names}
    fitting = [_fits(pattern) for each in found for pattern in each.pattern]
    lone: list[Sided] = []
    for name in names:
        made = [each for each in _made(name, _of("surely"), by_name) if each.label and is_of_rule(each.label)]
        is_called_so = not fitting or any(pattern.fullmatch(name) for pattern in fitting)
        if is_called_so and not any(each.chosen in names and each.rejected in names for each in made):
            lone += made[:1]
    return lone


def likely_sides(names: Sequence[str]) -> tuple[Sided, Tells] | None:
    """The first columns that belong together by words that do not surely tell the chosen side; None without any.

    Of several words for the sides those that most columns have.
    """
    most: list[Sided] = []
    told: Tells = "nothing"
    for chosen, rejected, tells in WORDS:
        found = [each for each in _paired(names, [(chosen, rejected)]) if each.label]
        if tells != "surely" and len(found) > len(most):
            most, told = found, tells
    return (most[0], told) if most else None


def side_values(values: Collection[str]) -> tuple[str, str] | None:
    """Which of two values of a column likely stands for the chosen and which for the rejected response, if any does."""
    said = {value.strip().lower(): value for value in values}
    found = ((chosen, rejected) for chosen, rejected, tells in WORDS if tells != "nothing")
    return next(((said[a], said[b]) for a, b in found if said.keys() == {a, b}), None)


def is_general(label: str) -> bool:
    """Whether a name says no more than that it is of scores."""
    return label.lower() in _GENERAL


def words_of(side: Literal["chosen", "rejected"]) -> tuple[str, ...]:
    """What surely says that a response is the chosen, or the rejected one."""
    place = 0 if side == "chosen" else 1
    return tuple(dict.fromkeys(words[place] for words in _of("surely")))


def _of(tells: Tells) -> list[tuple[str, str]]:
    return [(chosen, rejected) for chosen, rejected, told in WORDS if told == tells]


def is_of_rule(label: str) -> bool:
    """Whether a name may be that of a rule, and not of what is counted or stored beside scores."""
    return not _words(label) & _OTHER and label not in _OURS


def _fits(pattern: str) -> re.Pattern[str]:
    before, after = pattern.split("{rule}", 1)
    return re.compile(f"{re.escape(before)}.+{re.escape(after)}", re.IGNORECASE | re.DOTALL)


def _words(label: str) -> set[str]:
    return set(_WORD.findall(label.lower()))


def _paired(names: Sequence[str], sides: Sequence[tuple[str, str]]) -> list[Sided]:
    """Columns that are there of both sides, by some words for these."""
    by_name = {name.lower(): name for name in names}
    found: list[Sided] = []
    for name in names:
        made = (each for each in _made(name, sides, by_name) if each.chosen == name and each.rejected in names)
        found += itertools.islice(made, 1)
    return found


def _made(name: str, sides: Sequence[tuple[str, str]], by_name: Mapping[str, str]) -> Iterator[Sided]:
    """What a column is of, by each word for a side in its name, whether the column of the other side is there or not.

    Args:
        by_name: columns that are there, by their names in small letters.
    """
    for match in _WORD.finditer(name):
        before, after, word = name[: match.start()], name[match.end() :], match[0].lower()
        for chosen, rejected in (each for each in sides if word in each):
            made = f"{before}{rejected if word == chosen else chosen}{after}"
            other = by_name.get(made.lower(), made)
            said = other[len(before) : len(other) - len(after)]
            own, others = _pattern(before, match[0], after), _pattern(before, said, after)
            label = _stripped(before, after)
            yield (
                Sided(label, name, other, (own, others)) if word == chosen else Sided(label, other, name, (others, own))
            )


def _pattern(before: str, side: str, after: str) -> str:
    if _WORD.search(after):
        return f"{before}{side}{_MARKS.match(after)[0]}{{rule}}"  # type: ignore[index]  # it fits nothing, too
    marks = re.search(r"[^A-Za-z0-9]*$", before)
    assert marks
    general = re.match(r"([A-Za-z]+)[^A-Za-z0-9]+(?=[A-Za-z0-9])", before)  # no part of a rule's name
    begin = general[0] if general and general[1].lower() in _GENERAL else ""
    return f"{begin}{{rule}}{marks[0]}{side}{after}"


def _stripped(before: str, after: str) -> str:
    """What is left of a name, without the marks that stood around the side."""
    if not _WORD.search(before) or not _WORD.search(after):
        return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", before + after)
    return re.sub(r"[^A-Za-z0-9]+$", "", before) + after


def without_common(found: list[Sided]) -> list[Sided]:
    """The same, labels without a first or last word as `score`, where all have it, and something is left of each."""
    for at_end in (False, True):
        shorter = [_cut(each.label, at_end=at_end) for each in found]
        if all(shorter):
            found = [
                Sided(label, each.chosen, each.rejected, each.pattern)
                for each, label in zip(found, shorter, strict=True)
            ]
    return found


def _cut(label: str, *, at_end: bool) -> str:
    """The label without a general word at that end; "" where there is none, or nothing else."""
    words = list(_WORD.finditer(label))
    if len(words) < 2:
        return ""
    word = words[-1] if at_end else words[0]
    if word[0].lower() not in _GENERAL:
        return ""
    return label[: words[-2].end()] if at_end else label[words[1].start() :]
