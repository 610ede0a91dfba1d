"""The scale that would fit the scores of a rule, as a line of rules.yaml."""

import math


def fitting_scale(low: float, high: float) -> str | None:
    """`scale: {lo: .., hi: ..}` around a range of scores, its ends rounded outward; None where all are the same."""
    if not low < high:
        return None
    return f"`scale: {{lo: {_outward(low, -1):g}, hi: {_outward(high, 1):g}}}`"


def _outward(value: float, direction: int) -> float:
    """The value with two significant digits, rounded away from the range's middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return (math.floor if direction < 0 else math.ceil)(value / step) * step
