"""Refined rewards: what they buy beside their controls, under label noise too, and how far probabilities hold.

And the labels that they find least probable.
"""

from encore_ray.artifacts import LabelErrors, RefineReport, RuleRefineReport
from encore_ray.artifacts.refine import Calibration, ControlFigures
from encore_ray.report.charts.lines import reliability_chart, robustness_chart
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import percent, percent_interval, plain
from encore_ray.report.sections.parts import (
    breakable,
    column,
    details,
    difference_cell,
    named,
    number,
    scrolling,
    section,
    table,
)

MOST_SHOWN = 10  # likely label errors


def refinement(contents: ReportContents) -> Markup | None:
    """The refined composed reward, and the refined scores of each rule, as far as energies are fitted."""
    reward, rules, errors = contents.refined, contents.refined_rules, contents.label_errors
    if not reward and not rules and not errors:
        return None
    return section(
        "refinement",
        "Refined rewards",
        reward.verdict if reward else rules.verdict if rules else None,
        *(_of_reward(reward) if reward else ()),
        *(_of_labels(errors) if errors else ()),
        *(_of_rules(rules, told=reward is not None) if rules else ()),
    )


def _of_reward(report: RefineReport) -> list[Markup]:
    calibration, pairs = report.calibration, report.pairs
    has_noise = any(control.noise for control in report.controls)
    note = (
        f"Learnt from {pairs.agreeing:,} pairs whose base rewards agree with the label, calibrated on "
        f"{pairs.calibration:,} held-out pairs, evaluated on {pairs.test:,} others; lines are 95% intervals. What a "
        f"probability is read from was chosen on the pairs that calibrate: {calibration.sources[0].source}"
        + ("." if calibration.used else ", which is no better than a coin on the others: none is given.")
    )
    return [
        tag(
            "div",
            _figure("Accuracy under label noise" if has_noise else "Accuracy", robustness_chart(report.controls)),
            _figure("How far probabilities hold", reliability_chart(calibration)),
            class_="columns",
        ),
        tag("p", note, class_="note"),
        details(
            "The numbers",
            tag(
                "div",
                scrolling("Rewards on held-out pairs", _controls(report.controls)),
                scrolling("Probability of a label", _sources(calibration)),
                class_="columns",
            ),
        ),
    ]


def _of_labels(errors: LabelErrors) -> list[Markup]:
    note = f"The labels of {errors.num_pairs:,} pairs are less than {percent(errors.below)} probable."
    if not errors.pairs:
        return [tag("p", note, class_="note")]
    rows = [
        tag("tr", named(each.pair_id), number(percent(each.label_probability, digits=2)))
        for each in errors.pairs[:MOST_SHOWN]
    ]
    shown = table(["pair", column("probability", class_="number")], rows)
    return [
        tag("p", note, class_="note"),
        details("The least probable labels", scrolling("The least probable labels", shown)),
    ]


def _figure(title: str, chart: Markup) -> Markup:
    return tag("figure", tag("h3", title), chart)


def _controls(controls: list[ControlFigures]) -> Markup:
    rows = [
        tag(
            "tr",
            named(control.name),
            number(percent(control.noise, digits=0)),
            number(percent(control.accuracy), note=percent_interval(control.accuracy_low, control.accuracy_high)),
            difference_cell(None if control.name == "base" else control.difference_to_base),
        )
        for control in controls
    ]
    head = ["reward", *(column(name, class_="number") for name in ("labels turned", "accuracy", "− base, points"))]
    return table(head, rows)


def _sources(calibration: Calibration) -> Markup:
    rows = [
        tag(
            "tr",
            named(source.source, "used" if source.source == calibration.used else None),
            number(percent(source.ece)),
            number(plain(source.log_loss, digits=4)),
            number(plain(source.brier, digits=4)),
        )
        for source in calibration.sources
    ]
    head = ["read from", *(column(name, class_="number") for name in ("calibration error", "log loss", "Brier"))]
    return table(head, rows)


def _of_rules(report: RuleRefineReport, *, told: bool) -> list[Markup]:
    rows = []
    for rule in report.rules:
        base, refit, refined = rule.controls
        cells = [number(percent(control.accuracy)) for control in (base, refit, refined)]
        cells.append(difference_cell(refined.difference_to_base))
        rows.append(tag("tr", tag("th", breakable(rule.name), scope="row"), cells, data_rule=rule.name))
    names = ("base", "linear refit", "refined", "− base, points")
    head = ["rule", *(column(name, class_="number") for name in names)]
    drawn = scrolling("Refined scores of each rule", table(head, rows), tall=len(rows) > 20)
    verdict = tag("p", report.verdict, class_="takeaway") if told else None
    return [part for part in (tag("h3", "Each rule's scores"), verdict, drawn) if part is not None]
