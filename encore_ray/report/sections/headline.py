"""The first screen: the result in one sentence, the verdict, five key figures, and the warnings."""

from encore_ray.artifacts import Comparison
from encore_ray.artifacts.figures import Difference, Stats
from encore_ray.composition.compare.verdict import NOISE, SIGNAL, UNCLEAR
from encore_ray.composition.consensus.verdict import ASK_WITHOUT_LABELS
from encore_ray.report.charts.tracks import axis_track
from encore_ray.report.data.contents import Contender, ReportContents, find_contender
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import (
    compact,
    count,
    p_value,
    percent,
    percent_interval,
    percent_tick,
    plain,
    plural,
    points,
    points_interval,
    signed,
)
from encore_ray.report.drawing.scales import fit_scale
from encore_ray.report.sections.parts import chip, details, section, stats_track
from encore_ray.report.tables.weights import entropy_against_accuracy

WORLDS = {
    NOISE: ("Noise drives entropy", "good", "rules of low entropy agree more with the labels"),
    SIGNAL: ("Signal drives entropy", "bad", "rules of low entropy agree less with the labels"),
    UNCLEAR: ("Unclear", "plain", "entropy does not tell here which rules agree with the labels"),
}
_SHOWN_WARNINGS = 6


def headline(contents: ReportContents) -> Markup:
    """The head of the page; it says something whatever is known."""
    return tag(
        "header",
        tag("p", tag("span", "encore-ray", class_="brand"), " ", tag("bdi", contents.title), class_="eyebrow"),
        tag("h1", _result(contents)),
        _world(contents.comparison),
        _label_free(contents),
        tag("div", _cards(contents), class_="cards"),
        tag("p", _verdict(contents), class_="verdict"),
    )


def warnings(contents: ReportContents) -> Markup | None:
    """All warnings of the weights and of the comparison, each once."""
    found = [warning for part in (contents.weights, contents.comparison) if part for warning in part.warnings]
    if not found:
        return None
    items = [tag("li", warning) for warning in dict.fromkeys(found)]
    rest = items[_SHOWN_WARNINGS:]
    return section(
        "warnings",
        plural(len(items), "warning"),
        None,
        tag("ul", items[:_SHOWN_WARNINGS]),
        details(f"{len(rest)} more", tag("ul", rest)) if rest else None,
    )


def on_most_pairs(contender: Contender) -> tuple[Stats, Difference | None]:
    """Its agreement and its difference to uniform on all pairs where that is fair, else on the held-out ones."""
    everywhere, difference = contender.line.all, contender.line.difference_to_uniform_all
    if everywhere and difference:
        return everywhere, difference
    return contender.stats, contender.difference


def _result(contents: ReportContents) -> str:
    if contents.comparison and contents.comparison.decision:
        return contents.comparison.decision.title
    encore = find_contender(contents.comparison, "encore")
    if encore:
        stats, difference = on_most_pairs(encore)
        if difference is None or difference.value is None or difference.low is None or difference.high is None:
            return f"ENCORE agrees with {percent(stats.accuracy)} of the labels"
        by = f"{points(abs(difference.value)).lstrip('+')} points"
        if difference.low > 0:
            return f"ENCORE beats uniform weights by {by}"
        if difference.high < 0:
            return f"ENCORE loses {by} to uniform weights"
        return "ENCORE makes no clear difference to uniform weights"
    overall = contents.metrics.overall if contents.metrics else None
    if overall and overall.accuracy is not None:
        return f"The composed reward agrees with {percent(overall.accuracy)} of the labels"
    if contents.weights:
        return f"{plural(len(contents.weights.rules), 'rule')}, weighed by {contents.weights.scheme}"
    return "A run without results yet"


def _verdict(contents: ReportContents) -> Child:
    if contents.comparison:
        return contents.comparison.verdict
    if contents.weights and contents.weights.num_pairs:
        return entropy_against_accuracy(contents.weights.entropy_accuracy)
    return None


def _world(comparison: Comparison | None) -> Markup | None:
    """The world by name and in words; one that this version does not know by its name alone."""
    if not comparison:
        return None
    world = comparison.world
    name, kind, meaning = WORLDS.get(world, (world.replace("_", " "), "plain", None))
    return tag("p", chip(name, kind=f"world {kind}"), " ", meaning, class_="meaning")


def _label_free(contents: ReportContents) -> Markup | None:
    """What can be said without labels, of the comparison's pairs or else of the weights."""
    if contents.comparison and contents.comparison.consensus:
        return tag("p", contents.comparison.consensus.verdict, class_="verdict label-free")
    found = contents.weights.label_free_verdict if contents.weights else None
    if contents.weights and not contents.comparison:
        found = found or ASK_WITHOUT_LABELS
    return tag("p", found, class_="verdict label-free") if found else None


def _cards(contents: ReportContents) -> list[Markup]:
    encore, uniform = (find_contender(contents.comparison, name) for name in ("encore", "uniform"))
    cards = [_duel(encore, uniform)] if encore and uniform else []
    weights, metrics, comparison = contents.weights, contents.metrics, contents.comparison
    if encore:
        _, difference = on_most_pairs(encore)
        if difference and difference.value is not None:
            interval = points_interval(difference.low, difference.high)
            cards.append(_card("ENCORE − uniform", points(difference.value), f"95%: {interval}", unit="points"))
    is_encore = weights is not None and weights.scheme == "encore"
    if metrics and metrics.overall.accuracy is not None and not (encore and is_encore):
        overall = metrics.overall
        interval = percent_interval(overall.accuracy_low, overall.accuracy_high)
        what = f"accuracy of {weights.scheme}" if weights else "accuracy"
        seen = "; learned from most of these pairs" if weights and weights.uses_labels else ""
        cards.append(_card(what, percent(overall.accuracy), f"95%: {interval}{seen}"))
    if weights:
        of_all = f"of {plural(len(weights.rules), 'rule')}"
        cards.append(_card("effective rules", plain(weights.effective_num_rules, digits=1), of_all))
    if comparison and comparison.entropy_accuracy.pearson is not None:
        found = comparison.entropy_accuracy
        note = f"{p_value(found.pearson_p)}, {plural(found.num_rules, 'rule')}"
        cards.append(_card("r, entropy : accuracy", signed(found.pearson), note))
    pairs = _pairs(contents)
    return [*cards, _card("pairs", *pairs)] if pairs else cards


def _duel(encore: Contender, uniform: Contender) -> Markup:
    """ENCORE and uniform weights on one axis."""
    sides = (("ENCORE", "encore", on_most_pairs(encore)[0]), ("uniform", "uniform", on_most_pairs(uniform)[0]))
    ends = [end for _, _, stats in sides for end in (stats.accuracy_low, stats.accuracy_high)]
    scale = fit_scale(ends, margin=0.3)
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", stats_track(stats, scale=scale, kind=kind), class_="plot"),
            tag("td", tag("b", percent(stats.accuracy)), class_="number"),
        )
        for name, kind, stats in sides
    ]
    axis = axis_track(scale, write=percent_tick, about=3, below=True)
    rows.append(tag("tr", tag("td"), tag("td", axis, class_="plot"), tag("td")))
    temperature = (encore.line.params or {}).get("temperature")
    at = "" if temperature is None else f", τ = {compact(temperature)}"
    label = tag("p", f"accuracy with 95% interval{at}", class_="label")
    return tag("div", label, tag("table", tag("tbody", rows)), class_="card duel")


def _card(label: str, value: str, note: str, *, unit: str | None = None) -> Markup:
    figure = tag("p", value, tag("small", f" {unit}") if unit else None, class_="value")
    return tag("div", tag("p", label, class_="label"), figure, tag("p", note, class_="note"), class_="card")


def _pairs(contents: ReportContents) -> tuple[str, str] | None:
    comparison, weights = contents.comparison, contents.weights
    if comparison:
        return count(comparison.num_pairs), f"{count(comparison.heldout.num_pairs)} held out"
    if weights:
        num_singles = weights.num_responses - 2 * weights.num_pairs
        return count(weights.num_pairs), f"and {plural(num_singles, 'single response')}" if num_singles else (
            f"{count(weights.num_responses)} responses"
        )
    return None
