"""The weights and the accuracies as tables for the terminal, with the flags in words."""

import string
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from encore_ray.composition.agreement import Tally

FLAG_MEANINGS = {
    "mode_share": "nearly all responses get the same score, so low entropy says little",
    "low_entropy": "its scores hardly vary over the whole corpus",
    "rarely_active": "it tells the two responses apart in under 5% of the pairs",
    "below_chance": "it agrees with significantly fewer than half of the labels; check higher_is",
    "looks_like_ratings": "few distinct scores on a continuous scale; declare them as levels",
    "clipped": "some scores lay outside its scale and count in the end cells",
    "off_level": "some scores are none of the declared levels",
    "dropped_by_min_active": "weight 0, because --min-active was given",
}
_BAR_CELLS = 6
_COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}


def weights_table(weights: dict[str, Any]) -> Table:
    """The rules and their weights, the heaviest first; fits 80 columns."""
    params = f", temperature {weights['temperature']:g}" if weights["temperature"] is not None else ""
    unit = "nats" if weights["log_base"] == "e" else "bits"
    table = Table(
        title=f"Weights ({weights['scheme']}{params}): {weights['num_pairs']:,} pairs, "
        f"act like {weights['effective_num_rules']:.1f} of {len(weights['rules'])} rules",
        title_justify="left",
        **_COMPACT,
    )
    table.add_column("rule", overflow="fold", max_width=30, min_width=15)
    table.add_column("better", justify="center")
    table.add_column(f"entropy, {unit}", justify="right", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=_BAR_CELLS)
    table.add_column("flags", no_wrap=True)
    marks = _marks(weights)
    rules = sorted(weights["rules"], key=lambda rule: -rule["weight"])
    top = max((rule["weight"] for rule in rules), default=0.0)
    for rule in rules:
        style = "yellow" if rule["flags"] else "cyan"
        table.add_row(
            Text(rule["name"]),
            "high" if rule["higher_is"] == "better" else "low",
            f"{rule['entropy']:.3f} [dim]± {(rule['entropy_high'] - rule['entropy_low']) / 2:.3f}[/dim]",
            _rule_accuracy(rule),
            f"{rule['weight']:.1%}",
            Text(_bar(rule["weight"] / top if top > 0 else 0.0), style=style),
            Text(" ".join(sorted(marks[flag] for flag in rule["flags"])), style="yellow"),
        )
    return table


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Accuracy overall, on each subset, and of the length baselines; fits 80 columns."""
    table = Table(title="Accuracy of the composed reward (a tie is half a win)", title_justify="left", **_COMPACT)
    table.add_column("on", overflow="fold", max_width=36)
    for name in ("pairs", "accuracy", "95% interval", "strict", "wins", "ties", "losses"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*_metrics_row("all pairs", metrics["overall"]), style="bold", end_section=True)
    for name, stats in metrics["subsets"].items():
        table.add_row(*_metrics_row(name, stats))
    if metrics["subsets"]:
        table.add_section()
    baselines = metrics["length_baselines"] or {}
    for label, key in (("if shorter won", "shorter_wins"), ("if longer won", "longer_wins")):
        if baselines.get(key):
            table.add_row(*_metrics_row(label, baselines[key]), style="dim")
    if metrics["rewardbench_safety"] is not None:
        table.caption = f"RewardBench Safety: {metrics['rewardbench_safety']:.1%} (a tie is a loss there)"
    return table


def explain_warnings(weights: dict[str, Any]) -> list[str]:
    """Sentences below the table: what each flag in it means, then the warnings of `weigh`."""
    meanings = [
        f"{mark} {flag}: {FLAG_MEANINGS.get(flag, 'a flag of another version')}."
        for flag, mark in _marks(weights).items()
    ]
    return meanings + list(weights["warnings"])


def _marks(weights: dict[str, Any]) -> dict[str, str]:
    """A letter for each flag that any rule carries: the table holds letters, the words stand below it."""
    present = {flag for rule in weights["rules"] for flag in rule["flags"]}
    known = [flag for flag in FLAG_MEANINGS if flag in present]
    return dict(zip([*known, *sorted(present - set(known))], string.ascii_lowercase, strict=False))


def _rule_accuracy(rule: dict[str, Any]) -> str:
    if rule["accuracy"] is None:
        return "[dim]no pairs[/dim]"
    tally = Tally(rule["wins"], rule["ties"], rule["losses"])
    interval = tally.interval(num_keys=tally.num_pairs)
    assert interval is not None
    return f"{rule['accuracy']:.1%} [dim]± {(interval.high - interval.low) / 2:.1%}[/dim]"


def _metrics_row(label: str, stats: dict[str, Any]) -> list[str | Text]:
    if not stats["num_pairs"]:
        return [Text(label), "0", "[dim]no pairs[/dim]", "", "", "", "", ""]
    return [
        Text(label),
        f"{stats['num_pairs']:,}",
        f"{stats['accuracy']:.1%}",
        f"{stats['accuracy_low']:.1%} to {stats['accuracy_high']:.1%}",
        f"{stats['accuracy_strict']:.1%}",
        *(f"{stats[key]:,}" for key in ("wins", "ties", "losses")),
    ]


def _bar(share: float) -> str:
    """A bar of eighths of a cell; anything over 0 shows."""
    eighths = max(round(share * _BAR_CELLS * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
