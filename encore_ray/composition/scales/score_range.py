"""How scores of rules with different scales are brought together before they are weighed."""

from collections.abc import Sequence
from typing import Literal

from encore_ray.errors import DataError
from encore_ray.rules import RuleSet, Scale
from encore_ray.shell import option, to_paste

ScoreRange = Literal["declared", "unit", "raw"]


def score_divisor(scale: Scale, score_range: ScoreRange) -> float:
    """What a rule's scores are divided by before they are weighed: its scale's width where mapped to [0, 1], else 1."""
    return scale.width if score_range == "unit" else 1.0


def ranges_differ(scales: Sequence[Scale]) -> bool:
    """Whether scores on these scales are of different range, so that a wider one would outweigh the others."""
    return len({(scale.lo, scale.hi) for scale in scales}) > 1


def how_to_map(section: str = "weigh") -> str:
    """What to give, so that rules of different range can be added up, in a sentence or with the line to paste.

    Args:
        section: of the configuration that says so.
    """
    unit, raw = (option("score_range", choice, section=section) for choice in ("unit", "raw"))
    return (
        f"Say how to mix them: {unit} maps each to [0, 1], {raw} adds them as they are"
        f"{to_paste(score_range='unit', section=section)}"
    )


def check_ranges(rules: RuleSet, *, score_range: ScoreRange, section: str = "weigh") -> bool:
    """Whether the rules' declared ranges differ.

    Args:
        section: of the configuration that has the score range.

    Raises:
        DataError: they do, and nothing says how to add their scores.
    """
    differ = ranges_differ([rule.scale for rule in rules])
    if differ and score_range == "declared":
        first = rules[0]
        other = next(rule for rule in rules if ranges_differ([first.scale, rule.scale]))
        where = f" in {rules.where}" if rules.where else ""
        raise DataError(
            f"Rules have different ranges{where}: {first.name} {first.scale.lo:g} to {first.scale.hi:g}, {other.name} "
            f"{other.scale.lo:g} to {other.scale.hi:g}, so a wider one would outweigh the others. {how_to_map(section)}"
        )
    return differ
