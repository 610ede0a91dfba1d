"""Entropy against accuracy: one mark a rule, its area the weight, its name beside it, its intervals through it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from encore_ray.composition.weigh.flags import DROPPED_BY_MIN_ACTIVE
from encore_ray.report.charts.names import leader, name_text
from encore_ray.report.charts.text import shorten, text_width
from encore_ray.report.data.contents import ReportedRule, flag_order
from encore_ray.report.drawing.markup import Markup, decimal, tag
from encore_ray.report.drawing.numbers import compact, percent
from encore_ray.report.drawing.placement import Box, place_labels
from encore_ray.report.drawing.scales import AxisScale, fit_scale, ticks


@dataclass(frozen=True)
class Paper:
    """The size of a drawing in pixels, and how much can be written on it.

    Attributes:
        name: class that shows it on screens of its width.
        max_names, max_letters: names written at most, and their longest.
    """

    name: str
    width: float
    height: float
    max_names: int
    max_letters: int


WIDE = Paper("wide", 960, 440, max_names=40, max_letters=32)
NARROW = Paper("narrow", 358, 400, max_names=14, max_letters=20)
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 28.0, 46.0
_FONT_SIZE = 12.0
_LEAST_RADIUS, _MOST_RADIUS = 3.5, 11.0


def scatter(rules: Sequence[ReportedRule], *, unit: str, line: bool) -> list[Markup]:
    """The figure for wide and for narrow screens; the style sheet shows one of them.

    Args:
        rules: those with an accuracy, at least one.
        unit: of the entropies.
        line: draw the least-squares line through the rules of entropy above 0.
    """
    return [_draw(sorted(rules, key=flag_order), paper, unit=unit, line=line) for paper in (WIDE, NARROW)]


def _draw(rules: Sequence[ReportedRule], paper: Paper, *, unit: str, line: bool) -> Markup:
    x = fit_scale(
        [value for rule in rules for value in (rule.entropy_low, rule.entropy_high)],
        start=_LEFT,
        end=paper.width - _RIGHT,
        least=0.1,
    )
    y = fit_scale(
        [0.5, *(value for rule in rules for value in (rule.accuracy_low, rule.accuracy_high))],
        start=paper.height - _BOTTOM,
        end=_TOP,
    )
    radii = _radii(rules)
    inside = Box(_LEFT, _TOP, paper.width - _RIGHT, paper.height - _BOTTOM)
    names = [shorten(rule.name, paper.max_letters) for rule in rules[: paper.max_names]]
    labels = place_labels(
        [(x(rule.entropy), y(_accuracy(rule))) for rule in rules],
        # A diamond reaches further than a disc of the same size.
        radii=[radius * (1.4 if rule.flags else 1.0) for radius, rule in zip(radii, rules, strict=True)],
        sizes=[(text_width(name, size=_FONT_SIZE), _FONT_SIZE + 2) for name in names],
        inside=inside,
    )
    return tag(
        "svg",
        tag("title", "Entropy of each rule's scores against its accuracy"),
        tag("desc", "The table of the rules has the numbers."),
        _axes(x, y, inside, unit=unit),
        _trend(rules, x, y) if line else None,
        [_intervals(rule, x, y) for rule in rules],
        [leader(x(rule.entropy), y(_accuracy(rule)), label) for rule, label in zip(rules, labels, strict=False)],
        [_mark(rule, radius, x, y) for rule, radius in zip(rules, radii, strict=True)],
        [name_text(name, label) for name, label in zip(names, labels, strict=True)],
        class_=f"chart scatter {paper.name}",
        viewBox=f"0 0 {decimal(paper.width)} {decimal(paper.height)}",
        role="img",
    )


def _axes(x: AxisScale, y: AxisScale, inside: Box, *, unit: str) -> list[Markup]:
    parts = []
    for tick in ticks(x, about=6):
        parts.append(tag("line", class_="grid", x1=x(tick), x2=x(tick), y1=inside.y0, y2=inside.y1))
        parts.append(tag("text", compact(tick), class_="tick", x=x(tick), y=inside.y1 + 18, text_anchor="middle"))
    for tick in ticks(y, about=6):
        parts.append(tag("line", class_="grid", x1=inside.x0, x2=inside.x1, y1=y(tick), y2=y(tick)))
        text = percent(tick, digits=0)
        parts.append(tag("text", text, class_="tick", x=inside.x0 - 8, y=y(tick) + 4, text_anchor="end"))
    half = y(0.5)
    parts.append(tag("line", class_="chance", x1=inside.x0, x2=inside.x1, y1=half, y2=half))
    middle = (inside.x0 + inside.x1) / 2
    return [
        *parts,
        tag(
            "text", f"entropy of the scores, {unit} →", class_="title", x=middle, y=inside.y1 + 38, text_anchor="middle"
        ),
        tag("text", "↑ accuracy on the labelled pairs", class_="title", x=4, y=14),
    ]


def _trend(rules: Sequence[ReportedRule], x: AxisScale, y: AxisScale) -> Markup | None:
    """The least-squares line, over the rules that the correlation is of."""
    used = [rule for rule in rules if rule.entropy > 0 and DROPPED_BY_MIN_ACTIVE not in rule.flags]
    points = [(rule.entropy, _accuracy(rule)) for rule in used]
    x_mean = math.fsum(point[0] for point in points) / len(points)
    y_mean = math.fsum(point[1] for point in points) / len(points)
    spread = math.fsum((point[0] - x_mean) ** 2 for point in points)
    if spread == 0:
        return None
    slope = math.fsum((a - x_mean) * (b - y_mean) for a, b in points) / spread
    first, last = min(points)[0], max(points)[0]
    ends = {"y1": y(y_mean + slope * (first - x_mean)), "y2": y(y_mean + slope * (last - x_mean))}
    return tag("line", class_="trend", x1=x(first), x2=x(last), **ends)


def _intervals(rule: ReportedRule, x: AxisScale, y: AxisScale) -> list[Markup]:
    assert rule.accuracy_low is not None
    assert rule.accuracy_high is not None
    center_x, center_y = x(rule.entropy), y(_accuracy(rule))
    name = f"whisker {_kind(rule)}"
    return [
        tag("line", class_=name, x1=x(rule.entropy_low), x2=x(rule.entropy_high), y1=center_y, y2=center_y),
        tag("line", class_=name, x1=center_x, x2=center_x, y1=y(rule.accuracy_low), y2=y(rule.accuracy_high)),
    ]


def _mark(rule: ReportedRule, radius: float, x: AxisScale, y: AxisScale) -> Markup:
    center_x, center_y = x(rule.entropy), y(_accuracy(rule))
    title = tag(
        "title",
        f"{rule.name}: entropy {compact(rule.entropy)}, accuracy {percent(rule.accuracy)}, weight {rule.weight_text}",
    )
    if not rule.flags:
        return tag("circle", title, class_="mark rule", data_rule=rule.name, cx=center_x, cy=center_y, r=radius)
    reach = 1.25 * radius
    corners = ((0, -reach), (reach, 0), (0, reach), (-reach, 0))
    points = " ".join(f"{decimal(center_x + dx)},{decimal(center_y + dy)}" for dx, dy in corners)
    return tag("polygon", title, class_="mark flagged", data_rule=rule.name, points=points)


def _radii(rules: Sequence[ReportedRule]) -> list[float]:
    """The area of a mark grows with the weight; none is too small to see, and many do not hide each other."""
    top = max(abs(rule.weight) for rule in rules)
    least, most = _LEAST_RADIUS**2, max(_MOST_RADIUS**2 * min(1.0, 20 / len(rules)), 25.0)
    return [math.sqrt(least + (most - least) * (abs(rule.weight) / top if top else 0.0)) for rule in rules]


def _accuracy(rule: ReportedRule) -> float:
    assert rule.accuracy is not None, "a rule without an accuracy has no place in the figure"
    return rule.accuracy


def _kind(rule: ReportedRule) -> str:
    return "flagged" if rule.flags else "rule"
