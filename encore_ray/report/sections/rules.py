"""The rules: entropy against accuracy, and the table of weights with the flags in words."""

from collections.abc import Sequence

from encore_ray.artifacts import Comparison, WeightsFile
from encore_ray.artifacts.figures import Correlations
from encore_ray.artifacts.weights import ByScores
from encore_ray.composition.compare.verdict import UNCLEAR
from encore_ray.report.charts.scatter import scatter
from encore_ray.report.charts.tracks import bar_track
from encore_ray.report.data.contents import ReportContents, ReportedRule, reported_rules
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import compact, count, p_value, percent, percent_interval, plain, plural, signed
from encore_ray.report.sections.parts import (
    chip,
    column,
    definitions,
    legend,
    named,
    number,
    scrolling,
    section,
    table,
)
from encore_ray.report.tables.weights import FLAG_MEANINGS, entropy_against_accuracy

_MANY = 20  # rules whose table scrolls by itself


def entropy_accuracy(contents: ReportContents) -> Markup | None:
    """Whether entropy tells which rules agree with the labels, which ENCORE builds on."""
    rules = [rule for rule in reported_rules(contents) if rule.accuracy is not None]
    if not rules:
        return None
    found = _correlation(contents)
    has_line = found is not None and found.world != UNCLEAR
    return section(
        "entropy",
        "Does entropy tell which rules are right?",
        entropy_against_accuracy(found),
        legend(
            [
                ("rule disc", "rule; the larger, the more weight"),
                *([("flagged diamond", "flagged rule")] if any(rule.flags for rule in rules) else []),
                ("chance line", "coin toss"),
                *([("trend line", "straight line of least squares")] if has_line else []),
            ]
        ),
        tag("figure", scatter(rules, unit=unit_of(contents), line=has_line)),
        _correlations_in_words(contents.comparison),
    )


def weights_table(contents: ReportContents) -> Markup | None:
    """All rules, the heaviest first, with their flags in words."""
    rules = sorted(reported_rules(contents), key=lambda rule: -abs(rule.weight))
    if not rules:
        return None
    top = max(abs(rule.weight) for rule in rules)
    has_labels = any(rule.bradley_terry_weight is not None for rule in rules)
    rated = contents.weights.ratings if contents.weights else None
    head = [
        "rule",
        column("weight", class_="plot"),
        column(class_="number"),
        column(
            "moves the margin",
            class_="number",
            title="share of the margin: weight times spread of the score differences",
        ),
        column(f"entropy{' of the ratings' if rated else ''}, {unit_of(contents)}", class_="number"),
        *([column("entropy of the scores", class_="number"), column("weight by it", class_="number")] if rated else []),
        column("agrees (accuracy)", class_="number"),
        column("wins", class_="number"),
        column("ties", class_="number"),
        column("losses", class_="number"),
        column("told apart (active pairs)", class_="number", title="pairs whose two scores differ by a step or more"),
        column("same score (fullest cell)", class_="number", title="share of responses with the most frequent score"),
        *([column("Bradley–Terry weight", class_="number")] if has_labels else []),
    ]
    rows = [_rule_row(rule, top, has_labels=has_labels, by_scores=rated.by_scores if rated else None) for rule in rules]
    return section(
        "rules",
        "The rules and their weights",
        _weights_in_words(rules, contents.weights),
        scrolling("Rules and their weights", table(head, rows, class_="rules"), tall=len(rules) > _MANY),
        _flag_legend(rules),
    )


def unit_of(contents: ReportContents) -> str:
    """Of the entropies."""
    source = contents.weights or contents.comparison
    return source.unit if source else "nats"


def _correlation(contents: ReportContents) -> Correlations | None:
    source = contents.comparison or contents.weights
    return source.entropy_accuracy if source else None


def _correlations_in_words(comparison: Comparison | None) -> Markup | None:
    """The correlations, the first without the noise of the pairs too, and the paper's own check."""
    if not comparison:
        return None
    entries: list[tuple[str, Child]] = []
    found, theory = comparison.entropy_accuracy, comparison.theory_check
    for name, r, p in (
        ("entropy goes with accuracy by (Pearson's r)", found.pearson, found.pearson_p),
        ("the same by ranks (Spearman's r)", found.spearman, found.spearman_p),
    ):
        if r is not None:
            entries.append((name, f"{signed(r)} ({p_value(p)}, over rules)"))
    if found.pearson_low is not None:
        value = "not known" if found.pearson_noise_free is None else signed(found.pearson_noise_free)
        interval = f"95% {signed(found.pearson_low)} to {signed(found.pearson_high)}, over prompts"
        entries.append(("Pearson's r without the noise of the pairs", f"{value} ({interval})"))
    if theory and theory.pearson is not None:
        entries.append(
            (
                "entropy goes with |Bradley–Terry weight| × spread by (Pearson's r)",
                f"{signed(theory.pearson)} ({p_value(theory.pearson_p)}); the paper expects it far under 0",
            )
        )
    return definitions(entries) if entries else None


def _rule_row(rule: ReportedRule, top: float, *, has_labels: bool, by_scores: ByScores | None) -> Markup:
    accuracy_note = percent_interval(rule.accuracy_low, rule.accuracy_high) if rule.accuracy is not None else None
    kind = "flagged" if rule.flags else "rule"
    direction = None if rule.higher_is == "better" else "a higher score is worse"
    points = None if rule.points is None else f"{rule.points:g} points"
    flags = [chip(flag.replace("_", " "), kind="flag", title=_meaning(flag)) for flag in rule.flags]
    return tag(
        "tr",
        named(rule.name, rule.text, direction, points, flags),
        tag("td", bar_track(abs(rule.weight) / top if top else 0.0, kind=kind), class_="plot"),
        number(rule.weight_text),
        number(percent(rule.contribution_share)),
        number(plain(rule.entropy), note=f"± {plain(rule.entropy_error)}"),
        number(plain(by_scores.entropies[rule.name])) if by_scores else None,
        number(percent(by_scores.weights[rule.name])) if by_scores else None,
        number(percent(rule.accuracy), note=accuracy_note),
        *(number(count(value)) for value in (rule.wins, rule.ties, rule.losses)),
        number(percent(rule.active_pair_share)),
        number(percent(rule.mode_share)),
        number(compact(rule.bradley_terry_weight)) if has_labels else None,
        data_rule=rule.name,
        data_facts=f"weight {rule.weight_text}, entropy {plain(rule.entropy)}, accuracy {percent(rule.accuracy)}",
    )


def _weights_in_words(rules: Sequence[ReportedRule], weights: WeightsFile | None) -> str:
    heaviest = rules[: min(3, len(rules))]
    names = ", ".join(rule.name for rule in heaviest)
    text = f"{_share(heaviest, rules)} of the weight is on {names}"
    if weights:
        text += f"; the weights act like {plain(weights.effective_num_rules, digits=1)} of {len(rules)} rules"
    flagged = [rule for rule in rules if rule.flags]
    if flagged:
        carry = "carries" if len(flagged) == 1 else "carry"
        text += f". {plural(len(flagged), 'flagged rule')} {carry} {_share(flagged, rules)}"
    return text + "."


def _share(some: Sequence[ReportedRule], rules: Sequence[ReportedRule]) -> str:
    """Share of some rules in the size of all weights, whatever their signs."""
    total = sum(abs(rule.weight) for rule in rules)
    return percent(sum(abs(rule.weight) for rule in some) / total if total else 0.0, digits=0)


def _flag_legend(rules: Sequence[ReportedRule]) -> Markup | None:
    present = {flag for rule in rules for flag in rule.flags}
    flags = [flag for flag in FLAG_MEANINGS if flag in present] + sorted(present - FLAG_MEANINGS.keys())
    return definitions([(flag.replace("_", " "), _meaning(flag)) for flag in flags]) if flags else None


def _meaning(flag: str) -> str:
    return FLAG_MEANINGS.get(flag, "a flag of another version")
