"""The comparison of schemes as a table for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import Comparison
from encore_ray.artifacts.comparison import Line
from encore_ray.artifacts.figures import Difference, Stats
from encore_ray.visible import short


def comparison_table(comparison: Comparison) -> Table:
    """Every scheme on all pairs and on the held-out ones, the best there first; fits 80 columns.

    The held-out pairs judge all schemes alike; those that learn from labels have seen the rest.
    """
    heldout = comparison.heldout.num_pairs
    table = Table(
        title=f"Schemes on {comparison.num_pairs:,} pairs, {heldout:,} of them held out (a tie is half a win)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("scheme", overflow="fold", max_width=24)
    table.add_column("accuracy,\nall pairs", justify="right", no_wrap=True)
    table.add_column("accuracy,\nheld out", justify="right", no_wrap=True)
    table.add_column("above uniform there,\npoints (95%)", justify="right", no_wrap=True)
    table.add_column("acts like\nrules", justify="right", no_wrap=True)
    schemes = sorted(comparison.schemes, key=lambda scheme: -(scheme.heldout.accuracy or 0.0))
    for scheme in schemes:
        style = "bold" if scheme.name in ("encore", "uniform") else None
        table.add_row(*_row(scheme), style=style)
    for others, style in ((comparison.beside, None), (comparison.baselines, "dim")):
        for number, line in enumerate(others):
            if number == 0:
                table.add_section()
            table.add_row(*_row(line), style=style)
    if any(scheme.uses_labels for scheme in schemes):
        table.caption = "* learns from the labels of the pairs that are not held out"
        table.caption_justify = "left"
    return table


def _row(line: Line) -> list[str | Text]:
    effective = line.effective_num_rules
    return [
        Text(f"{short(line.name)}{' *' if line.uses_labels else ''}"),
        _share(line.all),
        _share(line.heldout),
        _points(line.difference_to_uniform) if line.name != "uniform" else "",
        "" if effective is None else f"{effective:.1f}",
    ]


def _share(stats: Stats | None) -> str:
    return "" if stats is None or stats.accuracy is None else f"{stats.accuracy:.1%}"


def _points(difference: Difference) -> str:
    if difference.value is None:
        return ""
    value = f"{100 * difference.value:+.1f}"
    if difference.low is None or difference.high is None:
        return value
    return f"{value} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
