"""Two matrices in colour: accuracy over temperature and bins, and the correlations of the rules."""

from collections.abc import Sequence

from encore_ray.artifacts.comparison import Sweep
from encore_ray.report.charts.text import shorten, text_width
from encore_ray.report.drawing.markup import Markup, decimal, tag
from encore_ray.report.drawing.numbers import compact, percent, percent_interval, signed

_WIDTH, _LEAST_SIDE, _MOST_SIDE, _SIDE_WITH_NUMBERS = 900, 8, 38, 30  # pixels
_MAX_LETTERS = 40
_STEPS = 10  # shades of each sign


def sweep_table(sweep: Sweep, *, default: tuple[float, int | None], default_bins: str) -> Markup:
    """Accuracy for each temperature (row) and number of bins (column), the darker the higher.

    Args:
        sweep: of comparison.json.
        default: temperature and number of bins of the run, whose cell is framed.
        default_bins: what to call the bins that are not a number: "levels", or the rules' own.
    """
    cells = {(cell.temperature, cell.num_bins): cell for cell in sweep.cells}
    accuracies = [cell.accuracy for cell in sweep.cells]
    low, high = min(accuracies), max(accuracies)

    def draw(temperature: float, num_bins: int | None) -> Markup:
        cell = cells.get((temperature, num_bins))
        if cell is None:
            return tag("td")
        shade = (cell.accuracy - low) / (high - low) if high > low else 0.5
        interval = percent_interval(cell.accuracy_low, cell.accuracy_high)
        change = cell.largest_weight_change
        return tag(
            "td",
            percent(cell.accuracy),
            tag("small", f"Δw {percent(change)}") if change is not None else None,
            class_="shaded default" if (temperature, num_bins) == default else "shaded",
            style=f"--shade:{decimal(shade)}",
            title=f"{interval}; largest change of a weight {percent(change)}",
        )

    names = [default_bins if bins is None else f"{bins} bins" for bins in sweep.num_bins]
    head = tag("tr", tag("th", "τ", scope="col"), [tag("th", name, scope="col") for name in names])
    rows = [
        tag("tr", tag("th", compact(temperature), scope="row"), [draw(temperature, n) for n in sweep.num_bins])
        for temperature in sweep.temperatures
    ]
    return tag("table", tag("thead", head), tag("tbody", rows), class_="sweep")


def correlation_map(names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> Markup:
    """The lower triangle of the matrix, each rule's name at the end of its row, above its column.

    Args:
        names: K rules.
        matrix: [K, K] correlations, symmetric; None where a rule never varies.
    """
    num_rules = len(names)
    side = float(min(_MOST_SIDE, max(_LEAST_SIDE, _WIDTH // num_rules)))
    font_size = min(12.5, side - 0.5)
    shown = [shorten(name, _MAX_LETTERS) for name in names]
    width = max((k + 1) * side + 8 + text_width(name, size=font_size) for k, name in enumerate(shown))
    labels = [
        tag("text", text, class_="name", data_rule=name, x=(k + 1) * side + 6, y=(k + 0.5) * side + font_size * 0.36)
        for k, (text, name) in enumerate(zip(shown, names, strict=True))
    ]
    diagonal = [
        tag("rect", class_="self", x=k * side, y=k * side, width=side - 1, height=side - 1) for k in range(num_rules)
    ]
    return tag(
        "svg",
        tag("title", "Correlation of the score differences of each two rules"),
        tag("desc", "The list below names the strongest correlations."),
        diagonal,
        _shades(matrix, side),
        _figures(matrix, side) if side >= _SIDE_WITH_NUMBERS else None,
        labels,
        class_="chart correlations",
        width=width,
        height=num_rules * side,
        viewBox=f"0 0 {decimal(width)} {decimal(num_rules * side)}",
        font_size=font_size,
        role="img",
    )


def _shades(matrix: Sequence[Sequence[float | None]], side: float) -> list[Markup]:
    """One path a shade: a hundred rules have 4,950 cells, but no more than 20 shades."""
    squares: dict[tuple[str, int], list[str]] = {}
    edge = decimal(side - 1)
    for row, values in enumerate(matrix):
        for column, r in enumerate(values[:row]):
            if r is None:
                continue
            shade = ("negative" if r < 0 else "positive", round(abs(r) * _STEPS))
            corner = f"M{decimal(column * side)} {decimal(row * side)}"
            squares.setdefault(shade, []).append(f"{corner}h{edge}v{edge}h-{edge}z")
    return [
        tag("path", class_=sign, fill_opacity=step / _STEPS, d="".join(cells))
        for (sign, step), cells in sorted(squares.items())
    ]


def _figures(matrix: Sequence[Sequence[float | None]], side: float) -> list[Markup]:
    return [
        tag(
            "text",
            signed(r).replace("0.", ".", 1),
            class_="figure strong" if abs(r) >= 0.6 else "figure",
            x=(column + 0.5) * side - 0.5,
            y=(row + 0.5) * side + 4,
            text_anchor="middle",
        )
        for row, values in enumerate(matrix)
        for column, r in enumerate(values[:row])
        if r is not None
    ]
