"""From data to positions on paper, and round numbers for the ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class AxisScale:
    """A linear map of [lo, hi], lo < hi, to [start, end]; `end` may lie before `start`, as a y axis does in SVG."""

    lo: float
    hi: float
    start: float = 0.0
    end: float = 100.0

    def __call__(self, value: float) -> float:
        return self.start + (value - self.lo) / (self.hi - self.lo) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.lo <= value <= self.hi


def fit_scale(
    values: Iterable[float | None],
    *,
    start: float = 0.0,
    end: float = 100.0,
    margin: float = 0.06,
    least: float = 0.02,
) -> AxisScale:
    """The scale that shows all values with a margin on both sides.

    Args:
        values: None is passed over; without any value the scale is [0, 1].
        margin: share of the spread that is added on each side.
        least: smallest width, so that equal values still have a scale.
    """
    known = [value for value in values if value is not None]
    if not known:
        return AxisScale(0.0, 1.0, start, end)
    lo, hi = min(known), max(known)
    width = max(hi - lo, least)
    middle = (lo + hi) / 2
    return AxisScale(middle - width * (0.5 + margin), middle + width * (0.5 + margin), start, end)


def ticks(scale: AxisScale, *, about: int = 5) -> list[float]:
    """Round numbers within the scale, about so many, in steps of 1, 2 or 5 times a power of ten."""
    rough = (scale.hi - scale.lo) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.75)
    first, last = math.ceil(scale.lo / step - 1e-9), math.floor(scale.hi / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]
