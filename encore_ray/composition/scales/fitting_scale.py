"""The scale that would fit the scores of a rule, and how rules.yaml has a scale on a line."""

import math

from encore_ray.files.plain_yaml import number_text
from encore_ray.rules import Scale

_CELL_SHARE = 0.05  # of a scale: a cell of the usual twenty
_MIN_CELLS = 3  # that scores fill, else most of them share one or two


def fitting_scale(low: float, high: float) -> Scale | None:
    """A scale around a range of scores, its ends rounded outward; None where all are the same."""
    return Scale(outward(low, -1), outward(high, 1)) if low < high else None


def narrower_scale(scale: Scale, low: float, high: float) -> Scale | None:
    """A scale for scores that vary, and fill so little of theirs that they share a few cells; None for others.

    Scores at an end of the scale are those of a rule that never fires, unless they fill the range of a probability.

    Args:
        low, high: the smallest and the largest score.
    """
    fitting = None if scale.levels else fitting_scale(low, high)
    cell = _CELL_SHARE * scale.width
    at_an_end = low < scale.lo + cell or high > scale.hi - cell
    as_probabilities = low >= -0.05 and high <= 1.05 and high - low >= 0.3
    return None if high - low >= _MIN_CELLS * cell or (at_an_end and not as_probabilities) else fitting


def is_too_wide(scale: Scale, of_scores: Scale) -> bool:
    """Whether scores that lie in one range would share a few cells of a scale."""
    return of_scores.width < _MIN_CELLS * _CELL_SHARE * scale.width


def scale_text(scale: Scale) -> str:
    """As rules.yaml has it behind `scale: `."""
    if scale.levels is not None:
        return f"{{levels: [{', '.join(map(number_text, scale.levels))}]}}"
    return f"{{lo: {number_text(scale.lo)}, hi: {number_text(scale.hi)}}}"


def outward(value: float, direction: int) -> float:
    """The value with two significant digits, rounded away from the range's middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{(math.floor if direction < 0 else math.ceil)(value / step) * step:.6g}")
