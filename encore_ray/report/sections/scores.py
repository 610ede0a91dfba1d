"""The scores themselves: how chosen and rejected responses are rated, and which rules say the same."""

from encore_ray.artifacts.comparison import Histogram, RuleCorrelations
from encore_ray.report.charts.heatmaps import correlation_map
from encore_ray.report.charts.histograms import mean_score, rule_histogram
from encore_ray.report.data.contents import ReportContents, ReportedRule, reported_rules
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import compact, percent, plain, plural, signed
from encore_ray.report.sections.parts import (
    breakable,
    column,
    details,
    legend,
    named,
    number,
    scrolling,
    section,
    table,
)

_SHOWN_HISTOGRAMS = 12
_MOST_HISTOGRAMS = 100
_MOST_MAPPED = 100  # rules
_SHOWN_PAIRS = 10
_BESIDE = 12  # rules whose matrix leaves room for a table beside it


def histograms(contents: ReportContents) -> Markup | None:
    """How the chosen and the rejected responses score under each rule, the heaviest rules first."""
    rules = sorted(reported_rules(contents), key=lambda rule: -abs(rule.weight))
    drawn = [_histogram(rule, rule.histogram) for rule in rules if rule.histogram]
    if not drawn:
        return None
    first, rest = drawn[:_SHOWN_HISTOGRAMS], drawn[_SHOWN_HISTOGRAMS:_MOST_HISTOGRAMS]
    others = f"The other {plural(len(rest), 'rule')}"
    if len(drawn) > _MOST_HISTOGRAMS:
        others = f"The next {len(rest)} of {len(drawn):,} rules"
    return section(
        "histograms",
        "How each rule scores",
        "A rule that tells good from bad moves the line away from the area; one whose scores all fall into a few cells "
        "has low entropy whether it is right or not.",
        legend([("chosen area", "chosen responses"), ("rejected outline", "rejected responses")]),
        tag("div", first, class_="multiples"),
        details(others, tag("div", rest, class_="multiples")) if rest else None,
    )


def correlations(contents: ReportContents) -> Markup | None:
    """Which rules say the same."""
    comparison = contents.comparison
    found = comparison.correlations if comparison else None
    if not comparison or not found or len(comparison.rule_names) < 2:
        return None
    names, matrix = comparison.rule_names, found.matrix
    pairs = [(pair.a, pair.b, pair.r) for pair in found.closest] or sorted(
        ((names[b], names[a], r) for a, row in enumerate(matrix) for b, r in enumerate(row[:a]) if r is not None),
        key=lambda pair: -abs(pair[2]),
    )
    if not pairs:
        return None
    redundant = {frozenset((pair.a, pair.b)) for pair in found.redundant}
    rows = [
        tag(
            "tr",
            named(a),
            tag("td", breakable(b)),
            number(signed(r)),
            class_="redundant" if frozenset((a, b)) in redundant else None,
        )
        for a, b, r in pairs[:_SHOWN_PAIRS]
    ]
    strongest = table(["rule", "and", column("r", class_="number")], rows, class_="strongest")
    mapped = correlation_map(names[:_MOST_MAPPED], [row[:_MOST_MAPPED] for row in matrix[:_MOST_MAPPED]])
    note = f"Correlation of the {found.of}, chosen minus rejected; the stronger the colour, the closer r is to 1 or −1."
    if len(names) > _MOST_MAPPED:
        note += f" The first {_MOST_MAPPED} of {len(names):,} rules."
    return section(
        "correlations",
        "Rules that say the same",
        _redundancy(found, pairs[0]),
        legend([("positive square", "r above 0"), ("negative square", "r under 0")]),
        tag(
            "div",
            scrolling("Correlation of the rules", mapped),
            tag("div", tag("h3", "The strongest"), scrolling("The strongest correlations", strongest)),
            class_="beside" if len(names) <= _BESIDE else "stacked",
        ),
        tag("p", note, class_="note"),
    )


def _histogram(rule: ReportedRule, found: Histogram) -> Markup:
    chosen, rejected = (mean_score(found.cells, counts) for counts in (found.chosen, found.rejected))
    if chosen is None or rejected is None:
        means = f"mean {compact(mean_score(found.cells, found.single))}"
    else:
        means = f"mean {chosen:.3g} chosen, {rejected:.3g} rejected".replace("-", "−")
    facts = [f"weight {rule.weight_text}", f"H {plain(rule.entropy, digits=2)}"]
    facts += [percent(rule.accuracy)] if rule.accuracy is not None else []
    return tag(
        "figure",
        tag(
            "figcaption",
            breakable(rule.name),
            tag("small", " · ".join(facts)),
            class_="flagged" if rule.flags else None,
        ),
        rule_histogram(found, title=f"Scores of {rule.name}: {means}"),
        tag(
            "p",
            tag("span", compact(found.cells[0][0])),
            tag("span", means),
            tag("span", compact(found.cells[-1][1])),
            class_="ends",
        ),
        data_rule=rule.name,
    )


def _redundancy(found: RuleCorrelations, strongest: tuple[str, str, float]) -> str:
    num_pairs = len(found.redundant) if found.num_redundant is None else found.num_redundant
    if found.redundant:
        listed = ", ".join(f"{pair.a} and {pair.b} ({signed(pair.r)})" for pair in found.redundant[:3])
        more = f", and {num_pairs - 3:,} more" if num_pairs > 3 else ""
        are = "is" if num_pairs == 1 else "are"
        return f"{plural(num_pairs, 'pair')} of rules {are} nearly the same: {listed}{more}."
    a, b, r = strongest
    return f"No two rules are redundant; the closest are {a} and {b} with r = {signed(r)}."
