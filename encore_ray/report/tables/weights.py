"""The weights and the accuracies as tables for the terminal, with the flags in words."""

import string
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.artifacts.figures import Correlations, DecidedByVeto, RuleFigures, Stats
from encore_ray.artifacts.metrics import Scores
from encore_ray.artifacts.weights import WeighedRule
from encore_ray.composition.compare.verdict import NOISE, SIGNAL, UNCLEAR
from encore_ray.report.drawing.numbers import count, p_value, weight_writer
from encore_ray.schema import METRICS_FILE, WEIGHTS_FILE
from encore_ray.visible import MOST_ROWS, more, short

FLAG_MEANINGS = {
    "mode_share": "nearly all responses get the same score, so low entropy says little",
    "low_entropy": "its scores hardly vary over the whole corpus",
    "rarely_active": "it tells the two responses apart in under 5% of the pairs",
    "below_chance": "it agrees with significantly fewer than half of the labels; check higher_is",
    "looks_like_ratings": "few distinct scores on a continuous scale; declare them as levels",
    "wide_scale": "its scale is far too wide for its scores; correct it in rules.yaml",
    "clipped": "some scores lay outside its scale and count in the end cells",
    "off_level": "some scores are none of the declared levels",
    "dropped_by_min_active": "weight 0, because --min-active was given",
    "disagrees": "it goes against what all rules have in common, and consensus gives it no weight; check higher_is",
    "loading_clipped": "it goes with what all rules have in common as well as is allowed; its weight may be too large",
}
COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False, "show_edge": False}


def weights_table(weights: WeightsFile) -> Table:
    """The rules and their weights, the heaviest first; fits 80 columns.

    `share` is what a rule makes of the margin's spread: a rule with a high weight whose scores never differ makes none.
    Veto and points stand below the rule's name; below entropy and weight by ratings stand those by the scores.
    """
    params = f", temperature {weights.temperature:g}" if weights.temperature is not None else ""
    counted = f"{weights.num_pairs:,} pairs" if weights.num_pairs else f"{weights.num_responses:,} single responses"
    table = Table(
        title=f"Weights ({weights.scheme}{params}): {counted}, "
        f"act like {weights.effective_num_rules:.1f} of {len(weights.rules)} rules",
        title_justify="left",
        **COMPACT,
    )
    table.add_column("rule", overflow="fold", max_width=30, min_width=18)
    table.add_column("higher\nis", no_wrap=True)
    table.add_column(f"entropy,\n{weights.unit}", justify="right", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("flags", no_wrap=True)
    marks = _marks(weights)
    rules = weights.by_weight
    write_weight = weight_writer(rule.weight for rule in rules)
    rated = weights.ratings
    for rule in rules[:MOST_ROWS]:
        share = rule.contribution_share
        entropy, weight = f"{rule.entropy:.3f} [dim]± {rule.entropy_error:.3f}[/dim]", write_weight(rule.weight)
        if rated:
            entropy += f"\n[dim]by scores {rated.by_scores.entropies[rule.name]:.3f}[/dim]"
            weight += f"\n[dim]{write_weight(rated.by_scores.weights[rule.name])}[/dim]"
        table.add_row(
            Text.assemble(rule.name, *((f"\n{line}", "dim") for line in _prior(rule))),
            rule.higher_is,
            entropy,
            _rule_accuracy(rule, weights),
            weight,
            "" if share is None else f"{share:.1%}",
            Text("".join(sorted(marks[flag] for flag in rule.flags)), style="yellow"),
        )
    if len(rules) > MOST_ROWS:
        table.caption = more(len(rules) - MOST_ROWS, "rules of less weight", WEIGHTS_FILE)
        table.caption_justify = "left"
    return table


def metrics_table(metrics: Metrics) -> Table:
    """Accuracy overall, on each subset, and of the length baselines; fits 80 columns."""
    table = Table(title="Accuracy of the composed reward (a tie is half a win)", title_justify="left", **COMPACT)
    table.add_column("on", overflow="fold", max_width=36)
    for name in ("pairs", "accuracy", "95% interval", "strict", "wins", "ties", "losses"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*_metrics_row("all pairs", metrics.overall), style="bold", end_section=True)
    is_long = len(metrics.subsets) > MOST_ROWS
    for name, stats in metrics.largest_subsets[:MOST_ROWS] if is_long else metrics.subsets.items():
        table.add_row(*_metrics_row(short(name), stats))
    if is_long:
        table.add_row(Text(more(len(metrics.subsets) - MOST_ROWS, "smaller subsets", METRICS_FILE), style="dim"))
    if metrics.subsets:
        table.add_section()
    for name, stats in metrics.baselines.items():
        if stats is not None:
            table.add_row(*_metrics_row(f"if {name.removesuffix('_wins')} won", stats), style="dim")
    benchmarks = (
        ("RewardBench", metrics.rewardbench, "a tie is a loss there"),
        ("RewardBench 2", metrics.rewardbench_2, "the best of several responses"),
        ("RM-Bench", metrics.rm_bench, "a tie is a loss there"),
    )
    lines = [_benchmark(name, scores, note) for name, scores, note in benchmarks if scores]
    lines += [f"{section.replace('_', ' ')}: {part}." for section, part in metrics.rewardbench_parts.items()]
    if lines:
        table.caption, table.caption_justify = "\n".join(lines), "left"
    return table


def flag_legend(weights: WeightsFile) -> list[str]:
    """What each flag letter in the table of the weights means, a sentence each."""
    return [
        f"{mark} {flag}: {FLAG_MEANINGS.get(flag, 'a flag of another version')}."
        for flag, mark in _marks(weights).items()
    ]


def written_veto(rule: RuleFigures) -> str:
    """The veto of a rule as `below 0.5`; empty without one."""
    return ", ".join(f"{side} {limit:g}" for side, limit in (rule.veto or {}).items())


def decided_by_veto(found: DecidedByVeto) -> str:
    """How many pairs the hard rules decide, how often as labelled, and how many responses break them, in words."""
    text = f"Vetoes of {', '.join(found.rules)} decide {found.num_pairs:,} pairs"
    if found.num_pairs:
        text += f", {found.right:,} ({found.right / found.num_pairs:.1%}) as labelled"
    if found.both_break:
        text += f"; of {found.both_break:,} pairs both responses break a hard rule, and their rewards decide"
    broken = ", ".join(f"{name} {rule.chosen + rule.rejected:,}" for name, rule in found.rules.items())
    return f"{text}. Responses that break them: {broken}."


def entropy_against_accuracy(found: Correlations | None) -> str:
    """Whether low entropy goes with agreement here, which ENCORE builds on, in one sentence."""
    if found is None or found.pearson is None:
        return "Entropy against accuracy: no clear relation, for want of three rules that differ in both."
    verdict = {
        NOISE: "rules with lower entropy agree more with the labels, which is what ENCORE builds on",
        SIGNAL: "rules with lower entropy agree less with the labels, the opposite of what ENCORE builds on: compare "
        "it with uniform weights",
        UNCLEAR: "no clear relation",
    }[found.world]
    measured = ", ".join(
        f"{name} r = {r:+.2f} ({p_value(p)})"
        for name, r, p in (("Pearson", found.pearson, found.pearson_p), ("Spearman", found.spearman, found.spearman_p))
        if r is not None
    )
    return f"Entropy against accuracy over {found.num_rules} rules: {measured}: {verdict}."


def _marks(weights: WeightsFile) -> dict[str, str]:
    """A letter for each flag that any rule carries: the table holds letters, the words stand below it."""
    present = {flag for rule in weights.rules for flag in rule.flags}
    known = [flag for flag in FLAG_MEANINGS if flag in present]
    return dict(zip([*known, *sorted(present - set(known))], string.ascii_lowercase, strict=False))


def _prior(rule: WeighedRule) -> list[str]:
    """A rule's veto and points in words, as far as it has them."""
    points = [] if rule.points is None else [f"points {rule.points:g}"]
    return [*([f"veto {written_veto(rule)}"] if rule.veto else []), *points]


def _rule_accuracy(rule: WeighedRule, weights: WeightsFile) -> str:
    """Accuracy with its interval."""
    interval = weights.interval(rule)
    if rule.accuracy is None or interval is None:
        return "[dim]no pairs[/dim]"
    return f"{rule.accuracy:.1%} [dim]± {(interval.high - interval.low) / 2:.1%}[/dim]"


def _metrics_row(label: str, stats: Stats) -> list[str | Text]:
    if not stats.num_pairs:
        return [Text(label), "0", "[dim]no pairs[/dim]", "", "", "", "", ""]
    return [
        Text(label),
        f"{stats.num_pairs:,}",
        f"{stats.accuracy:.1%}",
        f"{stats.accuracy_low:.1%} to {stats.accuracy_high:.1%}",
        f"{stats.accuracy_strict:.1%}",
        *(count(value) for value in (stats.wins, stats.ties, stats.losses)),
    ]


def _benchmark(name: str, scores: Scores, note: str) -> str:
    """A benchmark's scores in one line, those that are not known left out."""
    known = [f"{key.replace('_', ' ')} {score:.1%}" for key, score in scores.items() if score is not None]
    return f"{name} ({note}): {', '.join(known)}"
