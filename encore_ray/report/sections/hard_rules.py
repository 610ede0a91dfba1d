"""The hard rules: what breaks them, and what they decide."""

from encore_ray.report.data.contents import ReportContents, find_vetoes, reported_rules
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import count
from encore_ray.report.sections.parts import column, named, number, scrolling, section, table
from encore_ray.report.tables.weights import decided_by_veto, written_veto


def hard_rules(contents: ReportContents) -> Markup | None:
    """Each rule with a veto, and how many chosen and rejected responses break it."""
    found = find_vetoes(contents)
    if found is None:
        return None
    known = {rule.name: rule for rule in reported_rules(contents)}
    head = [
        "rule",
        "vetoed",
        column("chosen responses that break it", class_="number"),
        column("rejected ones", class_="number"),
    ]
    rows = [
        tag(
            "tr",
            named(name, known[name].text if name in known else None),
            tag("td", written_veto(known[name]) if name in known else ""),
            number(count(broken.chosen)),
            number(count(broken.rejected)),
            data_rule=name,
        )
        for name, broken in found.rules.items()
    ]
    return section(
        "hard-rules",
        "Hard rules",
        f"A response that breaks one loses to a response that breaks none. {decided_by_veto(found)}",
        scrolling("Hard rules", table(head, rows)),
    )
