"""The scale that would fit the scores of a rule, as a line of rules.yaml."""

import math

from encore_ray.files.plain_yaml import number_text


def fitting_scale(low: float, high: float) -> str | None:
    """`scale: {lo: .., hi: ..}` around a range of scores, its ends rounded outward; None where all are the same."""
    if not low < high:
        return None
    return f"`scale: {{lo: {number_text(outward(low, -1))}, hi: {number_text(outward(high, 1))}}}`"


def outward(value: float, direction: int) -> float:
    """The value with two significant digits, rounded away from the range's middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{(math.floor if direction < 0 else math.ceil)(value / step) * step:.6g}")
