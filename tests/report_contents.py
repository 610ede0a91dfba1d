"""Contents of a run for the tests of its report: small, made by hand, of any number of rules and subsets."""

import math
from typing import Any

from encore_ray.artifacts import Comparison, LabelErrors, Metrics, RefineReport, RuleRefineReport, WeightsFile
from encore_ray.composition.inference.agreement import Tally
from encore_ray.report.data.contents import ReportContents, SelectionSummary
from encore_ray.rules import Rule, RuleSet, Scale

LEVELS = [float(level) for level in range(11)]
SCALE = Scale(0.0, 10.0, tuple(LEVELS))
TEMPERATURES, BINS = [0.25, 0.5, 1.0, 2.0, 4.0], [None, 10, 20, 50]


def stats(wins: int, ties: int, losses: int) -> dict[str, Any]:
    return Tally(wins, ties, losses).to_dict(num_keys=wins + ties + losses)


def rule_names(num_rules: int, prefix: str = "rule") -> list[str]:
    return [f"{prefix}_{number}" for number in range(1, num_rules + 1)]


def make_contents(
    num_rules: int = 4,
    *,
    num_subsets: int = 2,
    prefix: str = "rule",
    text: str = "some/run",
    schemes: tuple[str, ...] = ("uniform", "one_minus_entropy", "bradley_terry"),
) -> ReportContents:
    """A run of rules whose accuracy falls as their entropy grows; the last one is flagged.

    Args:
        prefix: of all names. text: the title, a warning, the verdict, and a setting.
    """
    names = rule_names(num_rules, prefix)
    return ReportContents(
        title=text,
        weights=WeightsFile.of(_weights(names, text)),
        metrics=Metrics.of(_metrics(num_subsets, prefix)),
        comparison=Comparison.of(
            _comparison(names, text, schemes=("encore", *schemes), num_subsets=num_subsets, prefix=prefix)
        ),
        refined=RefineReport.of(_refined()),
        refined_rules=RuleRefineReport.of(_refined_rules(names)),
        label_errors=LabelErrors.of(_label_errors(text)),
        prepared={"rows": 1010, "kept": 1000, "quarantined": 10, "identical": 3, "reason.bad_roles": 10},
        scored={"rows": 1000, "scored": 998, "quarantined": 2, "truncated": 21, "reason.non_finite_score": 2},
        selection=SelectionSummary(
            num_rules=1,
            by="scores",
            counts={
                **{"rows": 998, "pairs": 990, "singles": 8, "without_relevance": 0},
                **{"chosen_better": 600, "rejected_better": 340, "ties": 50},
                **{f"selected.{name}": 990 // len(names) for name in names},
            },
        ),
        rules=RuleSet(Rule(name, f"The response is {text}.", "better", SCALE) for name in names),
        config={
            "inputs": [{"path": f"{text}.jsonl"}],
            "weigh": {"scheme": "encore", "clip": False},
            "tracking": {"uri": "http://user:password@host"},
        },
        model={"model": "d1" * 32, "revision": text, "dtype": "float32"},
        versions={"encore-ray": "0.1.0", "numpy": "2.1.0"},
    )


def _control(name: str, wins: int, base: int) -> dict[str, Any]:
    found = stats(wins, 0, 200 - wins)
    away = (wins - base) / 200
    found.pop("accuracy_strict")
    return {"name": name, **found, "difference_to_base": {"value": away, "low": away - 0.02, "high": away + 0.02}}


def _refined() -> dict[str, Any]:
    """Base rewards stay as they are under label noise, a refit loses, refined rewards lose less."""
    wins = {0.0: (140, 146, 144), 0.2: (140, 138, 143), 0.35: (140, 120, 137)}
    controls = [
        {"noise": noise, **_control(name, each, counts[0])}
        for noise, counts in wins.items()
        for name, each in zip(("base", "linear refit", "refined"), counts, strict=True)
    ]
    sources = [
        {
            "source": name,
            "slope": 1.0,
            "intercept": 0.0,
            "fitted_log_loss": 0.5,
            "num_pairs": 200,
            "ece": ece,
            "log_loss": 0.55,
            "brier": 0.19,
            "bins": [
                {
                    "low": 0.5 + cell / 20,
                    "high": 0.55 + cell / 20,
                    "num_pairs": 0 if cell == 9 else 20,
                    "confidence": None if cell == 9 else 0.525 + cell / 20,
                    "right": None if cell == 9 else 0.525 + cell / 20 + (-1) ** cell * ece,
                }
                for cell in range(10)
            ],
        }
        for name, ece in (("energy density", 0.03), ("base margin", 0.06))
    ]
    return {
        "schema_version": 1,
        "verdict": "On 200 held-out pairs refined rewards agree with 72.0% of the labels, base rewards with 70.0%.",
        "pairs": {"trainable": 800, "agreeing": 560, "conflicting": 240, "calibration": 100, "test": 200},
        "controls": controls,
        "calibration": {"used": "energy density", "sources": sources},
        "density_width": {"mean": 0.4, "beta_sigma": 0.35},
    }


def _refined_rules(names: list[str]) -> dict[str, Any]:
    rules = [
        {
            "name": name,
            "agreeing": 500,
            "at_end": 0.0,
            "controls": [
                _control(kind, wins, 120) for kind, wins in (("base", 120), ("linear refit", 124), ("refined", 130))
            ],
        }
        for name in names
    ]
    return {
        "schema_version": 1,
        "verdict": f"Better under {len(names)} rules.",
        "pairs": {"trainable": 800, "calibration": 100, "test": 200},
        "rules": rules,
    }


def _label_errors(text: str) -> dict[str, Any]:
    pairs = [{"pair_id": f"{text} {number}", "label_probability": number / 1000} for number in range(1, 13)]
    return {"schema_version": 1, "below": 0.05, "num_pairs": 12, "pairs": pairs}


def _rule(number: int, num_rules: int, name: str) -> dict[str, Any]:
    entropy = 0.8 + 1.2 * number / num_rules
    wins = 780 - 260 * number // num_rules
    flagged = number == num_rules - 1
    return {
        "name": name,
        "higher_is": "worse" if number % 5 == 3 else "better",
        "entropy": entropy,
        "entropy_low": entropy - 0.01,
        "entropy_high": entropy + 0.01,
        "weight": 2 * (num_rules - number) / (num_rules * (num_rules + 1)),
        "mode_share": 0.995 if flagged else 0.3,
        "active_pair_share": 0.02 if flagged else 0.6,
        "contribution_share": 1 / num_rules,
        "wins": wins,
        "ties": 20,
        "losses": 980 - wins,
        "accuracy": (wins + 10) / 1000,
        "flags": ["mode_share", "rarely_active"] if flagged else [],
    }


def _correlation(num_rules: int) -> dict[str, Any]:
    found = {"num_rules": num_rules}
    for name in ("pearson", "spearman"):
        found |= {name: -0.93, f"{name}_p": 0.0004, f"{name}_low": -0.97, f"{name}_high": -0.85}
    return found


def _weights(names: list[str], text: str) -> dict[str, Any]:
    rules = []
    for number, name in enumerate(names):
        binning = {"kind": "levels", "lo": 0.0, "hi": 10.0, "levels": LEVELS}
        rules.append(_rule(number, len(names), name) | {"binning": binning, "scale": {"levels": LEVELS}})
    correlation = {key: value for key, value in _correlation(len(names)).items() if not key.endswith(("_low", "_high"))}
    return {
        "schema_version": 1,
        "scheme": "encore",
        "params": {"estimator": "plugin", "score_range": "declared", "min_active": None, "clip": False},
        "temperature": 2.0,
        "log_base": "e",
        "num_pairs": 1000,
        "num_responses": 2000,
        "num_keys": 900,
        "counts_sha256": "c0" * 32,
        "effective_num_rules": 0.7 * len(names),
        "rules": rules,
        "entropy_accuracy": correlation,
        "warnings": [f"A warning about {text}."],
        "groups": {},
        "fingerprint": "f1" * 32,
    }


def _metrics(num_subsets: int, prefix: str) -> dict[str, Any]:
    subsets = {f"{prefix} subset {n}": stats(70 - n % 40, 2, 28 + n % 40) for n in range(num_subsets)}
    edges = [(cell - 20) / 20 for cell in range(41)]
    counts = [round(120 * math.exp(-(((cell - 23) / 6) ** 2))) for cell in range(40)]
    return {
        "schema_version": 1,
        "overall": stats(690, 10, 300),
        "subsets": subsets,
        "rewardbench_safety": 0.82,
        "rewardbench": {"chat": None, "chat_hard": None, "safety": 0.82, "reasoning": None, "overall": None},
        "rewardbench_2": {"Factuality": 0.51, "Ties": 0.64, "overall": 0.575},
        "length_baselines": {"shorter_wins": stats(520, 0, 480), "longer_wins": stats(480, 0, 520)},
        "entropy_accuracy": None,
        "margin": {"mean": 0.12, "sd": 0.3, "histogram": {"edges": edges, "counts": counts}},
        "examples": {
            kind: [{"pair_id": f"{prefix} {kind} {n}", "subset": None, "margin": sign / n} for n in (1, 2)]
            for kind, sign in (("losses", -1.0), ("wins", 1.0))
        },
        "num_singles": 0,
    }


def _comparison(
    names: list[str], text: str, *, schemes: tuple[str, ...], num_subsets: int, prefix: str
) -> dict[str, Any]:
    found = [_scheme(name, place, num_subsets, prefix) for place, name in enumerate(schemes)]
    cells = [
        {
            "temperature": temperature,
            "num_bins": bins,
            "accuracy": 0.72 - 0.01 * row - 0.002 * column,
            "accuracy_low": 0.69 - 0.01 * row,
            "accuracy_high": 0.75 - 0.01 * row,
            "largest_weight_change": 0.01 * abs(row - 3),
        }
        for row, temperature in enumerate(TEMPERATURES)
        for column, bins in enumerate(BINS)
    ]
    rules = []
    for number, name in enumerate(names):
        rule = _rule(number, len(names), name)
        sides = {
            side: [round(100 * math.exp(-(((level - mean) / 2) ** 2))) for level in LEVELS]
            for side, mean in (("chosen", 6.5), ("rejected", 4.5 + 2 * number / len(names)))
        }
        rule |= {"accuracy_low": rule["accuracy"] - 0.03, "accuracy_high": rule["accuracy"] + 0.03}
        rule |= {"bradley_terry_weight": 1.0 - number / len(names)}
        rules.append(rule | {"histogram": {"kind": "levels", "levels": LEVELS, **sides, "single": [0] * 11}})
    matrix = [
        [
            1.0 if a == b else 0.97 if {a, b} == {0, 1} else round(math.cos(3 * a + 5 * b + a * b) * 0.5, 3)
            for b in order
        ]
        for order in [range(len(names))]
        for a in order
    ]
    return {
        "schema_version": 1,
        "num_pairs": 1000,
        "num_singles": 0,
        "num_keys": 900,
        "heldout": {"num_pairs": 200, "num_keys": 180},
        "temperature": 2.0,
        "log_base": "e",
        "estimator": "plugin",
        "score_range": "declared",
        "min_active": None,
        "rule_names": names,
        "schemes": found,
        "baselines": [_scheme("shorter_wins", 5, 0, prefix) | {"weights": None, "reward_sd": None}],
        "sweep": {"temperatures": TEMPERATURES, "num_bins": BINS, "cells": cells},
        "rules": rules,
        "correlations": {
            "of": "score differences",
            "matrix": matrix,
            "redundant": [{"a": names[0], "b": names[1], "r": 0.97}] if len(names) > 1 else [],
        },
        "entropy_accuracy": _correlation(len(names)),
        "theory_check": {"pearson": -0.9, "pearson_p": 0.001, "spearman": -0.9, "spearman_p": 0.001, "num_rules": 4},
        "sample_size": {
            "temperature": 2.0,
            "weight_error": 0.02,
            "target": 0.01,
            "needed_pairs": 4000,
            "enough": False,
        },
        "world": "noise_drives_entropy",
        "verdict": f"Rules of low entropy agree more with the labels of {text}.",
        "warnings": [f"A warning about {text}.", "The sample is small."],
    }


def _scheme(name: str, place: int, num_subsets: int, prefix: str) -> dict[str, Any]:
    learned = name.startswith("bradley_terry")
    wins = 150 if learned else 142 - 4 * place
    everywhere = None if learned else stats(5 * wins, 10, 990 - 5 * wins)
    return {
        "name": name,
        "params": {"temperature": 2.0} if name == "encore" else {},
        "uses_labels": learned,
        "weights": {},
        "all": everywhere,
        "heldout": stats(wins, 2, 198 - wins),
        "subsets": {f"{prefix} subset {n}": stats(60, 2, 38) for n in range(num_subsets)},
        "difference_to_uniform": {
            "value": 0.02 - 0.02 * place,
            "low": 0.001 - 0.02 * place,
            "high": 0.039 - 0.02 * place,
        },
        "difference_to_uniform_all": None if learned else {"value": 0.02, "low": 0.012, "high": 0.028},
        "reward_sd": 0.9,
        "effective_num_rules": 3.1,
    }
