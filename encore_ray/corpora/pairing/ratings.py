"""Ratings that a corpus brings along: a number for each rule and response, so that no model has to score it.

Either a pair of columns `chosen__<rule>` and `rejected__<rule>` for each rule, or the lists `chosen_scores` and
`rejected_scores` with the rules' names in `rule_names` (or given by the user, in the order of the lists).
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.values import NUMERIC, Shape, number_of
from encore_ray.rules import FLOAT32_MAX
from encore_ray.schema import CHOSEN, REJECTED, SIDE_SEPARATOR, Reason, chosen_column, rejected_column

RULE_NAMES = "rule_names"
CHOSEN_SCORES, REJECTED_SCORES = "chosen_scores", "rejected_scores"
RATING_PREFIXES = (CHOSEN + SIDE_SEPARATOR, REJECTED + SIDE_SEPARATOR)
_MISSING = re.compile(
    f"(?:{'|'.join((*RATING_PREFIXES, f'{CHOSEN_SCORES} of ', f'{REJECTED_SCORES} of '))})(?P<rule>.+) is missing"
)
_NO_RATING = frozenset({"", "n/a", "na", "nan", "none", "null"})
_NUMBERS = NUMERIC | {Shape.NUMBER}


@dataclass(frozen=True)
class RatingColumns:
    """Where a file keeps its ratings: in a column a rule and side, or listed in one column a side.

    Attributes:
        rules: names, in the order of the columns or of the list.
        listed: whether they are lists.
        named: of lists, whether each row names its rules.
        has_rejected: false for single responses.
    """

    rules: tuple[str, ...]
    listed: bool
    named: bool
    has_rejected: bool

    @property
    def columns(self) -> frozenset[str]:
        """Source columns that hold the ratings."""
        if self.listed:
            sides = (CHOSEN_SCORES, REJECTED_SCORES) if self.has_rejected else (CHOSEN_SCORES,)
            return frozenset((*sides, RULE_NAMES) if self.named else sides)
        sides = (chosen_column, rejected_column) if self.has_rejected else (chosen_column,)
        return frozenset(side(rule) for side in sides for rule in self.rules)

    def read(self, values: Mapping[str, Any]) -> "Ratings":
        """The ratings of one row; BadRow when one is missing or is no finite number."""
        chosen = self._side(values, CHOSEN_SCORES, chosen_column)
        rejected = self._side(values, REJECTED_SCORES, rejected_column) if self.has_rejected else None
        return Ratings(chosen, rejected)

    def _side(self, values: Mapping[str, Any], listed_in: str, column: Callable[[str], str]) -> dict[str, float]:
        if not self.listed:
            return {rule: _rating(values.get(column(rule)), column(rule)) for rule in self.rules}
        names = values.get(RULE_NAMES) if self.named else list(self.rules)
        scores = values.get(listed_in)
        if not isinstance(names, list) or not isinstance(scores, list) or len(names) != len(scores):
            raise BadRow(Reason.BAD_RATING, f"{listed_in} must be a list with one number for each rule name")
        if len(names) != len(self.rules) or {name for name in names if isinstance(name, str)} != set(self.rules):
            found = ", ".join(map(str, names))
            raise BadRow(Reason.BAD_RATING, f"{RULE_NAMES}: expected {', '.join(self.rules)}; found {found}")
        by_name = dict(zip(names, scores, strict=True))
        return {rule: _rating(by_name[rule], f"{listed_in} of {rule}") for rule in self.rules}


@dataclass(frozen=True, slots=True)
class Ratings:
    """The ratings of a row by rule; `rejected` is None for a single response, a rating where there is none."""

    chosen: Mapping[str, float | None]
    rejected: Mapping[str, float | None] | None

    def of(self, rule: str) -> tuple[float | None, float | None]:
        """Chosen and rejected rating of a rule."""
        return self.chosen[rule], self.rejected[rule] if self.rejected else None


def find_ratings(
    shapes: Mapping[str, Shape],
    *,
    rule_names: Counter[tuple[str, ...]],
    given: Sequence[str] | None = None,
    has_rejected: bool,
) -> RatingColumns | None:
    """Where a file keeps ratings, or None.

    Args:
        shapes: the usual shape of each column.
        rule_names: how often each list occurs in the `rule_names` column; the most common one counts.
        given: rule names of the score lists, from the user.
    """
    rules = tuple(
        name.removeprefix(RATING_PREFIXES[0])
        for name, shape in shapes.items()
        if name.startswith(RATING_PREFIXES[0]) and shape in _NUMBERS
    )
    if has_rejected:
        rules = tuple(rule for rule in rules if rejected_column(rule) in shapes)
    if rules:
        return RatingColumns(rules, listed=False, named=False, has_rejected=has_rejected)
    if CHOSEN_SCORES not in shapes or (has_rejected and REJECTED_SCORES not in shapes):
        return None
    if given is not None:
        return RatingColumns(tuple(given), listed=True, named=False, has_rejected=has_rejected)
    named = [names for names, _ in rule_names.most_common() if names and len(set(names)) == len(names)]
    return RatingColumns(named[0], listed=True, named=True, has_rejected=has_rejected) if named else None


def unread_ratings(shapes: Mapping[str, Shape], common: Collection[str], read: Sequence[str]) -> list[str]:
    """Columns called as ratings that are not read as such, each with the reason.

    Args:
        shapes: of all columns.
        common: of those that half of the rows have.
        read: rules whose ratings are read.
    """
    rules = [name.removeprefix(prefix) for prefix in RATING_PREFIXES for name in shapes if name.startswith(prefix)]
    return [f"{rule} ({_why_unread(rule, shapes, common)})" for rule in dict.fromkeys(rules) if rule not in read]


def _why_unread(rule: str, shapes: Mapping[str, Shape], common: Collection[str]) -> str:
    sides = chosen_column(rule), rejected_column(rule)
    missing = [name for name in sides if name not in shapes]
    if missing:
        return f"there is no {missing[0]}"
    if any(shapes[name] is Shape.BOOL for name in sides):
        return "true and false are no numbers: write 1 and 0"
    if any(shapes[name] not in _NUMBERS for name in sides):
        return "they are no numbers"
    if any(name not in common for name in sides):
        return "more than half of the rows have none"
    return "rows of this layout have ratings of their own, or several pairs"


def missing_rating(detail: str) -> str | None:
    """The rule that a row lacks a rating of, from the detail with which it went to quarantine; None for others."""
    found = _MISSING.fullmatch(detail)
    return found["rule"] if found else None


def rating_or_none(value: Any, where: str) -> float | None:
    """A rating, also one that a text spells out; None where nobody rated: null, an empty text or "N/A"."""
    if value is None or (isinstance(value, str) and value.strip().lower() in _NO_RATING):
        return None
    return _rating(value, where)


def _rating(value: Any, where: str) -> float:
    if value is None:
        raise BadRow(Reason.BAD_RATING, f"{where} is missing")
    number = number_of(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        found = repr(value[:40]) if isinstance(value, str) else type(value).__name__
        raise BadRow(Reason.BAD_RATING, f"{where}: expected a number, found {found}")
    if not abs(number) <= FLOAT32_MAX:  # NaN too
        raise BadRow(Reason.BAD_RATING, f"{where}: expected a finite float32, found {str(value)[:40]}")
    return float(number)
