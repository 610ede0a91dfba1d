"""What rules have in common: loadings against entropy, and beside it how every two agree and what one factor leaves."""

from collections.abc import Mapping, Sequence

from encore_ray.artifacts.figures import ConsensusFigures
from encore_ray.report.charts.names import leader, name_text
from encore_ray.report.charts.text import shorten, text_width
from encore_ray.report.data.contents import ReportedRule
from encore_ray.report.drawing.markup import Markup, decimal, tag
from encore_ray.report.drawing.numbers import compact, percent, signed
from encore_ray.report.drawing.placement import Box, place_labels
from encore_ray.report.drawing.scales import AxisScale, fit_scale, ticks

WIDTH, HEIGHT = 980.0, 470.0
_PLOT = Box(46, 30, 520, 424)
_MATRIX = Box(580, 30, 960, 410)
_MOST_MAPPED = 40  # rules in the matrix
_FONT_SIZE, _RADIUS = 12.0, 6.5
_LEAST_WITH_FIGURES = 30.0  # pixels of a cell
_STEPS = 10  # shades of each sign
_RESIDUAL = 0.2  # from which a residual has the full shade


def loadings_chart(consensus: ConsensusFigures, rules: Sequence[ReportedRule], *, unit: str) -> Markup:
    """The figure.

    Args:
        consensus: with its matrices, in the order of its loadings.
        rules: those of the run.
        unit: of the entropies.
    """
    by_name = {rule.name: rule for rule in rules}
    return tag(
        "svg",
        tag("title", "Loading of each rule against its entropy, and how every two rules agree"),
        tag("desc", "The table below has the numbers."),
        _plot(consensus, by_name, unit=unit),
        _matrices(consensus),
        class_="chart loadings",
        viewBox=f"0 0 {decimal(WIDTH)} {decimal(HEIGHT)}",
        role="img",
    )


def _plot(consensus: ConsensusFigures, by_name: Mapping[str, ReportedRule], *, unit: str) -> list[Markup | None]:
    points = [
        (by_name[name], loading)
        for name, loading in consensus.loadings.items()
        if loading is not None and name in by_name
    ]
    x = fit_scale([rule.entropy for rule, _ in points], start=_PLOT.x0, end=_PLOT.x1, least=0.1)
    y = fit_scale([0.0, *(loading for _, loading in points)], start=_PLOT.y1, end=_PLOT.y0, least=0.2)
    number = {name: place for place, name in enumerate(consensus.loadings, start=1)}
    texts = [_label(rule, number[rule.name]) for rule, _ in points]
    labels = place_labels(
        [(x(rule.entropy), y(loading)) for rule, loading in points],
        radii=[_RADIUS] * len(points),
        sizes=[(text_width(text, size=_FONT_SIZE), _FONT_SIZE + 2) for text in texts],
        inside=_PLOT,
    )
    return [
        *_axes(x, y, unit=unit, has_labels=any(rule.accuracy is not None for rule, _ in points)),
        *(leader(x(rule.entropy), y(loading), label) for (rule, loading), label in zip(points, labels, strict=True)),
        *(_mark(rule, loading, x, y) for rule, loading in points),
        *(name_text(text, label) for text, label in zip(texts, labels, strict=True)),
    ]


def _axes(x: AxisScale, y: AxisScale, *, unit: str, has_labels: bool) -> list[Markup]:
    parts = []
    for tick in ticks(x, about=5):
        parts.append(tag("line", class_="grid", x1=x(tick), x2=x(tick), y1=_PLOT.y0, y2=_PLOT.y1))
        parts.append(tag("text", compact(tick), class_="tick", x=x(tick), y=_PLOT.y1 + 18, text_anchor="middle"))
    for tick in ticks(y, about=6):
        parts.append(tag("line", class_="grid", x1=_PLOT.x0, x2=_PLOT.x1, y1=y(tick), y2=y(tick)))
        parts.append(tag("text", compact(tick), class_="tick", x=_PLOT.x0 - 8, y=y(tick) + 4, text_anchor="end"))
    nothing = tag("line", class_="chance", x1=_PLOT.x0, x2=_PLOT.x1, y1=y(0.0), y2=y(0.0))
    middle = (_PLOT.x0 + _PLOT.x1) / 2
    beside = ", and the accuracy on the labelled pairs" if has_labels else ""
    return [
        *parts,
        nothing,
        tag("text", f"entropy, {unit} →", class_="title", x=middle, y=_PLOT.y1 + 38, text_anchor="middle"),
        tag("text", f"↑ loading: how far a rule goes with all{beside}", class_="title", x=4, y=14),
    ]


def _label(rule: ReportedRule, number: int) -> str:
    """Its place in the matrix, its name, its accuracy."""
    name = f"{number} {shorten(rule.name, 22)}"
    return name if rule.accuracy is None else f"{name} {percent(rule.accuracy, digits=0)}"


def _mark(rule: ReportedRule, loading: float, x: AxisScale, y: AxisScale) -> Markup:
    """Blue where the rule is right more often than a coin, orange where less, the fuller the further; else grey."""
    kind, opacity = "plain", 1.0
    told = f"{rule.name}: entropy {compact(rule.entropy)}, loading {signed(loading)}"
    if rule.accuracy is not None:
        kind = "right" if rule.accuracy >= 0.5 else "wrong"
        opacity = 0.1 + 1.8 * abs(rule.accuracy - 0.5)
        told += f", accuracy {percent(rule.accuracy)}"
    return tag(
        "circle",
        tag("title", told),
        class_=f"mark {kind}",
        data_rule=rule.name,
        fill_opacity=decimal(opacity),
        cx=x(rule.entropy),
        cy=y(loading),
        r=_RADIUS,
    )


def _matrices(consensus: ConsensusFigures) -> list[Markup]:
    """Agreement below the diagonal, what the factor leaves of it above."""
    if consensus.matrix is None or consensus.residuals is None:
        return []
    names = list(consensus.loadings)[:_MOST_MAPPED]
    side = (_MATRIX.x1 - _MATRIX.x0) / len(names)
    cells = []
    for row, name in enumerate(names):
        for column, other in enumerate(names):
            below = row > column
            value = (consensus.matrix if below else consensus.residuals)[row][column]
            if row != column and value is not None:
                what = "agreement" if below else "residual"
                told = f"{name} and {other}: {what} {signed(value)}"
                cells += _cell(value, told, row, column, side, full=1.0 if below else _RESIDUAL)
    more = (
        f", the first {len(names)} of {len(consensus.loadings)} rules" if len(consensus.loadings) > len(names) else ""
    )
    numbers = [
        tag(
            "text",
            str(k + 1),
            class_="tick",
            x=_MATRIX.x0 + (k + 0.5) * side,
            y=_MATRIX.y0 + (k + 0.5) * side + 4,
            text_anchor="middle",
        )
        for k in range(len(names))
        if side >= 14
    ]
    below = f"below: agreement of two rules; above: what one factor leaves{more}"
    return [
        *cells,
        *numbers,
        tag("text", below, class_="title", x=_MATRIX.x0, y=14),
    ]


def _cell(value: float, told: str, row: int, column: int, side: float, *, full: float) -> list[Markup]:
    x, y = _MATRIX.x0 + column * side, _MATRIX.y0 + row * side
    shade = min(round(abs(value) / full * _STEPS), _STEPS) / _STEPS
    parts = [
        tag(
            "rect",
            tag("title", told),
            class_="negative" if value < 0 else "positive",
            fill_opacity=decimal(shade),
            x=x,
            y=y,
            width=side - 1,
            height=side - 1,
        )
    ]
    if side >= _LEAST_WITH_FIGURES:
        text = signed(value).replace("0.", ".", 1)
        name = "figure strong" if shade >= 0.6 else "figure"
        parts.append(tag("text", text, class_=name, x=x + side / 2 - 0.5, y=y + side / 2 + 4, text_anchor="middle"))
    return parts
