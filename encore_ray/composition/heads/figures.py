"""The figures of fitted heads as they are written and shown."""

from typing import Any

from encore_ray.composition.hashing.keys import NUM_FOLDS
from encore_ray.composition.heads.heldout import HeldoutFigure, HeldoutSums, measure_auc, measure_r2
from encore_ray.composition.heads.label_counts import LabelCounts
from encore_ray.composition.heads.logistic import LogisticFit
from encore_ray.composition.heads.ridge import LinearFit
from encore_ray.rules import RuleSet

MIN_YES = 10  # of a rule whose AUC counts in the mean


def head_figures(
    rules: RuleSet, counts: LabelCounts, fit: LinearFit, logistic: LogisticFit | None, heldout: HeldoutSums
) -> dict[str, Any]:
    """What fit.json says of fitted heads: how many labels, which penalty, how well held-out responses are told apart.

    The mean AUC is that of the rules with ten or more yes labels.
    """
    auc_K, r2_K = ([measure(heldout, k) for k in range(len(rules))] for measure in (measure_auc, measure_r2))
    known = [
        auc.value
        for auc, num_yes, is_yes_no in zip(auc_K, counts.num_high_K, counts.is_yes_no_K, strict=True)
        if auc.value is not None and is_yes_no and num_yes >= MIN_YES
    ]
    return {
        "num_responses": counts.num_responses,
        "num_folds": NUM_FOLDS,
        "mean_auc": {
            "value": sum(known) / len(known) if known else None,
            "num_rules": len(known),
            "min_yes": MIN_YES,
        },
        "logistic": {"num_passes": logistic.num_passes, "is_exact": logistic.is_exact} if logistic else None,
        "rules": [
            {
                "name": rule.name,
                "fit": "logistic" if rule.link == "sigmoid" else "ridge",
                "penalty": float(fit.penalty_K[k]),
                "num_labels": int(counts.num_K[k]),
                "num_yes": int(counts.num_high_K[k]) if counts.is_yes_no_K[k] else None,
                **_with_interval("auc", auc_K[k]),
                **_with_interval("r2", r2_K[k]),
            }
            for k, rule in enumerate(rules)
        ],
    }


def _with_interval(name: str, figure: HeldoutFigure) -> dict[str, float | None]:
    interval = figure.interval
    return {
        name: figure.value,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }
