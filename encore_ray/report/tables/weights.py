"""The weights and the accuracies as tables for the terminal, with the flags in words."""

import string
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from encore_ray.composition.compare.verdict import NOISE, SIGNAL, UNCLEAR, name_world
from encore_ray.composition.measure.agreement import Tally
from encore_ray.report.drawing.numbers import p_value, weight_writer

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
COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False, "show_edge": False}


def weights_table(weights: dict[str, Any]) -> Table:
    """The rules and their weights, the heaviest first; fits 80 columns.

    `share` is what a rule makes of the margin's spread: a rule with a high weight whose scores never differ makes none.
    """
    params = f", temperature {weights['temperature']:g}" if weights["temperature"] is not None else ""
    unit = "nats" if weights["log_base"] == "e" else "bits"
    table = Table(
        title=f"Weights ({weights['scheme']}{params}): {weights['num_pairs']:,} pairs, "
        f"act like {weights['effective_num_rules']:.1f} of {len(weights['rules'])} rules",
        title_justify="left",
        **COMPACT,
    )
    table.add_column("rule", overflow="fold", max_width=30, min_width=18)
    table.add_column("higher\nis", no_wrap=True)
    table.add_column(f"entropy,\n{unit}", justify="right", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("flags", no_wrap=True)
    marks = _marks(weights)
    rules = sorted(weights["rules"], key=lambda rule: -abs(rule["weight"]))
    write_weight = weight_writer(rule["weight"] for rule in rules)
    for rule in rules:
        share = rule["contribution_share"]
        table.add_row(
            Text(rule["name"]),
            rule["higher_is"],
            f"{rule['entropy']:.3f} [dim]± {(rule['entropy_high'] - rule['entropy_low']) / 2:.3f}[/dim]",
            _rule_accuracy(rule, num_keys=weights.get("num_keys")),
            write_weight(rule["weight"]),
            "" if share is None else f"{share:.1%}",
            Text("".join(sorted(marks[flag] for flag in rule["flags"])), style="yellow"),
        )
    return table


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Accuracy overall, on each subset, and of the length baselines; fits 80 columns."""
    table = Table(title="Accuracy of the composed reward (a tie is half a win)", title_justify="left", **COMPACT)
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
    benchmarks = (
        ("RewardBench", metrics.get("rewardbench"), "a tie is a loss there"),
        ("RewardBench 2", metrics.get("rewardbench_2"), "the best of several responses"),
    )
    lines = [_benchmark(name, scores, note) for name, scores, note in benchmarks if scores]
    if lines:
        table.caption, table.caption_justify = "\n".join(lines), "left"
    return table


def flag_legend(weights: dict[str, Any]) -> list[str]:
    """What each flag letter in the table of the weights means, a sentence each."""
    return [
        f"{mark} {flag}: {FLAG_MEANINGS.get(flag, 'a flag of another version')}."
        for flag, mark in _marks(weights).items()
    ]


def entropy_against_accuracy(weights: dict[str, Any]) -> str:
    """Whether low entropy goes with agreement here, which ENCORE builds on, in one sentence."""
    found = weights["entropy_accuracy"]
    if not found or found["pearson"] is None:
        return "Entropy against accuracy: no clear relation, for want of three rules that differ in both."
    verdict = {
        NOISE: "rules with lower entropy agree more with the labels, which is what ENCORE builds on",
        SIGNAL: "rules with lower entropy agree less with the labels: expect ENCORE to lose here; compare with uniform",
        UNCLEAR: "no clear relation",
    }[name_world(found)]
    measured = ", ".join(
        f"{name.capitalize()} r = {found[name]:+.2f} ({p_value(found[f'{name}_p'])})"
        for name in ("pearson", "spearman")
        if found[name] is not None
    )
    return f"Entropy against accuracy over {found['num_rules']} rules: {measured}: {verdict}."


def _marks(weights: dict[str, Any]) -> dict[str, str]:
    """A letter for each flag that any rule carries: the table holds letters, the words stand below it."""
    present = {flag for rule in weights["rules"] for flag in rule["flags"]}
    known = [flag for flag in FLAG_MEANINGS if flag in present]
    return dict(zip([*known, *sorted(present - set(known))], string.ascii_lowercase, strict=False))


def _rule_accuracy(rule: dict[str, Any], *, num_keys: int | None) -> str:
    """Accuracy with its interval, over distinct prompts; weights of older versions do not tell their number."""
    if rule["accuracy"] is None:
        return "[dim]no pairs[/dim]"
    tally = Tally(rule["wins"], rule["ties"], rule["losses"])
    interval = tally.interval(num_keys=num_keys or tally.num_pairs)
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


def _benchmark(name: str, scores: dict[str, float | None], note: str) -> str:
    """A benchmark's scores in one line, those that are not known left out."""
    known = [f"{key.replace('_', ' ')} {score:.1%}" for key, score in scores.items() if score is not None]
    return f"{name} ({note}): {', '.join(known)}"
