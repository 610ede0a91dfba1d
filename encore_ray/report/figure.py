"""One figure of a run: entropy against accuracy of its rules, and the accuracy of the composed reward."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.artifacts.figures import Stats
from encore_ray.artifacts.weights import WeighedRule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg

# Okabe and Ito's colours: told apart with any colour vision, and in grey.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8A8A", "#222222"
MAX_BARS = 40
MAX_LABELS = 30
_DASHED = (0, (4, 3))


def evaluation_figure(metrics: Metrics, weights: WeightsFile, *, kind: Literal["png", "svg"] = "png") -> bytes:
    """Draw entropy against accuracy of each rule, and the accuracy of the composed reward on each subset.

    Matplotlib is imported here, not with the module: it takes longer to load than most commands to run.

    Args:
        metrics: of the rewards that the weights composed.
        kind: png (160 dots an inch) or svg.

    Returns:
        The file's bytes, the same for the same input and libraries.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rules = [rule for rule in weights.by_weight if rule.accuracy is not None]
    bars = _bars(metrics)
    height = max(5.4, 1.9 + 0.27 * len(bars), 2.6 + 0.2 * len(rules))
    with rc_context({"svg.hashsalt": "encore-ray", "font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=(13.5, min(height, 14.0)), dpi=160, layout="constrained", facecolor="white")
        canvas = FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_bars(right, bars, metrics)
        _draw_rules(left, rules, weights)
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)
        figure.set_layout_engine("none")  # the labels are placed in the final layout
        _label_rules(left, canvas, rules)
        file = io.BytesIO()
        # Without a date or a version in it, equal figures are equal files.
        if kind == "svg":
            figure.savefig(file, format=kind, metadata={"Date": None, "Creator": None})
        else:  # savefig would draw twice, to lay out what is laid out
            canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def _draw_rules(axes: "Axes", rules: Sequence[WeighedRule], weights: WeightsFile) -> None:
    from matplotlib.ticker import PercentFormatter

    _prepare(axes, title="Each rule: entropy of its scores against its accuracy")
    axes.set_xlabel(f"entropy of the scores, {weights.unit}")
    axes.set_ylabel("accuracy on the labelled pairs")
    if not rules:
        _say(axes, "No pairs with two responses:\nno rule has an accuracy.")
        return
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=_DASHED, zorder=1)
    for rule, radius_pt in zip(rules, _radii_pt(rules), strict=True):
        color = ORANGE if rule.flags else BLUE
        x, y, interval = rule.entropy, rule.accuracy, weights.interval(rule)
        assert interval is not None and y is not None
        axes.plot([rule.entropy_low, rule.entropy_high], [y, y], color=color, linewidth=1, alpha=0.6, zorder=2)
        axes.plot([x, x], [interval.low, interval.high], color=color, linewidth=1, alpha=0.6, zorder=2)
        marker = "D" if rule.flags else "o"
        axes.scatter([x], [y], s=(2 * radius_pt) ** 2, color=color, marker=marker, edgecolors="white", zorder=3)
    axes.margins(x=0.08, y=0.1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.scatter([], [], s=70, color=BLUE, marker="o", label="rule (area: its weight)")
    axes.scatter([], [], s=70, color=ORANGE, marker="D", label="flagged rule")
    axes.plot([], [], color=GREY, linewidth=1, linestyle=_DASHED, label="coin toss")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=4.5, ncols=3, frameon=False, fontsize=8.5)
    correlation = weights.entropy_accuracy.pearson if weights.entropy_accuracy else None
    if correlation is not None:
        axes.set_title(f"Pearson r = {correlation:+.2f}", loc="right", fontsize=9, color=INK, pad=10)


def _label_rules(axes: "Axes", canvas: "FigureCanvasAgg", rules: Sequence[WeighedRule]) -> None:
    from encore_ray.report.drawing.labels import label_points

    points = [(rule.entropy, rule.accuracy or 0.0) for rule in rules]
    names = [rule.name for rule in rules[:MAX_LABELS]]
    # A diamond reaches further than a disc of the same size.
    reach_pt = [r * (1.4 if rule.flags else 1.0) for r, rule in zip(_radii_pt(rules), rules, strict=True)]
    label_points(axes, canvas, points=points, names=names, radii_pt=reach_pt, color=INK)


def _radii_pt(rules: Sequence[WeighedRule]) -> list[float]:
    """Radius of each rule's point in points: its area grows with the weight's size, and none is too small to see."""
    top = max((abs(rule.weight) for rule in rules), default=0.0)
    return [(6.0 + 60.0 * (abs(rule.weight) / top if top else 0.0)) ** 0.5 for rule in rules]


@dataclass(frozen=True)
class _Bar:
    """A row of the accuracies: a reward on some pairs, at least one."""

    label: str
    num_pairs: int
    accuracy: float
    low: float
    high: float
    color: str

    @classmethod
    def of(cls, label: str, stats: Stats, color: str) -> "_Bar":
        assert stats.accuracy is not None and stats.accuracy_low is not None and stats.accuracy_high is not None
        return cls(label, stats.num_pairs, stats.accuracy, stats.accuracy_low, stats.accuracy_high, color)


def _bars(metrics: Metrics) -> list[_Bar]:
    """The rows from the top: all pairs, the largest subsets, the length baselines."""
    subsets = [_Bar.of(name, stats, GREEN) for name, stats in metrics.largest_subsets[:MAX_BARS]]
    baselines = [
        _Bar.of(name.replace("_", " "), stats, GREY) for name, stats in metrics.baselines.items() if stats is not None
    ]
    return [
        *([_Bar.of("all pairs", metrics.overall, BLUE)] if metrics.overall.num_pairs else []),
        *sorted(subsets, key=lambda bar: -bar.accuracy),
        *baselines,
    ]


def _draw_bars(axes: "Axes", bars: Sequence[_Bar], metrics: Metrics) -> None:
    from matplotlib.ticker import PercentFormatter

    _prepare(axes, title="The composed reward: accuracy with 95% interval")
    if not bars:
        _say(axes, "No pairs with two responses:\nthere is no accuracy to show.")
        return
    axes.axvline(0.5, color=GREY, linewidth=1, linestyle=_DASHED, zorder=1)
    axes.axvline(metrics.overall.accuracy or 0.0, color=BLUE, linewidth=1, alpha=0.6, zorder=1)
    for row, bar in enumerate(bars):
        axes.plot([bar.low, bar.high], [row, row], color=bar.color, linewidth=1.6, zorder=2)
        marker = "s" if bar.color == GREY else "o"
        axes.scatter([bar.accuracy], [row], s=34, color=bar.color, marker=marker, zorder=3)
        axes.annotate(
            f"{bar.accuracy:.1%}  of {bar.num_pairs:,}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=INK,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(bars)), labels=[_short(bar.label) for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    low = min(0.5, *(bar.low for bar in bars))
    axes.set_xlim(max(0.0, low - 0.03), 1.0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(_bars_note(metrics))


def _bars_note(metrics: Metrics) -> str:
    note = "blue line: all pairs; dashed: coin toss; squares: the answer that is shorter, or longer, wins"
    hidden = len(metrics.subsets) - MAX_BARS
    return f"{note}\n{hidden} smaller subsets are not shown" if hidden > 0 else note


def _prepare(axes: "Axes", *, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, length=3)
    axes.grid(color="#E8E8E8", linewidth=0.7)
    axes.set_axisbelow(True)


def _say(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])


def _short(label: str, limit: int = 30) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"
