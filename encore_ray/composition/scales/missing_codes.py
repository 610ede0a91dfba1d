"""Numbers that stand for "not rated" in the tables of many, and what to do about them: in one place, in one wording."""

from collections.abc import Sequence

CODES = frozenset({-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0})
HOW_TO_MEND = "mend the data to null, or leave such rows out"


def codes_beyond(scale_lo: float, scale_hi: float, ends: Sequence[float]) -> list[float]:
    """Those of the smallest and the largest score that are codes, and lie outside of a scale.

    -1 below a scale that ends at 1 is none: it is as likely the other end of it.
    """
    return [end for end in ends if end in CODES and not scale_lo <= end <= scale_hi and end != -scale_hi]


def mend_codes(codes: Sequence[float]) -> str:
    """What they are, and what to do about them, in a sentence without an end."""
    named = " and ".join(f"{code:g}" for code in codes)
    are, stand = ("are usual codes", "stand") if len(codes) > 1 else ("is a usual code", "stands")
    return f"{named} {are} for a missing value, and {stand} for no rating: {HOW_TO_MEND}"
