"""What the rules have in common, told without a label: loadings against entropy, agreement, and how far to trust it."""

from encore_ray.artifacts.figures import ConsensusFigures
from encore_ray.composition.consensus.consensus import MIN_EXPLAINED, MIN_GROUPS
from encore_ray.report.charts.loadings import loadings_chart
from encore_ray.report.data.contents import ReportContents, reported_rules
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import count, p_value, percent, plain, signed
from encore_ray.report.sections.parts import column, definitions, details, named, number, scrolling, section, table
from encore_ray.report.sections.rules import unit_of


def consensus_of(contents: ReportContents) -> ConsensusFigures | None:
    """That of the comparison, which has more in it; else that of the weights."""
    for part in (contents.comparison, contents.weights):
        if part and part.consensus:
            return part.consensus
    return None


def consensus(contents: ReportContents) -> Markup | None:
    """Whether signal or noise drives entropy, as far as rules tell it by how they agree."""
    found = consensus_of(contents)
    if found is None:
        return None
    rules = reported_rules(contents)
    accuracies = {rule.name: rule.accuracy for rule in rules}
    has_labels = any(accuracy is not None for accuracy in accuracies.values())
    head = [
        "",
        "rule",
        column("loading", class_="number", title="correlation with what all rules have in common"),
        column("accuracy", class_="number") if has_labels else None,
    ]
    rows = [
        tag(
            "tr",
            number(str(place)),
            named(name),
            number("—" if loading is None else signed(loading)),
            number(percent(accuracies.get(name))) if has_labels else None,
            data_rule=name,
        )
        for place, (name, loading) in enumerate(found.loadings.items(), start=1)
    ]
    return section(
        "consensus",
        "What the rules have in common",
        found.verdict,
        tag("figure", scrolling("Loadings and agreement", loadings_chart(found, rules, unit=unit_of(contents)))),
        definitions(_facts(found)),
        details(
            "How far each rule goes with all (its loading)",
            scrolling("Loadings", table([cell for cell in head if cell is not None], rows), tall=len(rows) > 20),
        ),
    )


def _facts(found: ConsensusFigures) -> list[tuple[str, Child]]:
    explained = "nothing" if found.explained is None else plain(found.explained)
    trusted = "trusted" if found.trusted else "not trusted: weights by consensus are equal"
    facts: list[tuple[str, Child]] = [
        ("explained by one factor", f"{explained} of the squared agreement (it takes {MIN_EXPLAINED:g})"),
        ("groups of rules that differ", f"{found.num_groups} (it takes {MIN_GROUPS}): {trusted}"),
        ("told by", f"{count(found.num_pairs)} pairs of responses"),
    ]
    r = found.entropy_loading
    if r.pearson is not None:
        interval = "" if r.pearson_low is None else f", 95% {signed(r.pearson_low)} to {signed(r.pearson_high)}"
        facts.append(
            ("entropy goes with loading by (Pearson's r)", f"{signed(r.pearson)} ({p_value(r.pearson_p)}{interval})")
        )
    same = [" and ".join(group) for group in found.groups if len(group) > 1]
    if same:
        facts.append(("nearly the same, and count as one", "; ".join(same)))
    if found.length and found.length.shorter_wins is not None:
        r_length = found.length.shorter_wins
        facts.append(
            ("goes with the shorter response by", f"{signed(r_length)}; with the longer by {signed(-r_length)}")
        )
    return facts
