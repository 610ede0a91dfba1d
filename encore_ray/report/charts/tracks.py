"""One row of a dot plot or bar chart, to stand in a table's cell: positions are percent, so it fits any cell.

The numbers stand in the cells beside it; to a screen reader a track is decoration.
"""

from collections.abc import Callable, Sequence

from encore_ray.report.drawing.markup import Markup, decimal, tag
from encore_ray.report.drawing.scales import AxisScale, ticks

_RADIUS = 5.5
_AXIS_HEIGHT = 28.0
# A tick's text is centred on its tick, and cut off by the track's end if nearer to it than this, in percent.
_TEXT_ROOM = 7.0


def interval_track(
    *,
    low: float,
    value: float,
    high: float,
    scale: AxisScale,
    kind: str,
    references: Sequence[tuple[float, str]] = (),
) -> Markup:
    """A value with its interval on an axis that all rows of the table share.

    Args:
        low, value, high: in data units.
        scale: to percent.
        kind: class of its colour and mark; a baseline is a square, what uses labels a diamond, else a disc.
        references: positions and classes of vertical lines, continued by the rows above and below.
    """
    lines = [
        tag("line", class_=name, x1=_at(scale(place)), x2=_at(scale(place)), y1="0%", y2="100%")
        for place, name in references
        if scale.holds(place)
    ]
    interval = tag("line", class_="interval", x1=_at(scale(low)), x2=_at(scale(high)), y1="50%", y2="50%")
    return _track(kind, lines, interval, _mark(kind, scale(value)))


def bar_track(share: float, *, kind: str) -> Markup:
    """A bar from the left, `share` of the track long."""
    width = _at(100 * min(max(share, 0.0), 1.0))
    return _track(kind, tag("rect", class_="bar", x=0, y="50%", width=width, height=10, rx=2))


def axis_track(scale: AxisScale, *, write: Callable[[float], str], about: int = 4, below: bool = False) -> Markup:
    """The axis of a table's column for its head, or of a chart to stand below it."""
    edge, inner, baseline = (0.0, 5.0, 19.0) if below else (_AXIS_HEIGHT, _AXIS_HEIGHT - 5.0, _AXIS_HEIGHT - 10.0)
    marks = []
    for tick in ticks(scale, about=about):
        at = scale(tick)
        marks.append(tag("line", class_="tick", x1=_at(at), x2=_at(at), y1=edge, y2=inner))
        if _TEXT_ROOM <= at <= 100 - _TEXT_ROOM:
            marks.append(tag("text", write(tick), x=_at(at), y=baseline, text_anchor="middle"))
    line = tag("line", class_="tick", x1="0%", x2="100%", y1=edge, y2=edge)
    return tag("svg", line, marks, class_="axis", width="100%", height=_AXIS_HEIGHT, aria_hidden="true")


def _track(kind: str, *children: Markup | list[Markup]) -> Markup:
    return tag("svg", *children, class_=f"track {kind}", aria_hidden="true")


def _mark(kind: str, x: float) -> Markup:
    if kind not in ("baseline", "learned"):
        return tag("circle", class_="mark", cx=_at(x), cy="50%", r=_RADIUS)
    side = 2 * _RADIUS - 2
    # A corner may be percent; what centres the square on it, and turns it, is a style.
    to_center = f"translate({decimal(-side / 2)}px,{decimal(-side / 2)}px)"
    turn = " rotate(45deg)" if kind == "learned" else ""
    style = f"transform:{to_center}{turn};transform-box:fill-box;transform-origin:center"
    return tag("rect", class_="mark", x=_at(x), y="50%", width=side, height=side, style=style)


def _at(percent: float) -> str:
    return f"{decimal(percent)}%"
