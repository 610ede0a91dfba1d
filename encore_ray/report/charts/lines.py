"""Two charts of a refinement: accuracy under label noise, and how far probabilities hold. One mark a reward or source.

Each stands on the report page, and by `picture` in a file of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from encore_ray.artifacts.refine import Calibration, ControlFigures, ReliabilityCell
from encore_ray.composition.inference.agreement import Tally
from encore_ray.report.charts.text import text_width
from encore_ray.report.drawing.markup import Markup, decimal, tag
from encore_ray.report.drawing.numbers import count, percent, percent_interval, percent_tick
from encore_ray.report.drawing.scales import AxisScale, fit_scale, ticks

STYLES = ("palette.css", "lines.css")
_WIDTH, _HEIGHT = 400.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 18.0, 28.0, 46.0
_RADIUS = 4.5
_APART = 7.0  # pixels between marks that belong to the same place
_FONT_SIZE = 12.0
_LINE = 15.0

# Class of a reward's or a source's colour and mark: what is refined, what is beside it, what it starts from.
KINDS = {"refined": "refined", "linear refit": "refit", "base": "base"}
USED, OTHER = "refined", "base"


@dataclass(frozen=True)
class _Mark:
    """A value with its interval, if known, at a place of the x axis, in pixels; `title` is shown when pointed at."""

    x: float
    low: float | None
    value: float
    high: float | None
    title: str


def robustness_chart(controls: Sequence[ControlFigures]) -> Markup:
    """Accuracy of each reward on clean held-out pairs, by the share of the labels that were turned round in training.

    Args:
        controls: of refine/report.json.
    """
    noises = sorted({control.noise for control in controls})
    x = fit_scale(noises, start=_LEFT, end=_WIDTH - _RIGHT, margin=0.12, least=0.1)
    ends = [end for control in controls for end in (control.accuracy_low, control.accuracy, control.accuracy_high)]
    y = fit_scale(ends, start=_HEIGHT - _BOTTOM, end=_TOP)
    names = list(dict.fromkeys(control.name for control in controls))
    series = []
    for place, name in enumerate(names):
        shift = _APART * (place - (len(names) - 1) / 2)
        series.append(
            [
                _Mark(
                    x(control.noise) + shift,
                    control.accuracy_low,
                    control.accuracy,
                    control.accuracy_high,
                    f"{name}, {percent(control.noise, digits=0)} turned round: {percent(control.accuracy)} "
                    f"({percent_interval(control.accuracy_low, control.accuracy_high)})",
                )
                for control in controls
                if control.name == name
            ]
        )
    return _chart(
        "Accuracy of each reward under label noise",
        _axes(x, y, x_ticks=noises, x_title="labels turned round in training →", y_title="↑ held-out accuracy"),
        [_series(marks, KINDS[name], y) for name, marks in zip(names, series, strict=True)],
        _legend_row([(KINDS[name], name) for name in names]),
    )


def reliability_chart(calibration: Calibration) -> Markup:
    """How often labels were right, by the probability that each source gives them; on the diagonal it holds.

    Args:
        calibration: of refine/report.json.
    """
    sources = calibration.sources
    x = AxisScale(0.5, 1.0, _LEFT, _WIDTH - _RIGHT)
    marks_by_source = {
        source.source: [_reliability_mark(source.source, cell, x) for cell in source.bins if cell.num_pairs]
        for source in sources
    }
    used = calibration.used
    lows = [mark.low if name == used else mark.value for name, marks in marks_by_source.items() for mark in marks]
    top = _TOP + _LINE * (len(sources) - 1)
    y = fit_scale([*lows, 0.5, 1.0], start=_HEIGHT - _BOTTOM, end=top, margin=0.03)
    diagonal = tag("line", class_="chance", x1=x(0.5), y1=y(0.5), x2=x(1.0), y2=y(1.0))
    parts = [
        _series(marks, USED if name == used else OTHER, y, whiskers=name == used)
        for name, marks in sorted(marks_by_source.items(), key=lambda item: item[0] == used)
    ]
    names = [
        (
            USED if source.source == used else OTHER,
            f"{source.source}, error {percent(source.ece)}" + (", used" if source.source == used else ""),
        )
        for source in sources
    ]
    return _chart(
        "Share of right labels against their probability",
        _axes(
            x,
            y,
            x_ticks=ticks(x, about=5),
            x_title="probability of what is more probable →",
            y_title="↑ share that was right",
        ),
        [diagonal, *parts],
        _legend_lines(names),
    )


def _reliability_mark(source: str, cell: ReliabilityCell, x: AxisScale) -> _Mark:
    assert cell.confidence is not None and cell.right is not None, "a cell that is drawn has a pair"
    num_pairs, num_right = cell.num_pairs, round(cell.right * cell.num_pairs)
    interval = Tally(num_right, 0, num_pairs - num_right).interval(num_keys=num_pairs)
    assert interval is not None, "a cell that is drawn has a pair"
    title = (
        f"{source}: of {count(num_pairs)} labels with {percent(cell.confidence)} on average "
        f"{percent(cell.right)} were right ({percent_interval(interval.low, interval.high)})"
    )
    return _Mark(x(cell.confidence), interval.low, cell.right, interval.high, title)


def picture(chart: Markup, *, width: float = _WIDTH, height: float = _HEIGHT) -> bytes:
    """A chart as an SVG file of this size in pixels, light or dark as its reader prefers."""
    style = "".join(
        files("encore_ray.report").joinpath(name).read_text("utf-8") for name in ("palette.css", "lines.css")
    )
    framed = chart.replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{decimal(width)}" height="{decimal(height)}" ', 1
    )
    start = framed.index(">") + 1
    paper = tag("rect", class_="paper", width=width, height=height, rx=8)
    return (framed[:start] + tag("style", Markup(style)) + paper + framed[start:] + "\n").encode()


def _chart(title: str, axes: list[Markup], *drawn: list[Markup]) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        axes,
        *drawn,
        class_="chart lines",
        viewBox=f"0 0 {decimal(_WIDTH)} {decimal(_HEIGHT)}",
        role="img",
    )


def _axes(x: AxisScale, y: AxisScale, *, x_ticks: Sequence[float], x_title: str, y_title: str) -> list[Markup]:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, y.end, y.start
    parts = []
    for tick in x_ticks:
        parts.append(tag("line", class_="grid", x1=x(tick), x2=x(tick), y1=top, y2=bottom))
        parts.append(tag("text", percent_tick(tick), x=x(tick), y=bottom + 17, text_anchor="middle"))
    for tick in ticks(y, about=5):
        parts.append(tag("line", class_="grid", x1=left, x2=right, y1=y(tick), y2=y(tick)))
        parts.append(tag("text", percent_tick(tick), x=left - 7, y=y(tick) + 4, text_anchor="end"))
    return [
        *parts,
        tag("text", x_title, x=(left + right) / 2, y=bottom + 37, text_anchor="middle"),
        tag("text", y_title, x=4, y=14),
    ]


def _series(marks: Sequence[_Mark], kind: str, y: AxisScale, *, whiskers: bool = True) -> Markup:
    path = " ".join(f"{decimal(mark.x)},{decimal(y(mark.value))}" for mark in marks)
    return tag(
        "g",
        tag("polyline", class_="line", points=path) if len(marks) > 1 else None,
        [
            tag("line", class_="whisker", x1=mark.x, x2=mark.x, y1=y(mark.low), y2=y(mark.high))
            for mark in marks
            if whiskers and mark.low is not None and mark.high is not None
        ],
        [_shape(kind, mark.x, y(mark.value), tag("title", mark.title)) for mark in marks],
        class_=f"series {kind}",
    )


def _shape(kind: str, x: float, y: float, *children: Markup) -> Markup:
    """A disc, a diamond or a square: told apart without colour."""
    if kind == "refined":
        return tag("circle", *children, class_="mark", cx=x, cy=y, r=_RADIUS)
    reach = 1.3 * _RADIUS if kind == "refit" else 0.85 * _RADIUS
    corners = ((0, -1), (1, 0), (0, 1), (-1, 0)) if kind == "refit" else ((-1, -1), (1, -1), (1, 1), (-1, 1))
    points = " ".join(f"{decimal(x + reach * dx)},{decimal(y + reach * dy)}" for dx, dy in corners)
    return tag("polygon", *children, class_="mark", points=points)


def _legend_row(entries: Sequence[tuple[str, str]]) -> list[Markup]:
    """Entries in one line above the chart, flush with its right end."""
    parts = []
    end = _WIDTH - _RIGHT
    for kind, text in reversed(entries):
        start = end - text_width(text, size=_FONT_SIZE)
        parts.append(tag("g", _shape(kind, start - 9, 10), tag("text", text, x=start, y=14), class_=kind))
        end = start - 26
    return parts[::-1]


def _legend_lines(entries: Sequence[tuple[str, str]]) -> list[Markup]:
    """A line an entry above the chart, flush with the longest at the right."""
    left = _WIDTH - 8 - max(text_width(text, size=_FONT_SIZE) for _, text in entries)
    return [
        tag("g", _shape(kind, left - 9, 10 + _LINE * row), tag("text", text, x=left, y=14 + _LINE * row), class_=kind)
        for row, (kind, text) in enumerate(entries)
    ]
