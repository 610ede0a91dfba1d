"""The first screen: the decision in a sentence, as a table and as a command; why, for who asks; and the warnings."""

from encore_ray.artifacts import Comparison
from encore_ray.composition.compare.verdict import NOISE, SIGNAL, UNCLEAR
from encore_ray.composition.consensus.verdict import ASK_WITHOUT_LABELS
from encore_ray.report.data.contents import ReportContents, find_contender
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import percent, plural, points
from encore_ray.report.sections.first.about import about
from encore_ray.report.sections.first.decision import decision_table, on_most_pairs
from encore_ray.report.sections.first.next_step import next_step
from encore_ray.report.sections.parts import chip, details, section
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
        about(contents),
        decision_table(contents),
        next_step(contents),
        _why(contents),
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


def _why(contents: ReportContents) -> Markup | None:
    """What entropy says here, with labels and without, and the verdict sentence by sentence."""
    said = [*_world(contents.comparison), *_label_free(contents), *_verdict(contents)]
    if not said:
        return None
    summary = "Why, and what else was found" if contents.comparison else "What entropy says of these rules"
    return details(summary, tag("ul", [tag("li", each) for each in said], class_="why"))


def _verdict(contents: ReportContents) -> list[Child]:
    if contents.comparison:
        return list(contents.comparison.reasons)
    if contents.weights and contents.weights.num_pairs:
        return [entropy_against_accuracy(contents.weights.entropy_accuracy)]
    return []


def _world(comparison: Comparison | None) -> list[Child]:
    """The world by name and in words; one that this version does not know by its name alone."""
    if not comparison:
        return []
    world = comparison.world
    name, kind, meaning = WORLDS.get(world, (world.replace("_", " "), "plain", None))
    return [[chip(name, kind=f"world {kind}"), " ", meaning]]


def _label_free(contents: ReportContents) -> list[Child]:
    """What can be said without labels, of the comparison's pairs or else of the weights."""
    if contents.comparison and contents.comparison.consensus:
        return [contents.comparison.consensus.verdict]
    found = contents.weights.label_free_verdict if contents.weights else None
    if contents.weights and not contents.comparison:
        found = found or ASK_WITHOUT_LABELS
    return [found] if found else []
