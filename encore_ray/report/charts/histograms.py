"""Histograms that stretch with their column: how chosen and rejected responses score, and how margins are spread."""

import itertools
from collections.abc import Sequence

from encore_ray.artifacts.comparison import Histogram
from encore_ray.artifacts.metrics import MarginHistogram
from encore_ray.report.charts.tracks import axis_track
from encore_ray.report.drawing.markup import Markup, decimal, join, tag
from encore_ray.report.drawing.numbers import compact, count
from encore_ray.report.drawing.scales import AxisScale

# Width and height of the coordinates; the style sheet gives the size on the screen.
_WIDTH, _HEIGHT = 100.0, 40.0


def rule_histogram(histogram: Histogram, *, title: str) -> Markup:
    """Shares of the chosen responses as an area, of the rejected ones as a line; of single responses where no others.

    Args:
        histogram: of the rule's scores, counts of responses a cell.
        title: what a screen reader says, and what is shown when pointed at.
    """
    chosen, rejected = _shares(histogram.chosen), _shares(histogram.rejected)
    if not any(chosen):
        chosen, rejected = _shares(histogram.single), []
    top = max([*chosen, *rejected])
    area = f"M0 {decimal(_HEIGHT)}{_steps(chosen, top)}V{decimal(_HEIGHT)}Z"
    outline = f"M0 {decimal(_height(rejected[0], top))}{_steps(rejected, top)}" if rejected else None
    return tag(
        "svg",
        tag("title", title),
        tag("path", class_="chosen", d=area),
        tag("path", class_="rejected", d=outline) if outline else None,
        class_="chart histogram",
        viewBox=f"0 0 {decimal(_WIDTH)} {decimal(_HEIGHT)}",
        preserveAspectRatio="none",
        role="img",
    )


def mean_score(cells: Sequence[tuple[float, float]], counts: Sequence[int]) -> float | None:
    """Mean score of responses as far as their cells tell; None without responses.

    Args:
        cells: low and high end of each. counts: of the responses in each.
    """
    total = sum(counts)
    if not total:
        return None
    return sum(n * (low + high) / 2 for n, (low, high) in zip(counts, cells, strict=True)) / total


def margin_histogram(histogram: MarginHistogram) -> Markup:
    """Margins in equal cells, those under and over 0 in colours of their own.

    Args:
        histogram: of metrics.json; 0 is one of the edges.
    """
    edges, counts = histogram.edges, histogram.counts
    x = AxisScale(edges[0], edges[-1])
    top = max(*counts, 1)
    bars = [
        tag(
            "rect",
            tag("title", f"{compact(low)} to {compact(high)}: {count(n)}"),
            class_="win" if low >= 0 else "loss",
            x=x(low),
            width=x(high) - x(low),
            y=_HEIGHT * (1 - n / top),
            height=_HEIGHT * n / top,
        )
        for (low, high), n in zip(itertools.pairwise(edges), counts, strict=True)
        if n
    ]
    drawing = tag(
        "svg",
        tag("title", "Histogram of the margins"),
        bars,
        class_="chart margins",
        viewBox=f"0 0 {decimal(_WIDTH)} {decimal(_HEIGHT)}",
        preserveAspectRatio="none",
        role="img",
    )
    return join(drawing, axis_track(x, write=compact, below=True))


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [n / total for n in counts] if total else []


def _steps(shares: Sequence[float], top: float) -> str:
    """From the left to the right end, up or down at each cell's begin."""
    width = _WIDTH / len(shares)
    return "".join(f"V{decimal(_height(share, top))}h{decimal(width)}" for share in shares)


def _height(share: float, top: float) -> float:
    return _HEIGHT * (1 - 0.96 * share / top) if top else _HEIGHT
