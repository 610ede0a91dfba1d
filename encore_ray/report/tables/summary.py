"""The result in a few lines of Markdown: what MLflow shows at the top of the run."""

from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.report.drawing.numbers import weight_writer


def summary(metrics: Metrics, weights: WeightsFile) -> str:
    """The accuracy on all pairs, the rules, the heaviest first, and the warnings of their weights."""
    overall = metrics.overall
    lines = [f"**{weights.scheme}** on {overall.num_pairs:,} pairs"]
    if overall.accuracy is not None:
        interval = f"{overall.accuracy_low:.1%} to {overall.accuracy_high:.1%}"
        lines[0] += f": accuracy **{overall.accuracy:.1%}** ({interval})"
    lines += ["", "| rule | weight | entropy | accuracy |", "|---|---|---|---|"]
    write_weight = weight_writer(rule.weight for rule in weights.rules)
    for rule in weights.by_weight:
        accuracy = "" if rule.accuracy is None else f"{rule.accuracy:.1%}"
        lines.append(f"| {rule.name} | {write_weight(rule.weight)} | {rule.entropy:.3f} | {accuracy} |")
    return "\n".join([*lines, "", *(f"- {warning}" for warning in weights.warnings)])
