"""What a refinement buys, as tables for the terminal: the controls side by side, and how far probabilities hold."""

from typing import Any

from rich import box
from rich.table import Table

from encore_ray.artifacts.refine import Calibration, ControlFigures, RefinedRule
from encore_ray.report.drawing.numbers import percent, percent_interval, plain, points, points_interval
from encore_ray.visible import MOST_ROWS, more

_COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False, "show_edge": False}


def refinement_table(controls: list[ControlFigures]) -> Table:
    """Each reward's accuracy on the held-out pairs at each level of label noise; fits 80 columns."""
    pairs = controls[0].num_pairs
    table = Table(title=f"Rewards on {pairs:,} held-out pairs (a tie is half a win)", title_justify="left", **_COMPACT)
    table.add_column("labels\nturned", justify="right", no_wrap=True)
    table.add_column("reward", no_wrap=True)
    for name in ("accuracy", "95% interval", "above base,\npoints (95%)"):
        table.add_column(name, justify="right", no_wrap=True)
    before = controls[0].noise
    for control in controls:
        if control.noise != before:
            table.add_section()
        before = control.noise
        table.add_row(
            percent(control.noise, digits=0),
            control.name,
            percent(control.accuracy),
            percent_interval(control.accuracy_low, control.accuracy_high),
            "" if control.name == "base" else _above_base(control),
        )
    return table


def refined_rules_table(rules: list[RefinedRule]) -> Table:
    """The accuracy of each rule's scores on the held-out pairs beside its controls; fits 80 columns."""
    pairs = rules[0].controls[0].num_pairs
    table = Table(title=f"Rules on {pairs:,} held-out pairs (a tie is half a win)", title_justify="left", **_COMPACT)
    table.add_column("rule", max_width=30, overflow="fold")
    for name in ("base", "linear\nrefit", "refined", "above base,\npoints (95%)"):
        table.add_column(name, justify="right", no_wrap=True)
    for rule in rules[:MOST_ROWS]:
        accuracies = [percent(control.accuracy) for control in rule.controls]
        table.add_row(rule.name, *accuracies, _above_base(rule.controls[-1]))
    if len(rules) > MOST_ROWS:
        table.caption, table.caption_justify = more(len(rules) - MOST_ROWS, "rules", "the report"), "left"
    return table


def _above_base(control: ControlFigures) -> str:
    difference = control.difference_to_base
    return f"{points(difference.value)} ({points_interval(difference.low, difference.high)})"


def calibration_table(calibration: Calibration) -> Table:
    """Each source of a label's probability, evaluated on pairs that it was not fitted to; which one is used."""
    table = Table(title="Probability that the chosen response is better", title_justify="left", **_COMPACT)
    table.add_column("read from", no_wrap=True)
    for name in ("log loss", "Brier", "calibration error", "slope"):
        table.add_column(name, justify="right", no_wrap=True)
    for source in calibration.sources:
        used = " (used)" if source.source == calibration.used else ""
        table.add_row(
            source.source + used,
            plain(source.log_loss, digits=4),
            plain(source.brier, digits=4),
            percent(source.ece),
            plain(source.slope),
        )
    return table
