"""What the sections are built of: headings with one sentence that says what is to be seen, tables, legends, cards."""

import re
from collections.abc import Sequence

from encore_ray.artifacts.figures import Difference, Stats
from encore_ray.report.charts.tracks import interval_track
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import points, points_interval
from encore_ray.report.drawing.scales import AxisScale
from encore_ray.visible import short

_JOINTS = frozenset("_-./")
_PARTS = re.compile("([_./-])")
_BREAK = Markup("<wbr/>")
MOST_ROWS = 500


def section(anchor: str, title: str, takeaway: Child, *body: Child) -> Markup:
    """A section with its heading; the takeaway says in words what the figure below shows."""
    return tag(
        "section",
        tag("h2", title, id=f"{anchor}-title"),
        tag("p", takeaway, class_="takeaway") if takeaway else None,
        *body,
        id=anchor,
        aria_labelledby=f"{anchor}-title",
    )


def scrolling(label: str, *content: Child, tall: bool = False) -> Markup:
    """A box that scrolls by itself where its content is wider than the page or, tall, higher; keys reach it."""
    name = "scroll tall" if tall else "scroll"
    return tag("div", *content, class_=name, role="region", aria_label=label, tabindex="0")


def table(
    head: Sequence[Child], rows: Sequence[Markup], *, class_: str | None = None, most: int = MOST_ROWS, **data: str
) -> Markup:
    """A table of the first rows, and how many more there are; heads may hold markup, as an axis."""
    if len(rows) > most:
        left = f"and {len(rows) - most:,} more: see report/tables of the run"
        rows = [*rows[:most], tag("tr", tag("td", left, colspan=str(len(head))))]
    cells = [cell if isinstance(cell, Markup) and cell.startswith("<th") else column(cell) for cell in head]
    return tag("table", tag("thead", tag("tr", cells)), tag("tbody", rows), class_=class_, **data)


def column(*content: Child, class_: str | None = None, title: str | None = None, **data: str) -> Markup:
    return tag("th", *content, class_=class_, title=title, scope="col", **data)


def number(*content: Child, note: str | None = None) -> Markup:
    """A cell of a number, with its interval or unit smaller beside it."""
    return tag("td", *content, tag("small", note) if note else None, class_="number")


def difference_cell(difference: Difference | None) -> Markup:
    """A difference in points with its interval, coloured where that leaves out 0; empty for None."""
    if difference is None:
        return number("")
    low, high = difference.low, difference.high
    sign = "" if low is None or high is None else "better" if low > 0 else "worse" if high < 0 else ""
    value = tag("span", points(difference.value), class_=sign or None)
    return number(value, note=points_interval(low, high) if low is not None else None)


def named(name: str, *notes: Child, title: str | None = None) -> Markup:
    """The first cell of a row: a name of the data, with notes below it."""
    kept = [tag("small", note) for note in notes if note]
    return tag("th", breakable(name), kept, scope="row", title=title)


def breakable(name: str) -> Markup:
    """A name of the data: apart from the direction of the text around it, and broken where its parts end; shortened."""
    return tag("bdi", [[part, _BREAK] if part in _JOINTS else part for part in _PARTS.split(short(name))])


def stats_track(stats: Stats, *, scale: AxisScale, kind: str, references: Sequence[tuple[float, str]] = ()) -> Markup:
    """The accuracy on some pairs, at least one, with its interval, see `interval_track`."""
    assert stats.accuracy is not None and stats.accuracy_low is not None and stats.accuracy_high is not None
    return interval_track(
        low=stats.accuracy_low,
        value=stats.accuracy,
        high=stats.accuracy_high,
        scale=scale,
        kind=kind,
        references=references,
    )


def chip(text: str, *, kind: str, title: str | None = None) -> Markup:
    return tag("span", text, class_=f"chip {kind}", title=title)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Class of a mark and what it means."""
    items = [tag("li", tag("span", class_=f"key {kind}"), text) for kind, text in entries]
    return tag("ul", items, class_="legend")


def details(summary: str, *body: Child) -> Markup:
    return tag("details", tag("summary", summary), *body)


def definitions(entries: Sequence[tuple[str, Child]]) -> Markup:
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in entries])
