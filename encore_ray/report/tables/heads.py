"""Fitted heads as a table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from encore_ray.report.tables.weights import COMPACT


def heads_table(figures: Mapping[str, Any]) -> Table:
    """Labels and held-out figures of each rule, as fit.json has them; fits 80 columns."""
    table = Table(
        title=f"Heads fitted to {figures['num_responses']:,} responses, judged on {figures['num_folds']} folds",
        title_justify="left",
        **COMPACT,
    )
    table.add_column("rule", overflow="fold", max_width=36, min_width=18)
    table.add_column("fit", no_wrap=True)
    for name in ("labels", "yes", "AUC", "R²"):
        table.add_column(name, justify="right", no_wrap=True)
    for rule in figures["rules"]:
        table.add_row(
            Text(rule["name"]),
            rule["fit"],
            f"{rule['num_labels']:,}",
            "" if rule["num_yes"] is None else f"{rule['num_yes']:,}",
            _figure(rule, "auc"),
            _figure(rule, "r2"),
        )
    return table


def _figure(rule: Mapping[str, Any], name: str) -> str:
    if rule[name] is None:
        return ""
    low, high = rule[f"{name}_low"], rule[f"{name}_high"]
    return f"{rule[name]:.2f}" if low is None else f"{rule[name]:.2f} [dim]± {(high - low) / 2:.2f}[/dim]"
