"""How scores of rules with different scales are brought together before they are weighed."""

from typing import Literal

from encore_ray.rules import Scale

ScoreRange = Literal["declared", "unit", "raw"]


def score_divisor(scale: Scale, score_range: ScoreRange) -> float:
    """What a rule's scores are divided by before they are weighed: its scale's width where mapped to [0, 1], else 1."""
    return scale.width if score_range == "unit" else 1.0
