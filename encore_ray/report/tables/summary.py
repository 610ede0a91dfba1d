"""The result in a few lines of Markdown: what MLflow shows at the top of the run."""

import re

from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.artifacts.comparison import Decision
from encore_ray.report.drawing.numbers import weight_writer
from encore_ray.report.tables.weights import decided_by_veto
from encore_ray.schema import WEIGHTS_FILE
from encore_ray.visible import MOST_ROWS, more, short

_MARKS = re.compile(r"[\\`*\[\]<>|]")
_MOST_OF_A_WARNING = 1000  # characters


def summary(metrics: Metrics, weights: WeightsFile, decision: Decision | None = None) -> str:
    """The decision, the accuracy on all pairs, the rules, the heaviest first, and the warnings of their weights."""
    overall = metrics.overall
    lines = [f"**{weights.scheme}** on {overall.num_pairs:,} pairs"]
    if overall.accuracy is not None:
        interval = f"{overall.accuracy_low:.1%} to {overall.accuracy_high:.1%}"
        lines[-1] += f": accuracy **{overall.accuracy:.1%}** ({interval})"
    if decision is not None:
        lines = [f"**{_plain(decision.title)}**", "", *lines]
    if metrics.decided_by_veto:
        lines += ["", _plain(decided_by_veto(metrics.decided_by_veto))]
    lines += ["", "| rule | weight | entropy | accuracy |", "|---|---|---|---|"]
    write_weight = weight_writer(rule.weight for rule in weights.rules)
    for rule in weights.by_weight[:MOST_ROWS]:
        accuracy = "" if rule.accuracy is None else f"{rule.accuracy:.1%}"
        lines.append(f"| {rule.name} | {write_weight(rule.weight)} | {rule.entropy:.3f} | {accuracy} |")
    if len(weights.rules) > MOST_ROWS:
        lines += ["", more(len(weights.rules) - MOST_ROWS, "rules of less weight", WEIGHTS_FILE)]
    warnings = [f"- {_plain(warning)}" for warning in weights.warnings[:MOST_ROWS]]
    if len(weights.warnings) > MOST_ROWS:
        warnings.append(f"- {more(len(weights.warnings) - MOST_ROWS, 'warnings', WEIGHTS_FILE)}")
    return "\n".join([*lines, "", *warnings])


def _plain(text: str) -> str:
    """A sentence with names of the data in it, of which nothing is Markdown or HTML."""
    return _MARKS.sub(r"\\\g<0>", short(text, _MOST_OF_A_WARNING))
