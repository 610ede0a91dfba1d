"""What a row says itself of the pair that its label makes: whether its own rating of both responses agrees.

A pair of columns rates each response as a whole, or a rule of the ratings does: the higher, the better; or a column
says that it was a tie. Such pairs are counted, not changed: which of the two is right is for people to see.
"""

from collections.abc import Mapping
from typing import Any

from encore_ray.corpora.pairing.ratings import RatingColumns, Ratings
from encore_ray.corpora.values import NUMERIC, Shape, number_of
from encore_ray.schema import CHOSEN, REJECTED, chosen_column, rejected_column

AGAINST, ALIKE = "rated_against_label", "rated_alike"
STATUS = "status"  # of Argilla's pairs: unchanged, swapped or tie
MARGIN = "margin"  # of TRL's: by how much the chosen response is better

_WORTHS = ("score", "rating", "reward", "overall_score", "overall_rating")
_OVERALL = frozenset({"overall", *(f"overall_{word}" for word in ("score", "rating", "quality"))})
_NUMBERS = NUMERIC | {Shape.NUMBER}

Sides = tuple[str, str]


def find_worths(shapes: Mapping[str, Shape]) -> Sides | None:
    """The columns that rate the chosen and the rejected response as a whole, of a file with these columns."""
    for word in _WORTHS:
        for form in (f"{word}_{{}}", f"{{}}_{word}", f"{{}}-{word}", f"{word}-{{}}"):
            sides = form.format(CHOSEN), form.format(REJECTED)
            if all(shapes.get(name) in _NUMBERS for name in sides):
                return sides
    return None


def rated_sides(worths: Sides | None, ratings: RatingColumns | None) -> list[Sides]:
    """Columns that say of either response how good it is as a whole, of a table that has them."""
    rules = [] if ratings is None else [rule for rule in ratings.rules if rule.lower() in _OVERALL]
    return [*([worths] if worths else []), *((chosen_column(rule), rejected_column(rule)) for rule in rules)]


def own_verdict(values: Mapping[str, Any], worths: Sides | None, ratings: Ratings | None) -> str | None:
    """AGAINST or ALIKE, where a row rates its rejected response higher than its chosen one, or both the same."""
    rated = [] if ratings is None else [ratings.of(rule) for rule in ratings.chosen if rule.lower() in _OVERALL]
    if worths is not None:
        rated.append((_number(values.get(worths[0])), _number(values.get(worths[1]))))
    if values.get(STATUS) == "tie":
        return ALIKE
    if (margin := _number(values.get(MARGIN))) is not None and margin < 0:
        return AGAINST
    known = [(chosen, rejected) for chosen, rejected in rated if chosen is not None and rejected is not None]
    if any(chosen < rejected for chosen, rejected in known):
        return AGAINST
    return ALIKE if known and all(chosen == rejected for chosen, rejected in known) else None


def _number(value: Any) -> float | None:
    found = number_of(value) if isinstance(value, str) else value
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found == found else None
