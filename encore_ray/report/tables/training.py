"""A training as a table for the terminal."""

from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import TrainReport
from encore_ray.report.drawing.numbers import plain
from encore_ray.report.tables.weights import COMPACT
from encore_ray.visible import MOST_ROWS, more

_NAMES = {"r2": "R²", "f1": "F1", "accuracy": "accuracy"}


def training_table(report: TrainReport) -> Table:
    """Held-out figures of each head at the best evaluation, as train.json has them; fits 80 columns."""
    best = report.best
    table = Table(
        title=f"Trained by {report.objective}, evaluated on held-out prompts", title_justify="left", **COMPACT
    )
    table.add_column("rule", overflow="fold", max_width=36, min_width=18)
    for name in ("targets", "loss", _NAMES[best.merit_name]):
        table.add_column(name, justify="right", no_wrap=True)
    for name, rule in list(best.rules.items())[:MOST_ROWS]:
        table.add_row(Text(name), f"{rule.num:,}", f"{rule.loss:.4f}", plain(rule.merit))
    if len(best.rules) > MOST_ROWS:
        table.caption, table.caption_justify = more(len(best.rules) - MOST_ROWS, "rules", report.FILE), "left"
    if len(best.rules) > 1:
        table.add_row("[bold]all", f"{best.num:,}", f"{best.loss:.4f}", plain(best.merit))
    return table
