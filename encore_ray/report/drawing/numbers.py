"""Numbers as people read them: percent, points, counts, intervals, p-values; a dash for what is not known."""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from encore_ray.composition.consensus.verdict import write_p

UNKNOWN = "–"
MINUS = "−"


def percent(value: float | None, *, digits: int = 1) -> str:
    """.6823 is 68.2%."""
    return UNKNOWN if value is None else f"{value:.{digits}%}".replace("-", MINUS)


def percent_tick(value: float) -> str:
    """A share at the axis of a chart: whole percent where it is one."""
    return percent(value, digits=0 if abs(100 * value - round(100 * value)) < 1e-6 else 1)


def percent_interval(low: float | None, high: float | None, *, digits: int = 1) -> str:
    """.671 and .693 are 67.1 to 69.3%."""
    if low is None or high is None:
        return UNKNOWN
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}%".replace("-", MINUS)


def points(value: float | None) -> str:
    """A difference of two shares in percentage points with its sign: .021 is +2.1."""
    if value is None:
        return UNKNOWN
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def points_interval(low: float | None, high: float | None) -> str:
    return UNKNOWN if low is None or high is None else f"{points(low)} to {points(high)}"


def count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def plain(value: float | None, *, digits: int = 3) -> str:
    """A number of a fixed number of decimals."""
    return UNKNOWN if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def weight_writer(weight_K: Iterable[float]) -> Callable[[float], str]:
    """How to write these weights: shares that sum to 1 as percent, fitted ones of any sign and sum as numbers."""
    weights = list(weight_K)
    are_shares = min(weights, default=0.0) >= 0 and abs(math.fsum(weights) - 1) < 1e-6
    return percent if are_shares else plain


def compact(value: float | None) -> str:
    """A number of about four digits, as in the ends of a scale or the ticks of an axis."""
    return UNKNOWN if value is None else f"{value:.4g}".replace("-", MINUS)


def signed(value: float | None, *, digits: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:+.{digits}f}".replace("-", MINUS)


def p_value(p: float | None) -> str:
    return "p unknown" if p is None else write_p(p)


def value_text(value: Any) -> str:
    """A setting as it is written in YAML, where it is one word; else as JSON."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def plural(number: int, noun: str) -> str:
    """1 pair, 2 pairs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
