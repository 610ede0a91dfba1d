"""The form of a table: in which columns its ids and scores stand.

own        chosen__RULE and rejected__RULE
wide       a column a rule and side under other names, as score_chosen_RULE; columns that are lists or structs of
           all rules, one a side; columns called as the rules, of single responses
long       a row a score: columns of an id, a rule, a side and the score
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from encore_ray.foreign.sides import SIDES
from encore_ray.rules import slug
from encore_ray.schema import CHOSEN, REJECTED, SIDE_SEPARATOR

OWN = f"{CHOSEN}{SIDE_SEPARATOR}", f"{REJECTED}{SIDE_SEPARATOR}"  # before the name of a rule


@dataclass(frozen=True)
class Place:
    """Where a score stands: in a column, or in one of its elements or fields."""

    column: str
    key: str | int | None = None


@dataclass(frozen=True)
class Wide:
    """A row a pair.

    Attributes:
        ids: columns of the table for `IDS`, of those that it has.
        scores: places of the chosen and of the rejected score of each rule; None for a table of single responses.
        labels: what the table calls each rule.
        num_listed: how many scores each list has; None without lists.
        names: column that names the scores of the lists, where there is one, and no other names are known.
    """

    ids: Mapping[str, str]
    scores: Mapping[str, tuple[Place, Place | None]]
    labels: Mapping[str, str]
    num_listed: int | None = None
    names: str | None = None

    @property
    def used(self) -> frozenset[str]:
        """Columns of the table that hold its scores, and their names."""
        found = {place.column for sides in self.scores.values() for place in sides if place is not None}
        return frozenset(found | {self.names} if self.names else found)


@dataclass(frozen=True)
class Long:
    """A row a score.

    Attributes:
        ids: as of `Wide`; that of the pair is among them.
        rule, side, score: columns.
        sides: what `side` says of the chosen and of the rejected response, in small letters.
    """

    ids: Mapping[str, str]
    rule: str
    side: str
    score: str
    sides: tuple[tuple[str, ...], tuple[str, ...]] = field(
        default=(tuple(dict.fromkeys(c for c, _ in SIDES)), tuple(dict.fromkeys(r for _, r in SIDES)))
    )


def is_own(names: Sequence[str]) -> bool:
    """Whether the columns of a table are called as ours are."""
    return any(name.startswith(OWN) for name in names)


def has_good_names(names: Sequence[str]) -> bool:
    """Whether the rules of a table whose columns are called as ours have names that a rules.yaml may have."""
    rules = [name.removeprefix(prefix) for prefix in OWN for name in names if name.startswith(prefix)]
    return all(slug(rule) == rule for rule in rules)


def rule_names(labels: Iterable[str], rules: Sequence[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """The name of the rule of each label: one that is known, whatever its case and marks, else one made of the label.

    Args:
        rules: names that are known. taken: those that others have.
    """
    known = {slug(rule).lower(): rule for rule in rules}
    names: dict[str, str] = {}
    for label in labels:
        made = slug(label, [*taken, *names.values()])
        names[label] = known.get(made.lower(), made)
    return names
