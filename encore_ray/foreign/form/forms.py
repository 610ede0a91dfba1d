"""The form of a table: in which columns its ids and scores stand.

own        chosen__RULE and rejected__RULE
wide       a column a rule and side under other names, as score_chosen_RULE; columns that are lists or structs of
           all rules, one a side; columns called as the rules, of single responses
long       a row a score: columns of an id, a rule, a side and the score; or a row a response: columns of an id, a
           side, and of scores as the rules are called
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from encore_ray.rules import slug
from encore_ray.schema import CHOSEN, REJECTED, SIDE_SEPARATOR, chosen_column, rejected_column

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
    def columns(self) -> dict[str, str]:
        """What the table calls the columns of ours, with the rule where one holds those of several."""
        sides = {
            side(rule): place
            for rule, places in self.scores.items()
            for side, place in zip((chosen_column, rejected_column), places, strict=True)
        }
        labels = {name: self.labels[name.partition(SIDE_SEPARATOR)[2]] for name in sides}
        return {
            name: place.column if place.key is None else f"{labels[name]} of {place.column}"
            for name, place in sides.items()
            if place is not None
        }

    @property
    def used(self) -> frozenset[str]:
        """Columns of the table that hold its scores, and their names."""
        found = {place.column for sides in self.scores.values() for place in sides if place is not None}
        return frozenset(found | {self.names} if self.names else found)


@dataclass(frozen=True)
class Long:
    """Several rows a pair: a row a score, or a row a response.

    Attributes:
        ids: as of `Wide`; that of the pair is among them.
        side: column that tells which response a row is of.
        rule: column that tells of which rule the score of a row is; None where each rule has a column.
        scores: columns of scores by what the table calls their rules; of a row a score the one, by "".
        sides: what `side` says of the chosen and of the rejected response, in small letters.
    """

    ids: Mapping[str, str]
    side: str
    rule: str | None
    scores: Mapping[str, str]
    sides: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def used(self) -> frozenset[str]:
        """Columns that are read beside the ids."""
        return frozenset({self.side, *self.scores.values(), *([self.rule] if self.rule else [])})


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
