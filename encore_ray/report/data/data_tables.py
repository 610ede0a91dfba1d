"""The report's figures and tables as Arrow tables, for whoever wants to compute with them."""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from encore_ray.arrays import rows_to_table
from encore_ray.artifacts import Comparison, Metrics
from encore_ray.artifacts.figures import DecidedByVeto, Difference
from encore_ray.artifacts.refine import Calibration
from encore_ray.report.data.contents import ReportContents, find_vetoes, reported_rules

_TEXT, _REAL, _INT = pa.string(), pa.float64(), pa.int64()
_STATS = {
    "num_pairs": _INT,
    "wins": _INT,
    "ties": _INT,
    "losses": _INT,
    "accuracy": _REAL,
    "accuracy_strict": _REAL,
    "accuracy_low": _REAL,
    "accuracy_high": _REAL,
}
_RULES = {
    "name": _TEXT,
    "text": _TEXT,
    "higher_is": _TEXT,
    "weight": _REAL,
    "entropy": _REAL,
    "entropy_low": _REAL,
    "entropy_high": _REAL,
    "accuracy": _REAL,
    "accuracy_low": _REAL,
    "accuracy_high": _REAL,
    "wins": _INT,
    "ties": _INT,
    "losses": _INT,
    "mode_share": _REAL,
    "active_pair_share": _REAL,
    "contribution_share": _REAL,
    "bradley_terry_weight": _REAL,
    "flags": pa.list_(_TEXT),
}
_HARD_RULES = {"rule": _TEXT, "chosen": _INT, "rejected": _INT}
_SCHEMES = {
    "name": _TEXT,
    "params": _TEXT,
    "is_baseline": pa.bool_(),
    "uses_labels": pa.bool_(),
    "pairs": _TEXT,
    **_STATS,
    "difference_to_uniform": _REAL,
    "difference_low": _REAL,
    "difference_high": _REAL,
    "reward_sd": _REAL,
    "effective_num_rules": _REAL,
}
_REFINEMENT = {
    "rule": _TEXT,
    "noise": _REAL,
    "name": _TEXT,
    **{key: kind for key, kind in _STATS.items() if key != "accuracy_strict"},
    "difference_to_base": _REAL,
    "difference_low": _REAL,
    "difference_high": _REAL,
}
_RELIABILITY = {
    "source": _TEXT,
    "is_used": pa.bool_(),
    "low": _REAL,
    "high": _REAL,
    "num_pairs": _INT,
    "confidence": _REAL,
    "right": _REAL,
}
_SWEEP = {
    "temperature": _REAL,
    "num_bins": _INT,
    "accuracy": _REAL,
    "accuracy_low": _REAL,
    "accuracy_high": _REAL,
    "largest_weight_change": _REAL,
}


def report_tables(contents: ReportContents) -> dict[str, pa.Table]:
    """Every table that has rows, by name.

    rules · histograms (a row a rule and cell) · schemes (a row a scheme, on all and on held-out pairs, other rewards
    and baselines included) · scheme_weights · scheme_subsets · hard_rules (responses that break each) · sweep ·
    correlations (a row a pair of rules) · subsets · margins · refinement (a row a reward and noise, or a rule's
    scores) · reliability (a row a source and cell) · rewardbench · rows (a row a pass and count). Shares and
    differences are fractions, not percent.
    """
    comparison, metrics = contents.comparison, contents.metrics
    lines = comparison.lines if comparison else []
    sweep = comparison.sweep if comparison else None
    made = {
        "rules": _table(_RULES, (dict(rule) for rule in reported_rules(contents))),
        "histograms": _histograms(contents),
        "schemes": _schemes(comparison) if comparison else _table(_SCHEMES, ()),
        "scheme_weights": _table(
            {"scheme": _TEXT, "rule": _TEXT, "weight": _REAL},
            (
                {"scheme": line.name, "rule": rule, "weight": weight}
                for line in lines
                for rule, weight in (line.weights or {}).items()
            ),
        ),
        "scheme_subsets": _table(
            {"scheme": _TEXT, "subset": _TEXT, **_STATS},
            (
                {"scheme": line.name, "subset": subset, **dict(stats)}
                for line in lines
                for subset, stats in (line.subsets or {}).items()
            ),
        ),
        "hard_rules": _table(_HARD_RULES, _hard_rules(find_vetoes(contents))),
        "sweep": _table(_SWEEP, map(dict, sweep.cells if sweep else ())),
        "correlations": _correlations(comparison),
        "subsets": _table(
            {"subset": _TEXT, **_STATS},
            ({"subset": name, **dict(stats)} for name, stats in (metrics.subsets if metrics else {}).items()),
        ),
        "margins": _margins(metrics),
        "refinement": _refinement(contents),
        "reliability": _reliability(contents.refined.calibration) if contents.refined else _table(_RELIABILITY, ()),
        "rewardbench": _rewardbench(metrics),
        "rows": _rows(contents),
    }
    return {name: table for name, table in made.items() if table.num_rows}


def _table(columns: Mapping[str, pa.DataType], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of these columns; what a row lacks is null, what it has beyond them is left out."""
    schema = pa.schema(list(columns.items()))
    return rows_to_table(rows, schema)


def _schemes(comparison: Comparison) -> pa.Table:
    rows = []
    for line in comparison.lines:
        for pairs, stats, difference in (
            ("all", line.all, line.difference_to_uniform_all),
            ("heldout", line.heldout, line.difference_to_uniform),
        ):
            if stats is None:
                continue
            difference = difference or Difference(value=None, low=None, high=None)
            rows.append(
                {
                    **dict(line),
                    **dict(stats),
                    "params": json.dumps(line.params, ensure_ascii=False),
                    "is_baseline": line in comparison.baselines,
                    "pairs": pairs,
                    "difference_to_uniform": difference.value,
                    "difference_low": difference.low,
                    "difference_high": difference.high,
                }
            )
    return _table(_SCHEMES, rows)


def _hard_rules(found: DecidedByVeto | None) -> Iterable[Mapping[str, Any]]:
    return ({"rule": rule, **dict(broken)} for rule, broken in (found.rules.items() if found else ()))


def _histograms(contents: ReportContents) -> pa.Table:
    """Cells from low to high; a level is a cell of its own, low = high."""
    rows = [
        {"rule": rule.name, "cell": cell, "low": low, "high": high, "chosen": chosen, "rejected": other, "single": one}
        for rule in reported_rules(contents)
        if (found := rule.histogram) is not None
        for cell, ((low, high), chosen, other, one) in enumerate(
            zip(found.cells, found.chosen, found.rejected, found.single, strict=True)
        )
    ]
    columns = {"rule": _TEXT, "cell": _INT, "low": _REAL, "high": _REAL}
    return _table({**columns, "chosen": _INT, "rejected": _INT, "single": _INT}, rows)


def _refinement(contents: ReportContents) -> pa.Table:
    """Base, refit and refined: of the composed reward, whose rule is null, and of the scores of each rule."""
    controls = [(None, control) for control in (contents.refined.controls if contents.refined else ())]
    for rule in contents.refined_rules.rules if contents.refined_rules else ():
        controls += [(rule.name, control) for control in rule.controls]
    rows = []
    for rule, control in controls:
        difference = control.difference_to_base
        away = {"difference_low": difference.low, "difference_high": difference.high}
        rows.append({**dict(control), "rule": rule, "difference_to_base": difference.value, **away})
    return _table(_REFINEMENT, rows)


def _reliability(calibration: Calibration) -> pa.Table:
    rows = [
        {**dict(cell), "source": source.source, "is_used": source.source == calibration.used}
        for source in calibration.sources
        for cell in source.bins
    ]
    return _table(_RELIABILITY, rows)


def _correlations(comparison: Comparison | None) -> pa.Table:
    rows = []
    if comparison and comparison.correlations:
        names, matrix = comparison.rule_names, comparison.correlations.matrix
        rows = [{"a": names[i], "b": names[j], "r": matrix[i][j]} for j in range(len(matrix)) for i in range(j)]
    return _table({"a": _TEXT, "b": _TEXT, "r": _REAL}, rows)


def _margins(metrics: Metrics | None) -> pa.Table:
    rows = []
    if metrics and metrics.margin and (found := metrics.margin.histogram):
        cells = zip(itertools.pairwise(found.edges), found.counts, strict=True)
        rows = [{"low": low, "high": high, "num_pairs": count} for (low, high), count in cells]
    return _table({"low": _REAL, "high": _REAL, "num_pairs": _INT}, rows)


def _rewardbench(metrics: Metrics | None) -> pa.Table:
    benchmarks = metrics.benchmarks if metrics else {}
    rows = [
        {"benchmark": benchmark, "section": section, "score": score}
        for benchmark, scores in benchmarks.items()
        for section, score in (scores or {}).items()
    ]
    return _table({"benchmark": _TEXT, "section": _TEXT, "score": _REAL}, rows)


def _rows(contents: ReportContents) -> pa.Table:
    selected = contents.selection.counts if contents.selection else None
    passes = {"prepare": contents.prepared, "score": contents.scored, "select": selected, **contents.others}
    rows = [
        {"pass": name, "count": key, "rows": value}
        for name, counts in passes.items()
        for key, value in (counts or {}).items()
    ]
    return _table({"pass": _TEXT, "count": _TEXT, "rows": _INT}, rows)
