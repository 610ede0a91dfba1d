"""The report's figures and tables as Arrow tables, for whoever wants to compute with them."""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from encore_ray.report.data.contents import Content, ReportContents, rule_facts

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
    and baselines included) · scheme_weights · scheme_subsets · sweep · correlations (a row a pair of rules) · subsets ·
    margins · refinement (a row a reward and noise, or a rule's scores) · reliability (a row a source and cell) ·
    rewardbench · rows (a row a pass and count). Shares and differences are fractions, not percent.
    """
    comparison, metrics = contents.comparison or {}, contents.metrics or {}
    selected = (contents.selection or {}).get("counts")
    passes = {"prepare": contents.prepared, "score": contents.scored, "select": selected}
    stands = [entry for kind in ("schemes", "beside", "baselines") for entry in comparison.get(kind) or ()]
    made = {
        "rules": _table(_RULES, (vars(rule) for rule in rule_facts(contents))),
        "histograms": _histograms(contents),
        "schemes": _table(_SCHEMES, (row for scheme in stands for row in _scheme_rows(scheme, contents))),
        "scheme_weights": _table(
            {"scheme": _TEXT, "rule": _TEXT, "weight": _REAL},
            (
                {"scheme": scheme["name"], "rule": rule, "weight": weight}
                for scheme in stands
                for rule, weight in (scheme["weights"] or {}).items()
            ),
        ),
        "scheme_subsets": _table(
            {"scheme": _TEXT, "subset": _TEXT, **_STATS},
            (
                {"scheme": scheme["name"], "subset": subset, **stats}
                for scheme in stands
                for subset, stats in (scheme["subsets"] or {}).items()
            ),
        ),
        "sweep": _table(_SWEEP, (comparison.get("sweep") or {}).get("cells", ())),
        "correlations": _correlations(comparison),
        "subsets": _table(
            {"subset": _TEXT, **_STATS},
            ({"subset": name, **stats} for name, stats in (metrics.get("subsets") or {}).items()),
        ),
        "margins": _margins(metrics),
        "refinement": _refinement(contents),
        "reliability": _reliability((contents.refined or {}).get("calibration") or {}),
        "rewardbench": _table(
            {"benchmark": _TEXT, "section": _TEXT, "score": _REAL},
            (
                {"benchmark": benchmark, "section": section, "score": score}
                for benchmark in ("rewardbench", "rewardbench_2")
                for section, score in (metrics.get(benchmark) or {}).items()
            ),
        ),
        "rows": _table(
            {"pass": _TEXT, "count": _TEXT, "rows": _INT},
            (
                {"pass": name, "count": key, "rows": value}
                for name, counts in passes.items()
                for key, value in (counts or {}).items()
            ),
        ),
    }
    return {name: table for name, table in made.items() if table.num_rows}


def _table(columns: Mapping[str, pa.DataType], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of these columns; what a row lacks is null, what it has beyond them is left out."""
    schema = pa.schema(list(columns.items()))
    return pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows], schema=schema)


def _scheme_rows(scheme: Content, contents: ReportContents) -> Iterable[dict[str, Any]]:
    assert contents.comparison is not None
    for pairs, differences in (("all", "difference_to_uniform_all"), ("heldout", "difference_to_uniform")):
        if scheme[pairs] is None:
            continue
        difference = scheme[differences] or {}
        yield {
            **scheme,
            **scheme[pairs],
            "params": json.dumps(scheme["params"], ensure_ascii=False),
            "is_baseline": scheme in (contents.comparison["baselines"] or ()),
            "pairs": pairs,
            "difference_to_uniform": difference.get("value"),
            "difference_low": difference.get("low"),
            "difference_high": difference.get("high"),
        }


def _histograms(contents: ReportContents) -> pa.Table:
    """Cells from low to high; a level is a cell of its own, low = high."""
    rows = []
    for rule in rule_facts(contents):
        if rule.histogram is None:
            continue
        levels = rule.histogram.get("levels")
        ends = [(level, level) for level in levels] if levels else list(itertools.pairwise(rule.histogram["edges"]))
        for cell, (low, high) in enumerate(ends):
            counts = {side: rule.histogram[side][cell] for side in ("chosen", "rejected", "single")}
            rows.append({"rule": rule.name, "cell": cell, "low": low, "high": high, **counts})
    columns = {"rule": _TEXT, "cell": _INT, "low": _REAL, "high": _REAL}
    return _table({**columns, "chosen": _INT, "rejected": _INT, "single": _INT}, rows)


def _refinement(contents: ReportContents) -> pa.Table:
    """Base, refit and refined: of the composed reward, whose rule is null, and of the scores of each rule."""
    controls = [({}, control) for control in (contents.refined or {}).get("controls", ())]
    for rule in (contents.refined_rules or {}).get("rules", ()):
        controls += [({"rule": rule["name"], "noise": 0.0}, control) for control in rule["controls"]]
    rows = []
    for beside, control in controls:
        difference = control["difference_to_base"]
        differences = {"difference_to_base": difference["value"]}
        differences |= {f"difference_{end}": difference[end] for end in ("low", "high")}
        rows.append({**control, **beside, **differences})
    return _table(_REFINEMENT, rows)


def _reliability(calibration: Content) -> pa.Table:
    rows = [
        {**cell, "source": source["source"], "is_used": source["source"] == calibration["used"]}
        for source in calibration.get("sources", ())
        for cell in source["bins"]
    ]
    return _table(_RELIABILITY, rows)


def _correlations(comparison: Content) -> pa.Table:
    names = comparison.get("rule_names", ())
    matrix = (comparison.get("correlations") or {}).get("matrix", ())
    rows = [{"a": names[i], "b": names[j], "r": matrix[i][j]} for j in range(len(matrix)) for i in range(j)]
    return _table({"a": _TEXT, "b": _TEXT, "r": _REAL}, rows)


def _margins(metrics: Content) -> pa.Table:
    histogram = (metrics.get("margin") or {}).get("histogram") or {"edges": [], "counts": []}
    cells = zip(itertools.pairwise(histogram["edges"]), histogram["counts"], strict=True)
    rows = [{"low": low, "high": high, "num_pairs": count} for (low, high), count in cells]
    return _table({"low": _REAL, "high": _REAL, "num_pairs": _INT}, rows)
