"""Which rules the pairs deserve, and which response they prefer."""

from encore_ray.report.charts.tracks import bar_track
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import count, percent, plural
from encore_ray.report.sections.parts import column, definitions, named, number, scrolling, section, table
from encore_ray.schema import SELECTED_COUNT

_LABELS = {
    "chosen_better": "prefer the chosen response",
    "rejected_better": "prefer the rejected response",
    "ties": "are ties",
}
_LEFT_OUT = {"singles": "one response only: nothing to tell apart", "without_relevance": "no relevance of any rule"}


def selection(contents: ReportContents) -> Markup | None:
    """How often each rule is selected, as bars, and the account of the labels."""
    found = contents.selection
    if not found:
        return None
    counts = found.counts
    num_pairs = max(counts["pairs"], 1)
    selected = {key.removeprefix(SELECTED_COUNT): n for key, n in counts.items() if key.startswith(SELECTED_COUNT)}
    rows = [
        tag(
            "tr",
            named(name),
            tag("td", bar_track(n / num_pairs, kind="label_free"), class_="plot"),
            number(percent(n / num_pairs)),
            data_rule=name,
        )
        for name, n in sorted(selected.items(), key=lambda item: -item[1])
    ]
    labels = [f"{percent(counts[key] / num_pairs)} {words}" for key, words in _LABELS.items() if key in counts]
    takeaway = (
        f"{plural(found.num_rules, 'rule')} for each of {plural(counts['pairs'], 'pair')}, selected by {found.by}"
    )
    left_out = [(count(counts[key]), words) for key, words in _LEFT_OUT.items() if counts.get(key)]
    head = ["rule", column("share of pairs that it is selected for", class_="plot"), column("", class_="number")]
    return section(
        "selection",
        "The rules that each pair deserves",
        f"{takeaway}: by their sum {', '.join(labels)}." if labels else f"{takeaway}.",
        scrolling("Selected rules", table(head, rows, class_="dots")),
        definitions(left_out) if left_out else None,
    )
