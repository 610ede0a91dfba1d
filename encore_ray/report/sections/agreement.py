"""The composed reward against the labels: margins, subsets, RewardBench."""

from encore_ray.artifacts.figures import Stats
from encore_ray.artifacts.metrics import Scores
from encore_ray.report.charts.histograms import margin_histogram
from encore_ray.report.charts.tracks import axis_track, bar_track
from encore_ray.report.data.contents import ReportContents, find_contender
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import compact, count, percent, percent_interval, percent_tick, plural, points
from encore_ray.report.drawing.scales import AxisScale, fit_scale
from encore_ray.report.sections.parts import (
    column,
    details,
    legend,
    named,
    number,
    scrolling,
    section,
    stats_track,
    table,
)

_SHOWN_SUBSETS, _MOST_SUBSETS = 20, 2000
_SECTIONS = {"chat": "Chat", "chat_hard": "Chat Hard", "safety": "Safety", "reasoning": "Reasoning"}


def margins(contents: ReportContents) -> Markup | None:
    """How far apart the rewards of a pair are."""
    margin = contents.metrics.margin if contents.metrics else None
    if not contents.metrics or not margin:
        return None
    overall, histogram = contents.metrics.overall, margin.histogram
    interval = percent_interval(overall.accuracy_low, overall.accuracy_high)
    words = (
        f"{count(overall.wins)} wins, {count(overall.ties)} ties, {count(overall.losses)} losses: "
        f"accuracy {percent(overall.accuracy)} ({interval}), strict {percent(overall.accuracy_strict)}. "
        f"The mean margin is {compact(margin.mean)}, its standard deviation {compact(margin.sd)}."
    )
    vetoes = contents.metrics.decided_by_veto
    if vetoes and vetoes.num_pairs:
        words += f" Both are of the {count(overall.num_pairs - vetoes.num_pairs)} pairs that no veto decides."
    baselines = [
        f"If the {side} response always won, accuracy would be {percent(stats.accuracy)}."
        for side in ("shorter", "longer")
        if (stats := contents.metrics.baselines[f"{side}_wins"])
    ]
    note = "Margin: reward of the chosen less that of the rejected response; 0 is in the cell to its right."
    return section(
        "margins",
        "Margins of the composed reward",
        " ".join([words, *baselines]),
        *(
            [
                legend([("win square", "chosen ahead"), ("loss square", "rejected ahead")]),
                tag("figure", margin_histogram(histogram), class_="plain"),
                tag("p", note, class_="note"),
            ]
            if histogram
            else []
        ),
    )


def subsets(contents: ReportContents) -> Markup | None:
    """The composed reward on each subset, the largest first, beside uniform weights."""
    if not contents.metrics or not contents.metrics.subsets:
        return None
    metrics = contents.metrics
    ordered = metrics.largest_subsets
    everything = [metrics.overall, *(stats for _, stats in ordered)]
    scale = fit_scale([end for stats in everything for end in (stats.accuracy_low, stats.accuracy_high)])
    uniform = find_contender(contents.comparison, "uniform")
    references = [(0.5, "chance"), (metrics.overall.accuracy or 0.0, "reference")]

    def row(name: str, kind: str, stats: Stats) -> Markup:
        beside = (uniform.line.subsets or {}).get(name) if uniform and kind == "encore" else None
        return _row(name, kind, stats, scale, references, beside.accuracy if beside else None, bool(uniform))

    head = [
        "subset",
        column("accuracy of the run's reward", axis_track(scale, write=percent_tick), class_="plot"),
        column(class_="number"),
        column("ties lost (strict)", class_="number", title="accuracy where a tie is a loss"),
        *([column("more than uniform, points", class_="number")] if uniform else []),
        column("pairs", class_="number"),
    ]
    rows = [row("all pairs", "total", metrics.overall)]
    rows += [row(name, "encore", stats) for name, stats in ordered]
    shown, rest = rows[: _SHOWN_SUBSETS + 1], rows[_SHOWN_SUBSETS + 1 :]
    worst = min(ordered, key=lambda item: item[1].accuracy or 0.0)
    best = max(ordered, key=lambda item: item[1].accuracy or 0.0)
    words = (
        f"Best on {best[0]} ({percent(best[1].accuracy)}), worst on {worst[0]} ({percent(worst[1].accuracy)})."
        if len(ordered) > 1
        else f"All pairs with a subset are of {best[0]}."
    )
    return section(
        "subsets",
        plural(len(ordered), "subset"),
        words,
        legend([("reference line", "all pairs"), ("chance line", "coin toss")]),
        scrolling("Accuracy by subset", table(head, shown, class_="dots")),
        details(
            f"{len(rest):,} smaller subsets",
            scrolling("Accuracy by smaller subset", table(head, rest, class_="dots", most=_MOST_SUBSETS)),
        )
        if rest
        else None,
    )


def rewardbench(contents: ReportContents) -> Markup | None:
    """The sections of RewardBench and RewardBench 2 where the corpus has their subsets."""
    metrics = contents.metrics
    if not metrics:
        return None
    tables, notes = [], []
    first = metrics.rewardbench
    if not first and metrics.rewardbench_safety is not None:
        first = {"safety": metrics.rewardbench_safety}
    if first:
        tables.append(_scores("RewardBench", {_SECTIONS.get(name, name): score for name, score in first.items()}))
        notes.append("RewardBench: a tie is a loss.")
        notes += [f"{_SECTIONS.get(name, name)}: {part}." for name, part in metrics.rewardbench_parts.items()]
    if metrics.rewardbench_2:
        tables.append(_scores("RewardBench 2", metrics.rewardbench_2))
        notes.append("RewardBench 2: the best of several responses.")
    if metrics.rm_bench:
        tables.append(_scores("RM-Bench", metrics.rm_bench))
        notes.append("RM-Bench: hard where the chosen style is plainer; a tie is a loss.")
    if not tables:
        return None
    return section("rewardbench", "RewardBench", " ".join(notes), tag("div", tables, class_="columns"))


def _scores(title: str, scores: Scores) -> Markup:
    rows = [
        tag(
            "tr",
            named(name),
            tag("td", bar_track(score or 0.0, kind="total" if name == "overall" else "encore"), class_="plot"),
            number(percent(score)),
        )
        for name, score in scores.items()
        if score is not None
    ]
    return tag("div", tag("h3", title), scrolling(title, tag("table", tag("tbody", rows), class_="dots")))


def _row(
    name: str,
    kind: str,
    stats: Stats,
    scale: AxisScale,
    references: list[tuple[float, str]],
    uniform: float | None,
    has_uniform: bool,
) -> Markup:
    difference = "" if uniform is None or stats.accuracy is None else points(stats.accuracy - uniform)
    return tag(
        "tr",
        named(name),
        tag("td", stats_track(stats, scale=scale, kind=kind, references=references), class_="plot"),
        number(percent(stats.accuracy), note=percent_interval(stats.accuracy_low, stats.accuracy_high)),
        number(percent(stats.accuracy_strict)),
        number(difference) if has_uniform else None,
        number(count(stats.num_pairs)),
        class_=kind,
    )
