"""Results of commands in a sentence or two each: what was done, with the numbers that matter, and where it is."""

from collections.abc import Mapping, Sequence

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
from encore_ray.artifacts.figures import Stats
from encore_ray.console.words import be, plural
from encore_ray.engine.display import duration
from encore_ray.folder.status import PassStatus
from encore_ray.report.drawing.numbers import percent, percent_interval
from encore_ray.schema import COMPARISON_FILE, METRICS_FILE, REPORT_FILE
from encore_ray.storage import Folder
from encore_ray.visible import short


def tell_prepared(counts: Mapping[str, int], where: str) -> str:
    kept = counts["pairs"] + counts["singles"]
    found = [plural(counts["pairs"], "pair")] if counts["pairs"] or not counts["singles"] else []
    found += [plural(counts["singles"], "single response")] if counts["singles"] else []
    aside = f"{counts['quarantined']:,} in quarantine" if counts["quarantined"] else "none in quarantine"
    return f"{' and '.join(found)} from {plural(counts['rows'], 'row')} {be(kept)} in {where}; {aside}."


def tell_scored(done: str, counts: Mapping[str, int], num_rules: int, where: str) -> str:
    """What a pass that scores did.

    Args:
        done: what became of the pairs, as "scored".
    """
    aside = f"; {counts['quarantined']:,} in quarantine" if counts.get("quarantined") else ""
    scored = counts["scored"]
    return f"{plural(scored, 'pair')} {be(scored)} {done} under {plural(num_rules, 'rule')}{aside}: {where}."


def tell_weights(weights: WeightsFile, where: str) -> str:
    heaviest, lightest = weights.by_weight[0], weights.by_weight[-1]
    of = plural(weights.num_pairs, "pair") if weights.num_pairs else plural(weights.num_responses, "response")
    by = f"{plural(len(weights.rules), 'rule')} {be(len(weights.rules))} weighed by {weights.scheme} from {of}"
    if len(weights.rules) == 1:
        return f"{by}: {where}."
    if heaviest.weight == lightest.weight:
        return f"{by}: each counts as much ({percent(heaviest.weight)}). They are in {where}."
    most = f"{short(heaviest.name)} counts most ({percent(heaviest.weight)})"
    return f"{by}: {most}, {short(lightest.name)} least ({percent(lightest.weight)}). They are in {where}."


def tell_composed(counts: Mapping[str, int], where: str) -> str:
    singles = f" and {plural(counts['singles'], 'single response')}" if counts["singles"] else ""
    veto = f"; a veto decides {counts['decided_by_veto']:,}" if counts.get("decided_by_veto") else ""
    return f"Rewards of {plural(counts['pairs'], 'pair')}{singles}{veto} are in {where}."


def tell_metrics(metrics: Metrics, folder: str = "") -> str:
    """What the rewards are worth; where a folder is named, that metrics and report are there."""
    return f"The composed reward {tell_agreement(metrics.overall)}.{_written(METRICS_FILE, folder)}"


def _written(name: str, folder: str) -> str:
    """The sentence that says where a file and the report of it are; nothing without a folder."""
    place = Folder(folder)
    return f" See {place.path(name)}, and the report, {place.path(REPORT_FILE)}." if folder else ""


def tell_agreement(stats: Stats) -> str:
    """How often the labels are agreed with, as a predicate."""
    if stats.accuracy is None:
        return "cannot be compared with labels: no pair has any"
    return (
        f"agrees with the label in {percent(stats.accuracy)} of {plural(stats.num_pairs, 'pair')} "
        f"(95% interval {percent_interval(stats.accuracy_low, stats.accuracy_high)}; a coin has 50%)"
    )


def tell_comparison(comparison: Comparison, folder: str = "") -> str:
    """What to do about weights; where a folder is named, that comparison and report are there."""
    of = f"{plural(len(comparison.schemes), 'weighting')} on {plural(comparison.num_pairs, 'pair')}"
    title = f"{comparison.decision.title}: " if comparison.decision else ""
    return f"{title}{of} are compared.{_written(COMPARISON_FILE, folder)}"


def tell_heads(report: FitReport, where: str) -> str:
    auc = "" if report.mean_auc.value is None else f", mean AUC {report.mean_auc.value:.3f} on unseen prompts"
    fitted = f"{plural(len(report.rules), 'head')} {be(len(report.rules))} fitted"
    return f"{fitted} to {plural(report.num_responses, 'response')}{auc}: {where}."


def tell_training(report: TrainReport, where: str) -> str:
    best = report.best
    merit = "" if best.merit is None else f", {best.merit_name} {best.merit:.3f} on held-out prompts"
    return (
        f"A model is trained on {plural(report.rows.trained, 'row')}; the best of {plural(report.steps, 'step')} is "
        f"step {best.step:,}{merit}: {where}."
    )


def tell_refinement(report: RefineReport | RuleRefineReport) -> str:
    """The first sentence of the verdict, which stands in full above it."""
    return f"{report.verdict.partition('. ')[0].rstrip('.')}."


def tell_refined(counts: Mapping[str, Mapping[str, int]], errors: LabelErrors | None) -> str:
    """What was refined.

    Args:
        counts: of each folder that was written.
        errors: the labels that are likely wrong, where rewards were refined.
    """
    written = " and ".join(f"{plural(each['rows'], 'row')} in {name}/" for name, each in counts.items())
    if errors is None:
        return f"Refined: {written}."
    return f"Refined: {written}; {plural(errors.num_pairs, 'label')} {be(errors.num_pairs)} likely wrong."


def tell_label_errors(errors: LabelErrors) -> str:
    likely = f"{plural(errors.num_pairs, 'pair')} {'has' if errors.num_pairs == 1 else 'have'} a label"
    return f"{likely} that is likely wrong: less than {percent(errors.below)} probable."


def tell_selected(counts: Mapping[str, int], where: str) -> str:
    aside = f" {counts['ties']:,} of them are ties." if counts.get("ties") else ""
    return f"Rules are selected for {plural(counts['pairs'], 'pair')}: {where}.{aside}"


def tell_status(statuses: Sequence[PassStatus], driver: str | None) -> str:
    """How far a run is: the pass that is at work or stopped, else the next one."""
    unfinished = next((each for each in statuses if each.state == "unfinished"), None)
    if unfinished is None:
        waiting = [each.name for each in statuses if each.state == "not started"]
        if not waiting:
            return "All passes of the run are finished."
        return f"{len(statuses) - len(waiting)} of {len(statuses)} passes are finished; {waiting[0]} has not begun."
    done = f"{unfinished.name} has done {unfinished.done_rows:,} of {plural(unfinished.total_rows, 'row')}"
    if driver is None:
        return f"{done}, and no command works on it now."
    left = unfinished.seconds_left
    return f"{done}." if left is None else f"{done}, and about {duration(left)} are left."
