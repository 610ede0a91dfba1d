"""Which columns belong together, as their names tell: the same name of either side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SIDES = (
    ("chosen", "rejected"),
    ("accepted", "rejected"),
    ("preferred", "dispreferred"),
    ("winner", "loser"),
)
_UNNAMED_SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"))  # which one is chosen?
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
        label: the name without the side, and without words that all of them have; may be "".
        pattern: the names, with {rule} for the label, as `Naming` takes them.
    """

    label: str
    chosen: str
    rejected: str
    pattern: tuple[str, str]


def sided_columns(names: Sequence[str]) -> list[Sided]:
    """The columns that a side can be told of, in the order of the table; not those that count or store something."""
    found = _paired(names, SIDES)
    return _without_common([each for each in found if not _words(each.label) & _OTHER and each.label not in _OURS])


def unnamed_sides(names: Sequence[str]) -> list[Sided]:
    """Columns that belong together, of which the names do not tell which is of the chosen response."""
    return [each for each in _paired(names, _UNNAMED_SIDES) if each.label]


def _words(label: str) -> set[str]:
    return set(_WORD.findall(label.lower()))


def _paired(names: Sequence[str], sides: Sequence[tuple[str, str]]) -> list[Sided]:
    by_name = {name.lower(): name for name in names}
    found: list[Sided] = []
    for name in names:
        made = (_pair(name, match, sides, by_name) for match in _WORD.finditer(name))
        found += [each for each in made if each is not None][:1]
    return found


def _pair(name: str, match: re.Match[str], sides: Sequence[tuple[str, str]], by_name: dict[str, str]) -> Sided | None:
    before, after = name[: match.start()], name[match.end() :]
    for chosen, rejected in sides:
        other = by_name.get(f"{before}{rejected}{after}".lower())
        if match[0].lower() == chosen and other is not None:
            place = other[len(before) : len(other) - len(after)]
            patterns = _pattern(before, match[0], after), _pattern(before, place, after)
            return Sided(_stripped(before, after), name, other, patterns)
    return None


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


def _without_common(found: list[Sided]) -> list[Sided]:
    """Labels without a first or last word as `score`, where all have it, and something is left of each."""
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
