"""Fitted heads as a table for the terminal."""

from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import FitReport
from encore_ray.report.tables.weights import COMPACT
from encore_ray.visible import MOST_ROWS, more


def heads_table(report: FitReport) -> Table:
    """Labels and held-out figures of each rule, as fit.json has them; fits 80 columns."""
    table = Table(
        title=f"Heads fitted to {report.num_responses:,} responses, evaluated on {report.num_folds} folds",
        title_justify="left",
        **COMPACT,
    )
    table.add_column("rule", overflow="fold", max_width=36, min_width=18)
    table.add_column("fit", no_wrap=True)
    for name in ("labels", "yes", "AUC", "R²"):
        table.add_column(name, justify="right", no_wrap=True)
    for head in report.rules[:MOST_ROWS]:
        table.add_row(
            Text(head.name),
            head.fit,
            f"{head.num_labels:,}",
            "" if head.num_yes is None else f"{head.num_yes:,}",
            _figure(head.auc, head.auc_low, head.auc_high),
            _figure(head.r2, head.r2_low, head.r2_high),
        )
    if len(report.rules) > MOST_ROWS:
        table.caption, table.caption_justify = more(len(report.rules) - MOST_ROWS, "rules", report.FILE), "left"
    return table


def _figure(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [dim]± {(high - low) / 2:.2f}[/dim]"
