"""What became of every row, and every setting, fingerprint and version that decided the result."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from encore_ray.artifacts import Comparison, WeightsFile
from encore_ray.artifacts.weights import Cells
from encore_ray.composition.weigh.schemes import SCHEMES
from encore_ray.config.job import options_that_ran
from encore_ray.corpora.notes import NOTES
from encore_ray.folder.spec import FEATURES
from encore_ray.report.charts.tracks import bar_track
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import compact, count, percent, plural, value_text
from encore_ray.report.sections.parts import definitions, details, named, number, scrolling, section, table
from encore_ray.schema import REASON_COUNT

_NOTES = {
    "truncated": "longer than the model takes: they lost their beginning",
    "repeated_content": "the content of an earlier pair once more",
    "contradictory": "the opposite label of another pair with the same responses: no reward is right on both",
    "prompt_ids_of_several_prompts": "prompt_ids of the data beside several prompts: one prompt each to all intervals",
    "identical": "the same response on both sides",
    "singles": "one response only: scored, not compared",
    **NOTES,
}
# Sections of the configuration that change no result stay out: they say where things ran and were recorded.
_FITTED = frozenset(scheme.name for scheme in SCHEMES if scheme.lesson == "bradley_terry")  # to sums of floats
_NO_RESULT = frozenset({"cluster", "tracking", "cost_per_hour"})


def rows_account(contents: ReportContents) -> Markup | None:
    """Rows in = rows kept + rows in quarantine, for each pass, with the reasons."""
    prepared, scored, others = contents.prepared or {}, contents.scored or {}, contents.others
    if not prepared and not scored and not others:
        return None
    steps = []
    if prepared:
        steps.append(_step("prepare", prepared["rows"], prepared["kept"], prepared["quarantined"], "rows", "kept"))
    if scored:
        steps.append(_step("score", scored["rows"], scored["scored"], scored["quarantined"], "pairs", "scored"))
    for name, counts in others.items():
        kept = counts["rows"] - counts["quarantined"]
        steps.append(_step(name, counts["rows"], kept, counts["quarantined"], "pairs", "kept"))
    lost = sum(counts.get("quarantined", 0) for counts in (prepared, scored, *others.values()))
    read = prepared.get("rows") or scored.get("rows") or 0
    total = read or max((counts["rows"] for counts in others.values()), default=0)
    takeaway = f"All {plural(total, 'row')} were used."
    if lost:
        share = percent(lost / total, digits=2)
        takeaway = f"Every row is accounted for: {count(lost)} of {plural(total, 'row')} ({share}) are in quarantine."
    notes = [
        (count(counts[key]), words) for key, words in _NOTES.items() for counts in (scored, prepared) if counts.get(key)
    ]
    return section(
        "rows",
        "What became of every row",
        takeaway if total else None,
        *steps,
        _reasons([prepared, scored, *others.values()]),
        definitions(notes) if notes else None,
    )


def settings(contents: ReportContents) -> Markup | None:
    """Every knob that decided the result, and the fingerprints that prove it."""
    groups = [
        ("How the weights were made", _weighing(contents.weights, contents.comparison)),
        ("What the scores are of", _facts(contents.model or {})),
        ("Fingerprints", _fingerprints(contents)),
        ("Versions", list((contents.versions or {}).items())),
    ]
    filled = [(title, entries) for title, entries in groups if entries]
    config = ran_options(contents)
    if not filled and not config:
        return None
    return section(
        "settings",
        "Everything that decided this result",
        _repeatable(contents.weights),
        tag("div", [tag("div", tag("h3", title), definitions(entries)) for title, entries in filled], class_="columns"),
        details("The configuration", scrolling("Configuration", _config_table(config))) if config else None,
        _binnings(contents.weights),
    )


def ran_options(contents: ReportContents) -> list[tuple[str, str]]:
    """The options that decide the run's results, as section.option and value."""
    ran = options_that_ran(contents.config or {}, also=_beside_the_job(contents))
    return _flatten({key: value for key, value in ran.items() if key not in _NO_RESULT})


def _beside_the_job(contents: ReportContents) -> list[str]:
    """Sections of the single commands whose results the run has."""
    has = {
        "select": contents.selection or "select" in contents.others,
        "refine": contents.refined or contents.refined_rules or contents.label_errors,
        "fit_heads": FEATURES.name in contents.others,
    }
    return [section for section, found in has.items() if found]


def _repeatable(weights: WeightsFile | None) -> str:
    if weights and weights.scheme in _FITTED:
        return "The same scores and settings give the same weights to about nine digits, with any sharding."
    return "The same scores and settings give the same weights to the last bit, on any machine and with any sharding."


def _step(name: str, total: int, kept: int, lost: int, what: str, done: str) -> Markup:
    return tag(
        "p",
        tag("b", name),
        f" {count(total)} {what} = {count(kept)} {done} + {count(lost)} in quarantine",
        class_="step",
    )


def _reasons(passes: Iterable[Mapping[str, int]]) -> Markup | None:
    reasons: dict[str, int] = {}
    for counts in passes:
        for key, value in counts.items():
            if key.startswith(REASON_COUNT):
                reason = key.removeprefix(REASON_COUNT)
                reasons[reason] = reasons.get(reason, 0) + value
    if not reasons:
        return None
    top = max(*reasons.values(), 1)
    rows = [
        tag("tr", named(reason), tag("td", bar_track(n / top, kind="flagged"), class_="plot"), number(count(n)))
        for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    return scrolling("Rows in quarantine by reason", tag("table", tag("tbody", rows), class_="dots reasons"))


def _weighing(weights: WeightsFile | None, comparison: Comparison | None) -> list[tuple[str, Child]]:
    if not weights:
        return []
    entries: list[tuple[str, Child]] = [("scheme", weights.scheme)]
    if weights.temperature is not None:
        entries.append(("temperature τ", compact(weights.temperature)))
    entries.append(("bins", _bins(weights)))
    entries.append(("logarithm", "natural (nats)" if weights.log_base == "e" else "base 2 (bits)"))
    entries += _facts(weights.params)
    entries.append(("a tie is", "a margin of at most 10⁻¹² of the range; half a win"))
    entries.append(("sample", f"{plural(weights.num_pairs, 'pair')}, {plural(weights.num_responses, 'response')}"))
    size = comparison.sample_size if comparison else None
    if size and size.needed_pairs:
        wide = f"weights known to ± {percent(size.weight_error, digits=2)}"
        needed = f"± {percent(size.target, digits=0)} needs about {plural(size.needed_pairs, 'pair')}"
        entries.append(("sample size", f"{wide}; {needed}"))
    return entries


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, Child]]:
    return [
        (key.replace("_", " "), tag("code", value) if _is_digest(value) else value_text(value))
        for key, value in facts.items()
    ]


def _is_digest(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32,}", value) is not None


def _bins(weights: WeightsFile) -> str:
    kinds = {_binning(rule.binning) for rule in weights.rules}
    return kinds.pop() if len(kinds) == 1 else f"{len(kinds)} kinds, see below"


def _binning(cells: Cells) -> str:
    what = f"{len(cells.levels)} levels" if cells.levels is not None else f"{cells.num_bins} equal bins"
    return f"{what}, {compact(cells.lo)} to {compact(cells.hi)}"


def _binnings(weights: WeightsFile | None) -> Markup | None:
    """Each rule's cells where they differ."""
    if not weights or len({_binning(rule.binning) for rule in weights.rules}) == 1:
        return None
    rows = [tag("tr", named(rule.name), tag("td", _binning(rule.binning))) for rule in weights.rules]
    return details("The cells of each rule", scrolling("Cells of each rule", table(["rule", "cells"], rows)))


def _fingerprints(contents: ReportContents) -> list[tuple[str, Child]]:
    found = {}
    if contents.weights:
        found = {"weights": contents.weights.fingerprint, "counts of all scores": contents.weights.counts_sha256}
    if contents.rules:
        found["rules"] = contents.rules.fingerprint
    return [(name, tag("code", value)) for name, value in found.items()]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as section.option, value."""
    entries: list[tuple[str, str]] = []
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            entries += _flatten(inner, f"{name}.")
        elif isinstance(inner, list) and inner and all(isinstance(item, Mapping) for item in inner):
            for position, item in enumerate(inner):
                entries += _flatten(item, f"{name}[{position}].")
        else:
            entries.append((name, value_text(inner)))
    return entries


def _config_table(entries: Iterable[tuple[str, str]]) -> Markup:
    rows = [tag("tr", named(name), tag("td", tag("code", value))) for name, value in entries]
    return table(["setting", "value"], rows)
