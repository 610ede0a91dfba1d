"""Every weighting side by side, and how far the answer moves with temperature and bins."""

from collections.abc import Iterable

from encore_ray.artifacts import Comparison
from encore_ray.artifacts.comparison import Sweep
from encore_ray.report.charts.heatmaps import sweep_table
from encore_ray.report.charts.tracks import axis_track
from encore_ray.report.data.contents import Contender, ReportContents, contenders, has_heldout, label_of
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import (
    compact,
    percent,
    percent_interval,
    percent_tick,
    plain,
    plural,
    points,
    value_text,
)
from encore_ray.report.drawing.scales import AxisScale, fit_scale
from encore_ray.report.sections.parts import (
    column,
    difference_cell,
    legend,
    named,
    number,
    scrolling,
    section,
    stats_track,
    table,
)
from encore_ray.report.sections.temperature import weights_by_temperature

_KINDS = [
    ("encore disc", "ENCORE"),
    ("uniform disc", "uniform"),
    ("label_free disc", "without labels"),
    ("learned diamond", "uses the labels of the other pairs"),
    ("elsewhere disc", "rewards made elsewhere"),
    ("baseline square", "trivial baseline"),
    ("reference line", "uniform"),
    ("chance line", "coin toss"),
]


def schemes(contents: ReportContents) -> Markup | None:
    """A dot plot of accuracy on held-out pairs that is also the table of all schemes."""
    comparison = contents.comparison
    found = contenders(comparison) if comparison else []
    if not comparison or not found:
        return None
    pairs = "held-out pairs" if has_heldout(comparison) else "pairs"
    values = [end for each in found for end in (each.stats.accuracy_low, each.stats.accuracy_high)]
    scale = fit_scale(values)
    references = [(each.accuracy, "reference") for each in found if each.kind == "uniform"]
    rows = [_row(each, scale, [(0.5, "chance"), *references]) for each in found]
    head = [
        "scheme",
        column(f"on {pairs}", axis_track(scale, write=percent_tick), class_="plot"),
        column("agrees (accuracy)", class_="number"),
        column("more than uniform, points", class_="number"),
        column("ties lost (strict)", class_="number", title="accuracy where a tie is a loss"),
        column("all pairs", class_="number"),
        column("acts like rules (effective number)", class_="number"),
        column("spread of rewards (sd)", class_="number"),
    ]
    return section(
        "schemes",
        f"Every weighting on the same {pairs}",
        _ranking(found),
        legend([entry for entry in _KINDS if entry[0].split()[0] in _present(found)]),
        scrolling("Weight schemes", table(head, rows, class_="dots")),
        tag("p", _note(comparison), class_="note"),
    )


def sweep(contents: ReportContents) -> Markup | None:
    """ENCORE's accuracy over temperature and number of bins."""
    comparison = contents.comparison
    if not comparison or not comparison.sweep or not comparison.sweep.cells:
        return None
    drawn = sweep_table(
        comparison.sweep,
        default=(comparison.temperature, None),
        default_bins=_default_bins(comparison),
    )
    note = "Framed: this run's setting. Δw: the largest change of a rule's weight against it."
    return section(
        "sweep",
        "How much the temperature decides, and the bins",
        _spread(comparison, comparison.sweep),
        scrolling("ENCORE's accuracy over temperature and bins", drawn),
        tag("p", note, class_="note"),
        weights_by_temperature(comparison),
    )


def _row(each: Contender, scale: AxisScale, references: list[tuple[float, str]]) -> Markup:
    stats, line = each.stats, each.line
    label = label_of(each.name)
    params = [
        f"{key.replace('_', ' ')} {value_text(value)}"
        for key, value in (line.params or {}).items()
        if value is not None and value is not False
    ]
    is_option = each.kind not in ("baseline", "elsewhere") and each.name != label.lower()
    option = [each.name] if is_option else []
    everywhere = line.all.accuracy if line.all else None
    return tag(
        "tr",
        named(label, ", ".join([*option, *params])),
        tag("td", stats_track(stats, scale=scale, kind=each.kind, references=references), class_="plot"),
        number(percent(stats.accuracy), note=percent_interval(stats.accuracy_low, stats.accuracy_high)),
        difference_cell(None if each.kind == "uniform" else each.difference),
        number(percent(stats.accuracy_strict)),
        number(percent(everywhere)),
        number(plain(line.effective_num_rules, digits=1)),
        number(compact(line.reward_sd)),
        class_=each.kind,
    )


def _ranking(found: list[Contender]) -> Child:
    best = found[0]
    parts = [f"{label_of(best.name)} is best with {percent(best.accuracy)}"]
    encore = next((index for index, each in enumerate(found) if each.kind == "encore"), None)
    if encore:
        parts.append(f"ENCORE is number {encore + 1} of {len(found)} with {percent(found[encore].accuracy)}")
    free = next((each for each in found if each.kind in ("encore", "uniform", "label_free")), None)
    if free and best.kind == "learned" and free.kind != "encore":
        parts.append(f"{label_of(free.name)} is the best that needs no labels")
    beaten = [each for each in found if each.kind == "baseline" and encore is not None and found.index(each) < encore]
    text = "; ".join(parts) + "."
    return [text, *(tag("strong", f" {label_of(each.name)} is ahead of ENCORE.") for each in beaten)]


def _present(found: list[Contender]) -> set[str]:
    lines = {"reference", "chance"}
    return {each.kind for each in found} | lines


def _note(comparison: Comparison) -> str:
    heldout = comparison.heldout
    parts = [
        f"{plural(heldout.num_pairs, 'held-out pair')} of {plural(heldout.num_keys, 'prompt')}: a fifth of "
        "all, chosen by a hash; what uses labels has learned from the other pairs only"
        if has_heldout(comparison)
        else f"all {plural(comparison.num_pairs, 'pair')}, none of which is held out: too few prompts to judge what "
        "learns from labels",
        "a tie is half a win",
        "lines are 95% intervals over prompts; the best of so many looks a little better than it is",
    ]
    if comparison.beside:
        parts.append(
            "rewards made elsewhere are evaluated on the pairs that they know, whatever they have learned from"
        )
    return "; ".join(parts) + "."


def _spread(comparison: Comparison, sweep: Sweep) -> str:
    by_temperature: dict[float, list[float]] = {}
    by_bins: dict[int | None, list[float]] = {}
    for cell in sweep.cells:
        by_temperature.setdefault(cell.temperature, []).append(cell.accuracy)
        by_bins.setdefault(cell.num_bins, []).append(cell.accuracy)
    best = max(sweep.cells, key=lambda cell: cell.accuracy)
    bins = _default_bins(comparison) if best.num_bins is None else f"{best.num_bins} bins"
    return (
        f"The temperature moves the accuracy by up to {_range(by_bins.values())} points, "
        f"the bins by up to {_range(by_temperature.values())}. Best of {len(sweep.cells)} on these "
        f"pairs is τ = {compact(best.temperature)} with {bins} ({percent(best.accuracy)}): chosen on the pairs "
        "it is judged by, so flattered."
    )


def _range(groups: Iterable[list[float]]) -> str:
    return points(max(max(group) - min(group) for group in groups)).lstrip("+")


def _default_bins(comparison: Comparison) -> str:
    """What to call the cells that the run itself counted in."""
    histograms = [rule.histogram for rule in comparison.rules if rule.histogram]
    kinds = {"levels" if found.kind == "levels" else f"{len(found.cells)} bins" for found in histograms}
    return kinds.pop() if len(kinds) == 1 else "as set"
