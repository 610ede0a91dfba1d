"""The decision as a table: the weights to use beside this run's, uniform ones, length, a coin, and what learns."""

from dataclasses import dataclass

from encore_ray.artifacts import Comparison
from encore_ray.artifacts.figures import Difference, Stats
from encore_ray.report.charts.tracks import axis_track
from encore_ray.report.data.contents import Contender, ReportContents, contenders, has_heldout, label_of
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import compact, count, percent, percent_interval, percent_tick, plural
from encore_ray.report.drawing.scales import fit_scale
from encore_ray.report.sections.parts import (
    column,
    difference_cell,
    named,
    number,
    scrolling,
    stats_track,
    table,
)

_AHEAD = "as good or better: mend the rules before any weights"
_CHOSEN, _OF_RUN, _LEARNED = "the ones to use", "this run's", "learned from the other labels"


@dataclass(frozen=True)
class _Row:
    """Weights, or what needs none, on some pairs.

    Attributes:
        notes: below the name.
        difference: to uniform weights on the same pairs; None where it says nothing.
    """

    name: str
    kind: str
    stats: Stats
    notes: tuple[str, ...] = ()
    difference: Difference | None = None


def decision_table(contents: ReportContents) -> Markup | None:
    """At most seven rows, the decision first; None where no pair has a label."""
    rows = _compared(contents, contents.comparison) if contents.comparison else _evaluated(contents)
    rows = [row for row in rows if row.stats.accuracy is not None]
    if not rows:
        return None
    scale = fit_scale([0.5, *(end for row in rows for end in (row.stats.accuracy_low, row.stats.accuracy_high))])
    has_differences = any(row.difference for row in rows)
    head = [
        "weights",
        column("agrees with the labels", axis_track(scale, write=percent_tick), class_="plot"),
        column("accuracy", class_="number"),
        *([column("more than uniform, points", class_="number")] if has_differences else []),
    ]
    drawn = [
        tag(
            "tr",
            named(row.name, *row.notes),
            tag("td", stats_track(row.stats, scale=scale, kind=row.kind, references=[(0.5, "chance")]), class_="plot"),
            number(percent(row.stats.accuracy), note=percent_interval(row.stats.accuracy_low, row.stats.accuracy_high)),
            difference_cell(row.difference) if has_differences else None,
            class_="chosen" if _CHOSEN in row.notes else None,
        )
        for row in rows
    ]
    coin = [named("A coin"), tag("td", class_="plot"), number(percent(0.5)), number("") if has_differences else None]
    drawn.insert(sum(row.kind != "learned" for row in rows), tag("tr", coin))
    return tag(
        "div",
        scrolling("The decision", table(head, drawn, class_="dots decision")),
        tag("p", _note(contents, rows), class_="note"),
    )


def on_most_pairs(contender: Contender) -> tuple[Stats, Difference | None]:
    """Its agreement and its difference to uniform on all pairs where that is fair, else on the held-out ones."""
    everywhere, difference = contender.line.all, contender.line.difference_to_uniform_all
    if everywhere and difference:
        return everywhere, difference
    return contender.stats, contender.difference


def _compared(contents: ReportContents, comparison: Comparison) -> list[_Row]:
    """The decision, ENCORE, the run's own, uniform, the better length, and the best that learns from labels."""
    found = {each.name: each for each in contenders(comparison)}
    chosen = comparison.decision.scheme if comparison.decision else None
    own = contents.weights.scheme if contents.weights else None
    wanted = dict.fromkeys(name for name in (chosen, own, "encore", "uniform") if name in found)
    rows = [_of(found[name], comparison, chosen=chosen, own=own) for name in wanted]
    lengths = [(on_most_pairs(each)[0], each) for each in found.values() if each.kind == "baseline" and each.line.all]
    for stats, each in sorted(lengths, key=lambda item: -(item[0].accuracy or 0.0))[:1]:
        ahead = (_AHEAD,) if rows and (stats.accuracy or 0.0) >= (rows[0].stats.accuracy or 0.0) else ()
        rows.append(_Row(label_of(each.name), "baseline", stats, ahead))
    learned = [each for each in found.values() if each.kind == "learned" and each.name not in wanted]
    return rows + [_of(each, comparison, chosen=chosen, own=own) for each in learned[:1]]


def _of(each: Contender, comparison: Comparison, *, chosen: str | None, own: str | None) -> _Row:
    stats, difference = on_most_pairs(each)
    notes = [note for name, note in ((chosen, _CHOSEN), (own, _OF_RUN)) if name == each.name]
    if each.kind == "learned" and has_heldout(comparison):
        notes.append(f"{_LEARNED}; on {count(stats.num_pairs)} held-out pairs")
    temperature = (each.line.params or {}).get("temperature")
    name = label_of(each.name) + ("" if temperature is None else f", temperature τ = {compact(temperature)}")
    notes = [each.name, *notes] if _CHOSEN in notes else notes
    return _Row(name, each.kind, stats, tuple(notes), None if each.name == "uniform" else difference)


def _evaluated(contents: ReportContents) -> list[_Row]:
    """The run's own reward beside the two baselines, of a run that was not compared."""
    if not contents.metrics:
        return []
    weights = contents.weights
    seen = ["learned from most of these pairs"] if weights and weights.uses_labels else []
    name = label_of(weights.scheme) if weights else "the composed reward"
    rows = [_Row(name, "encore", contents.metrics.overall, (*([_OF_RUN] if weights else []), *seen))]
    found = [
        (name, stats) for name, stats in contents.metrics.baselines.items() if stats and stats.accuracy is not None
    ]
    best = sorted(found, key=lambda item: -(item[1].accuracy or 0.0))[:1]
    return rows + [_Row(label_of(name), "baseline", stats) for name, stats in best]


def _note(contents: ReportContents, rows: list[_Row]) -> str:
    num_pairs = max(row.stats.num_pairs for row in rows)
    words = [
        f"Over all {plural(num_pairs, 'labelled pair')}; a tie is half a win",
        "lines and small figures: 95% intervals over prompts, how far a figure would move with other prompts of the "
        "same kind (confidence intervals)",
    ]
    if contents.comparison:
        words.append("points: percentage points")
    return "; ".join(words) + "."
