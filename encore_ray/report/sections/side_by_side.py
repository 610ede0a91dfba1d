"""Runs beside each other: what differs, what each decides, and their weights, subsets and schemes in one table each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from encore_ray.artifacts.figures import Stats
from encore_ray.report.charts.tracks import axis_track
from encore_ray.report.data.contents import ReportContents, contenders, label_of, reported_rules
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import count, percent, percent_interval, percent_tick, plain, plural, points
from encore_ray.report.drawing.scales import fit_scale
from encore_ray.report.sections.account import ran_options
from encore_ray.report.sections.first.about import corpus_name, model_name
from encore_ray.report.sections.parts import column, named, number, scrolling, section, stats_track, table

_MANY = 20
_UNKNOWN = "–"

Runs = Mapping[str, ReportContents]  # by what each is called
_Values = Callable[[ReportContents], Mapping[str, Any]]


def what_differs(runs: Runs) -> Markup:
    """Options and provenance that are not the same in all runs; all else is."""
    found = [dict(_provenance(contents)) for contents in runs.values()]
    names = dict.fromkeys(name for each in found for name in each)
    unlike = [name for name in names if len({each.get(name, _UNKNOWN) for each in found}) > 1]
    rows = [
        tag("tr", named(name), [tag("td", tag("code", each.get(name, _UNKNOWN))) for each in found]) for name in unlike
    ]
    same = [name for name in ("scores", "rules", "corpus") if name in names and name not in unlike]
    takeaway = f"The same in all: {', '.join(same)}." if same else "Not even their scores are the same."
    if not rows:
        return section("differs", "What differs", "Nothing that decides a result.")
    return section("differs", "What differs", takeaway, scrolling("What differs", table(["", *map(_head, runs)], rows)))


def decisions(runs: Runs) -> Markup:
    """What each run decides, and how often its own reward agrees with the labels."""
    own = {name: _own(contents) for name, contents in runs.items()}
    known = [stats for stats in own.values() if stats]
    scale = fit_scale([0.5, *(end for stats in known for end in (stats.accuracy_low, stats.accuracy_high))])
    head = [
        "run",
        column("its reward agrees with the labels (accuracy)", axis_track(scale, write=percent_tick), class_="plot"),
        column(class_="number"),
        column("uniform weights", class_="number"),
        column("pairs", class_="number"),
        "decision",
    ]
    rows = []
    for name, contents in runs.items():
        stats, comparison = own[name], contents.comparison
        uniform = {each.name: each for each in contenders(comparison)}.get("uniform") if comparison else None
        everywhere = uniform.line.all if uniform else None
        rows.append(
            tag(
                "tr",
                named(name, contents.weights.scheme if contents.weights else None),
                tag("td", stats_track(stats, scale=scale, kind="encore"), class_="plot") if stats else tag("td"),
                number(percent(stats.accuracy), note=percent_interval(stats.accuracy_low, stats.accuracy_high))
                if stats
                else number(_UNKNOWN),
                number(percent(everywhere.accuracy if everywhere else None)),
                number(count(stats.num_pairs if stats else None)),
                tag("td", comparison.decision.title if comparison and comparison.decision else _UNKNOWN),
            )
        )
    note = (
        "Intervals are of each run alone, over prompts; on the same pairs a difference is known better than they look."
    )
    return section(
        "decisions", "What each decides", None, scrolling("Decisions", table(head, rows, class_="dots")), _note(note)
    )


def weights(runs: Runs) -> Markup | None:
    """Weights and entropies of every rule in every run, those that differ most first."""
    return _grid(
        runs,
        ("weights", "Weights", "rule"),
        lambda contents: {rule.name: rule for rule in reported_rules(contents)},
        cell=lambda rule: number(rule.weight_text, note=f"H {plain(rule.entropy, digits=2)}"),
        value=lambda rule: rule.weight,
        note="Below each weight the entropy (H) of the scores.",
        is_rule=True,
    )


def subsets(runs: Runs) -> Markup | None:
    """The accuracy of each run's reward on every subset."""

    def stats(contents: ReportContents) -> Mapping[str, Stats]:
        found = contents.metrics
        return {"all pairs": found.overall, **found.subsets} if found and found.overall.num_pairs else {}

    return _grid(
        runs,
        ("subsets", "Subsets", "subset"),
        stats,
        cell=lambda found: number(
            percent(found.accuracy), note=percent_interval(found.accuracy_low, found.accuracy_high)
        ),
        value=lambda found: found.accuracy or 0.0,
    )


def schemes(runs: Runs) -> Markup | None:
    """Every weighting on the pairs of each run."""

    def lines(contents: ReportContents) -> Mapping[str, Any]:
        found = contenders(contents.comparison) if contents.comparison else []
        return {label_of(each.name): each for each in found}

    return _grid(
        runs,
        ("schemes", "Weightings", "scheme"),
        lines,
        cell=lambda each: number(
            percent(each.accuracy), note=percent_interval(each.stats.accuracy_low, each.stats.accuracy_high)
        ),
        value=lambda each: each.accuracy,
        note="On the held-out pairs of each run.",
    )


def _grid(
    runs: Runs,
    called: tuple[str, str, str],
    values: _Values,
    *,
    cell: Callable[[Any], Markup],
    value: Callable[[Any], float],
    note: str | None = None,
    is_rule: bool = False,
) -> Markup | None:
    """A row a name and a column a run; of two runs the difference of the second to the first, the largest first.

    Args:
        called: the section's anchor and title, and what a row is.
        values: what a run has, by name. cell: how it is shown. value: its number.
    """
    anchor, title, kind = called
    found = [values(contents) for contents in runs.values()]
    names = list(dict.fromkeys(name for each in found for name in each))
    if not names:
        return None

    def spread(name: str) -> float:
        known = [value(each[name]) for each in found if name in each]
        return max(known) - min(known)

    first = [name for name in names if name == "all pairs"]
    ordered = [*first, *sorted((name for name in names if name not in first), key=lambda name: -spread(name))]
    has_difference = len(found) == 2
    rows = [
        tag(
            "tr",
            named(name),
            [cell(each[name]) if name in each else number(_UNKNOWN) for each in found],
            _difference([value(each[name]) for each in found if name in each]) if has_difference else None,
            class_="total" if name in first else None,
            data_rule=name if is_rule else None,
        )
        for name in ordered
    ]
    head: list[Child] = [kind, *(_head(name, class_="number") for name in runs)]
    if has_difference:
        head.append(column("second − first, points", class_="number"))
    drawn = scrolling(title, table(head, rows, most=2000), tall=len(rows) > _MANY)
    return section(anchor, title, f"{plural(len(names), kind)}, those that differ most first.", drawn, _note(note))


def _difference(known: Sequence[float]) -> Markup:
    return number(points(known[1] - known[0]) if len(known) == 2 else "")


def _note(text: str | None) -> Markup | None:
    return tag("p", text, class_="note") if text else None


def _head(name: str, *, class_: str | None = None) -> Markup:
    return column(tag("bdi", name), class_=class_)


def _own(contents: ReportContents) -> Stats | None:
    found = contents.metrics.overall if contents.metrics else None
    return found if found and found.num_pairs else None


def _provenance(contents: ReportContents) -> Iterator[tuple[str, str]]:
    """Name and value of everything that decided a run's result, as texts."""
    found: Sequence[tuple[str, str | None]] = [
        ("made on", contents.made_on),
        ("model", model_name(contents.config) or None),
        ("corpus", corpus_name(contents.config) or None),
        ("pairs", count(contents.weights.num_pairs) if contents.weights else None),
        ("scores", contents.weights.counts_sha256[:16] if contents.weights else None),
        ("rules", contents.rules.fingerprint[:16] if contents.rules else None),
        ("weights", contents.weights.fingerprint[:16] if contents.weights else None),
        *((name, value) for name, value in ran_options(contents) if not name.startswith(("inputs", "model", "run"))),
        *((contents.versions or {}).items()),
    ]
    return ((name, value) for name, value in found if value is not None)
