"""ENCORE's weights at each temperature that was counted, and its accuracy there: what the page's slider moves."""

from encore_ray.artifacts import Comparison
from encore_ray.artifacts.comparison import ComparedRule, SweepCell
from encore_ray.composition.weigh.flags import DROPPED_BY_MIN_ACTIVE
from encore_ray.composition.weigh.formulas import encore
from encore_ray.composition.weigh.points import points_of, times_points
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.numbers import compact, percent, plain
from encore_ray.report.sections.parts import column, named, number, scrolling, table

_MANY = 20


def weights_by_temperature(comparison: Comparison) -> Markup | None:
    """A row a rule that may have a weight, the least entropy first; None without accuracies in the run's own bins."""
    cells = [cell for cell in (comparison.sweep.cells if comparison.sweep else ()) if cell.num_bins is None]
    rules = sorted(
        (rule for rule in comparison.rules if DROPPED_BY_MIN_ACTIVE not in rule.flags), key=lambda rule: rule.entropy
    )
    if not cells or len(rules) < 2:
        return None
    cells.sort(key=lambda cell: cell.temperature)
    weight_CK = [_weights(rules, cell.temperature) for cell in cells]
    head = ["rule", column(f"entropy, {comparison.unit}", class_="number"), *(_head(cell) for cell in cells)]
    points_K = points_of(rules) or (1.0,) * len(rules)
    rows = [
        tag(
            "tr",
            named(rule.name),
            number(plain(rule.entropy)),
            [number(percent(weight_K[k])) for weight_K in weight_CK],
            data_rule=rule.name,
            data_entropy=repr(rule.entropy),
            data_points=repr(points_K[k]),
        )
        for k, rule in enumerate(rules)
    ]
    accuracies = [number(percent(cell.accuracy)) for cell in cells]
    accuracy = tag("tr", tag("th", "accuracy", scope="row"), number(""), accuracies, class_="total")
    drawn = table(
        head,
        [accuracy, *rows],
        class_="temperatures",
        data_temperature=repr(comparison.temperature),
    )
    return tag(
        "div",
        tag("h3", "ENCORE's weights at each temperature"),
        scrolling("Weights at each temperature", drawn, tall=len(rows) > _MANY),
    )


def _head(cell: SweepCell) -> Markup:
    return column(
        f"τ = {compact(cell.temperature)}",
        class_="number",
        data_temperature=repr(cell.temperature),
        data_accuracy=percent(cell.accuracy),
    )


def _weights(rules: list[ComparedRule], temperature: float) -> list[float]:
    weight_K = encore([rule.entropy for rule in rules], temperature=temperature)
    return times_points(weight_K, points_of(rules)).tolist()
