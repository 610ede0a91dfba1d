"""What a person reads in the terminal when a command has ended."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import (
    Comparison,
    FitReport,
    LabelErrors,
    Metrics,
    RefineReport,
    RuleRefineReport,
    TrainReport,
    WeightsFile,
)
from encore_ray.composition.consensus.verdict import ASK_WITHOUT_LABELS
from encore_ray.corpora.notes import NOTES, PAIRS
from encore_ray.engine.display import duration
from encore_ray.folder.status import PassStatus
from encore_ray.report.drawing.numbers import percent
from encore_ray.report.tables.comparison import comparison_table
from encore_ray.report.tables.heads import heads_table
from encore_ray.report.tables.refinement import calibration_table, refined_rules_table, refinement_table
from encore_ray.report.tables.training import training_table
from encore_ray.report.tables.weights import (
    decided_by_veto,
    entropy_against_accuracy,
    flag_legend,
    metrics_table,
    weights_table,
)
from encore_ray.schema import (
    CHOSEN_VETO_COUNT,
    COMPARISON_FILE,
    METRICS_FILE,
    QUARANTINE_DIR,
    REASON_COUNT,
    REJECTED_VETO_COUNT,
    REPORT_FILE,
    REWARDS_DIR,
    SELECTED_COUNT,
    WEIGHTS_FILE,
)
from encore_ray.tracking import SERVED_HERE, how_to_open, is_server
from encore_ray.visible import MOST_ROWS, more, short, visible

if TYPE_CHECKING:
    from encore_ray.job import JobResult

MOST_SHOWN = 10  # likely label errors
_MOST_OF_A_WARNING = 1000  # characters


def show_job(result: "JobResult", *, console: Console) -> None:
    """The account of all rows, weights, agreement with the labels, warnings, and where everything is."""
    prepared, scored = result.prepared, result.scored
    console.print()
    if not result.done:
        _show_places(result, console=console)
        return
    console.print(
        f"{prepared['rows']:,} rows in = {prepared['kept']:,} kept + {prepared['quarantined']:,} quarantined; "
        f"{scored['rows']:,} pairs = {scored['scored']:,} scored + {scored['quarantined']:,} quarantined.",
        soft_wrap=True,
        highlight=False,
    )
    notes = {
        "truncated": (scored, "were longer than the model takes and lost their beginning"),
        **{key: (prepared, words) for key, words in (PAIRS | NOTES).items()},
    }
    for key, (counts, words) in notes.items():
        if counts.get(key):
            console.print(f"{counts[key]:,} {words}.", highlight=False)
    show_left_out(result.left_out, console=console)
    show_reasons({**prepared, **{k: v for k, v in scored.items() if k.startswith(REASON_COUNT)}}, console=console)
    show_weights(WeightsFile.of_weights(result.weights), console=console, compared=result.comparison is not None)
    show_metrics(result.metrics, console=console)
    if result.comparison is not None:
        show_comparison(result.comparison, console=console, told=result.weights.warnings)
    _show_places(result, console=console)


def _show_places(result: "JobResult", *, console: Console) -> None:
    """Where the results of a job are."""
    places = {
        "rewards": result.run.path(REWARDS_DIR),
        "weights": result.run.path(WEIGHTS_FILE),
        "metrics": result.run.path(METRICS_FILE),
        "report": result.run.path(REPORT_FILE),
    }
    if result.comparison is not None:
        places["comparison"] = result.run.path(COMPARISON_FILE)
    if result.prepared["quarantined"] or result.scored["quarantined"]:
        places["quarantine"] = result.run.path(QUARANTINE_DIR)
    if result.tracking_uri:
        places["MLflow"] = how_to_open(result.tracking_uri)
        if not is_server(result.tracking_uri):
            places["      then"] = SERVED_HERE
    console.print()
    for name, place in places.items():  # not a table: a wrapped path cannot be pasted
        console.print(f"{name:<10}  {place}", soft_wrap=True, highlight=False, markup=False)


def show_refinement(report: RefineReport, *, console: Console) -> None:
    """What the refinement learnt from, what it buys beside its controls, and how far its probabilities hold."""
    pairs, width = report.pairs, report.density_width
    agreeing, left = pairs.agreeing, pairs.conflicting
    said = f"{pairs.trainable:,} pairs = {agreeing:,} whose base rewards agree with the label + {left:,} left out"
    console.print(f"\n{said}", highlight=False, soft_wrap=True)
    console.print()
    console.print(refinement_table(report.controls))
    console.print()
    console.print(calibration_table(report.calibration))
    console.print(
        f"\nDensities are {width.mean:.2f} standard deviations wide; training added noise of "
        f"{width.beta_sigma:.2f}, so that their width says little about the labels."
    )
    console.print()
    console.print(Text(report.verdict))


def show_refined_rules(report: RuleRefineReport, *, console: Console) -> None:
    """What refining each rule's scores buys beside its controls."""
    console.print()
    console.print(refined_rules_table(report.rules))
    console.print()
    console.print(Text(report.verdict))


def show_label_errors(errors: LabelErrors, *, console: Console) -> None:
    """How many labels are likely wrong, and the least probable of them."""
    console.print(f"\n{errors.num_pairs:,} pairs have a label that is less than {percent(errors.below)} probable")
    if not errors.pairs:
        return
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("the least probable", overflow="fold")
    table.add_column("probability", justify="right")
    for each in errors.pairs[:MOST_SHOWN]:
        table.add_row(Text(short(each.pair_id)), percent(each.label_probability, digits=2))
    console.print(table)


def show_weights(weights: WeightsFile, *, console: Console, compared: bool = False) -> None:
    """What is known without labels, weights, flags, whether entropy is what ENCORE takes it for, and the warnings.

    Args:
        compared: a comparison of the same scores is shown as well, which tells more.
    """
    console.print()
    if weights.label_free_verdict or not compared:
        console.print(Text(weights.label_free_verdict or ASK_WITHOUT_LABELS))
        console.print()
    console.print(weights_table(weights))
    for meaning in flag_legend(weights):
        console.print(Padding(Text(meaning, style="dim"), (0, 0, 0, 2)))
    console.print()
    if weights.num_pairs:
        console.print(Text(entropy_against_accuracy(weights.entropy_accuracy)))
    _show_warnings(weights.warnings, WEIGHTS_FILE, console=console)


def _show_warnings(warnings: Sequence[str], where: str, *, console: Console) -> None:
    shown = [short(warning, _MOST_OF_A_WARNING) for warning in warnings[:MOST_ROWS]]
    if len(warnings) > MOST_ROWS:
        shown.append(more(len(warnings) - MOST_ROWS, "warnings", where))
    for warning in shown:
        console.print(Text.assemble(("! ", "yellow"), warning))


def show_metrics(metrics: Metrics, *, console: Console) -> None:
    console.print()
    console.print(metrics_table(metrics))
    if metrics.decided_by_veto:
        console.print(Text(f"\n{decided_by_veto(metrics.decided_by_veto)}"))


def show_comparison(comparison: Comparison, *, console: Console, told: Collection[str] = ()) -> None:
    """Every scheme beside uniform weights, the verdict, and the warnings that were not `told` with the weights."""
    console.print()
    if comparison.consensus:
        console.print(Text(comparison.consensus.verdict))
        console.print()
    console.print(comparison_table(comparison))
    console.print()
    if comparison.decision:
        console.print(Text(comparison.decision.title, style="bold"))
    reasons = Table.grid(padding=(0, 1))
    for reason in comparison.reasons:
        reasons.add_row("-", Text(reason))
    console.print(reasons)
    known = set(told)
    untold = [warning for warning in comparison.warnings if warning not in known]
    _show_warnings(untold, COMPARISON_FILE, console=console)


def show_heads(report: FitReport, *, console: Console) -> None:
    """How well each fitted head does on responses that it was not fitted to."""
    console.print()
    console.print(heads_table(report))
    mean = report.mean_auc
    if mean.value is not None:
        console.print(
            f"Mean AUC {mean.value:.3f} over the {mean.num_rules} rules with {mean.min_yes} or more yes "
            "labels, each response predicted by heads that have not seen its prompt.",
            soft_wrap=True,
            highlight=False,
        )
    if report.logistic and not report.logistic.is_exact:
        console.print(Text.assemble(("! ", "yellow"), "Some logistic fits ended before their minimum."))


def show_training(report: TrainReport, *, console: Console) -> None:
    """What was trained on, and how the best evaluation did, rule by rule."""
    rows, best = report.rows, report.best
    ties = sum(rows.ties.values())
    console.print(
        f"\n{rows.rows:,} rows = {rows.trained:,} trained on + {rows.heldout:,} held out + "
        f"{rows.left_out:,} with nothing to learn{f'; {ties:,} ties left out' if ties else ''}",
        highlight=False,
        soft_wrap=True,
    )
    console.print()
    console.print(training_table(report))
    ended = "" if report.steps == report.num_steps else f", which ended after {report.steps:,}"
    console.print(f"\nThe model is that of step {best.step:,} of {report.num_steps:,}{ended}.", highlight=False)


def show_counts(counts: Mapping[str, int], *, console: Console) -> None:
    """Counts of one pass on one line, the account of its rows first, the reasons of its quarantine below."""
    prefixes = (REASON_COUNT, SELECTED_COUNT, CHOSEN_VETO_COUNT, REJECTED_VETO_COUNT)
    parts = [name for name in ("kept", "scored", "quarantined") if name in counts]
    account = f"{counts['rows']:,} rows" if "rows" in counts else ""
    if "quarantined" in counts:
        account += f" = {' + '.join(f'{counts[name]:,} {name}' for name in parts)}"
    told = {"rows", *parts}
    first = [name for name in ("pairs", "singles") if name in counts]
    names = [*first, *(name for name in counts if name not in first)]
    others = [
        f"{counts[name]:,} {name.replace('_', ' ')}"
        for name in names
        if counts[name] and name not in told and not name.startswith(prefixes)
    ]
    console.print("; ".join(filter(None, [account, ", ".join(others)])), highlight=False, soft_wrap=True)
    show_reasons(counts, console=console)
    broken = {key.removeprefix(CHOSEN_VETO_COUNT): n for key, n in counts.items() if key.startswith(CHOSEN_VETO_COUNT)}
    for rule, num_chosen in broken.items():
        num_rejected = counts[f"{REJECTED_VETO_COUNT}{rule}"]
        console.print(
            f"  {rule}: {num_chosen:,} chosen and {num_rejected:,} rejected responses break it",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def show_selection(counts: Mapping[str, int], *, console: Console) -> None:
    """Counts of a selection, and how often it takes each rule, the most frequent first."""
    show_counts(counts, console=console)
    selected = {key.removeprefix(SELECTED_COUNT): n for key, n in counts.items() if key.startswith(SELECTED_COUNT)}
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("rule", overflow="fold")
    table.add_column("selected for", justify="right")
    ordered = sorted(selected.items(), key=lambda item: -item[1])
    for rule, num_pairs in ordered[:MOST_ROWS]:
        table.add_row(rule, f"{num_pairs / max(counts['pairs'], 1):.1%} of pairs")
    if len(ordered) > MOST_ROWS:
        table.caption, table.caption_justify = more(len(ordered) - MOST_ROWS, "rules", "the report"), "left"
    console.print(table)


def show_left_out(problems: Sequence[str], *, console: Console) -> None:
    """Files that were left out, each with the reason."""
    for problem in problems[:MOST_ROWS]:
        console.print(f"! Left out: {visible(problem)}", highlight=False, soft_wrap=True, markup=False)
    if len(problems) > MOST_ROWS:
        console.print(f"! {len(problems) - MOST_ROWS:,} more files are left out.", highlight=False)


def show_reasons(counts: Mapping[str, int], *, console: Console) -> None:
    reasons = {key.removeprefix(REASON_COUNT): n for key, n in counts.items() if key.startswith(REASON_COUNT)}
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        console.print(f"  {count:>9,}  {reason}", highlight=False)


def show_driver(driver: str | None, *, console: Console) -> None:
    """Who works on a run, see `driver_of`."""
    said = f"At work: {driver}." if driver else "No command works on it now."
    console.print(said, highlight=False, markup=False, soft_wrap=True)


def show_status(statuses: Sequence[PassStatus], *, console: Console) -> None:
    """The six passes of a run: how far each is, and for how long nothing has been committed; fits 80 columns."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("pass", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("units", "rows", "rows/s", "left", "idle", "bad"):
        table.add_column(name, justify="right", overflow="fold")
    for status in statuses:
        reads = status.total_units or status.done_units
        idle = status.idle_seconds if status.state == "unfinished" else None
        table.add_row(
            status.name,
            status.state,
            f"{status.done_units:,}/{status.total_units:,}" if reads else "",
            f"{status.done_rows:,}/{status.total_rows:,}" if reads else "",
            f"{status.rows_per_second:,.0f}" if status.rows_per_second else "",
            duration(status.seconds_left) if status.seconds_left is not None else "",
            duration(idle) if idle is not None else "",
            f"{status.quarantined:,}" if status.quarantined else "",
        )
    console.print(table)
