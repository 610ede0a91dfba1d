"""A value that lies far from all others, as a slip of the hand or a code for "not rated" leaves it among ratings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from encore_ray.composition.scales.missing_codes import CODES, HOW_TO_MEND

_MOST_STRAY = 0.001  # share of all values; or one
_MOST_CODED = 0.5
_FEWEST = 20  # values from which on one can be told from the rest
_FEWEST_OTHERS = 3  # different ones: -1, 0 and 1 are a scale


@dataclass(frozen=True)
class Stray:
    """A value far from the rest.

    Attributes:
        value: it. count: how often it occurs.
        of: number of all values.
        low, high: between which the others lie.
    """

    value: float
    count: int
    of: int
    low: float
    high: float

    @property
    def is_code(self) -> bool:
        """Whether it is a usual code for a missing value."""
        return self.value in CODES

    @property
    def advice(self) -> str:
        """What became of it in a draft, and what to do, in sentences without an end."""
        if self.is_code:
            if self.is_apart:
                return f"The scale leaves it out. It stands for no rating: {HOW_TO_MEND}"
            return f"If it stands for no rating, take it off the scale, and {HOW_TO_MEND}"
        return "The scale leaves it out: mend the data, or widen the scale"

    @property
    def is_apart(self) -> bool:
        """Whether a scale for it and the others would be far too wide for them."""
        return 2 * min(abs(self.value - self.low), abs(self.value - self.high)) >= self.high - self.low

    def __str__(self) -> str:
        likely = "a usual code for a missing value" if self.is_code else "likely a slip, or a code for no value"
        rest = f"the others lie from {self.low:g} to {self.high:g}"
        return f"{self.value:g} in {self.count:,} of {self.of:,}, where {rest}: {likely}"


@dataclass(frozen=True)
class Broken:
    """Scores that are no whole numbers.

    Attributes:
        num: how many. low, high: the smallest and the largest.
    """

    num: int = 0
    low: float = math.inf
    high: float = -math.inf

    def __add__(self, other: "Broken") -> "Broken":
        return Broken(self.num + other.num, min(self.low, other.low), max(self.high, other.high))


def find_strays(counts: Mapping[float, int], broken: Broken = Broken()) -> list[Stray]:
    """Whole numbers that are strays, the one at an end first that is the farthest out.

    One is where there are next to none of it and it is farther from the others than these are from each other; or
    where it is a usual code, and stands apart.

    Args:
        counts: how often each whole number occurs.
        broken: the other scores.
    """
    left, of, found = dict(counts), sum(counts.values()) + broken.num, list[Stray]()
    while left and of >= _FEWEST:
        stray = next(filter(None, (_stray_at(left, broken, of, end) for end in (max(left), min(left)))), None)
        if stray is None:
            break
        found.append(stray)
        del left[stray.value]
    return found


def _stray_at(counts: Mapping[float, int], broken: Broken, of: int, value: float) -> Stray | None:
    others = [other for other in counts if other != value]
    num_others = len(others) + broken.num
    low, high = min([*others, broken.low]), max([*others, broken.high])
    if num_others < 2 or low <= value <= high:
        return None
    found = Stray(value, counts[value], of, low, high)
    gap = min(abs(value - low), abs(value - high))
    is_far = gap >= max(high - low, 1.0) and found.count <= max(1, _MOST_STRAY * of)
    is_code = value in CODES and (found.is_apart or value < 0 <= low)
    is_coded = is_code and found.count <= _MOST_CODED * of and num_others >= _FEWEST_OTHERS
    return found if is_far or is_coded else None
