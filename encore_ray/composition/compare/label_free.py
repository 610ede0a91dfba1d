"""What is told without a label, and what the labels then say of it: the consensus, and the choice among schemes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.counting import LineupCounts
from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.entries import points_difference
from encore_ray.composition.compare.lineup import Lineup
from encore_ray.composition.consensus.consensus import Consensus
from encore_ray.composition.consensus.verdict import write_label_free_verdict
from encore_ray.composition.weigh.consensus_record import ConsensusRecord
from encore_ray.composition.weigh.evidence import kept_rules
from encore_ray.composition.weigh.weights import Weights

Matrix = list[list[float | None]]


def consensus_entry(
    diagnostics: RuleDiagnostics, counts: LineupCounts, lineup: Lineup, *, weights: Weights
) -> dict[str, Any] | None:
    """The ``consensus`` object of comparison.json; None without one.

    To what weights.json says it adds how the consensus goes with the length of responses, and the matrices of agreement
    and of what the factor leaves of it, in rule order.

    Args:
        weights: ENCORE's, from the same statistics: they tell the entropies and how these were estimated.
    """
    if lineup.consensus is None:
        return None
    statistics = diagnostics.statistics
    kept = kept_rules(statistics, min_active=weights.min_active)
    record = ConsensusRecord.of(
        lineup.consensus,
        statistics=statistics,
        kept=kept,
        entropy_K=[rule.entropy.value for rule in weights.rules],
        log_base=weights.log_base,
        estimator=weights.estimator,
    )
    content = record.to_dict() | {"length": _length(counts.length_4, lineup.consensus)}
    content["verdict"] = write_label_free_verdict(content)
    num_rules = len(weights.rules)
    return content | {
        "matrix": _of_all_rules(lineup.consensus.r_KK, kept, num_rules),
        "residuals": _of_all_rules(lineup.consensus.residual_KK, kept, num_rules),
    }


def label_free_choice(lineup: Lineup, counts: LineupCounts) -> dict[str, Any] | None:
    """How the schemes that look at no label compare, and how far the one to choose without labels is from the best.

    Without labels one would choose consensus where it is trusted, else uniform weights. Random weights are no choice.

    Returns:
        ``choice``; ``best`` of the label-free schemes on all pairs with its ``accuracy``, ``second`` and the
        ``difference`` between them; ``heldout``: the ``best`` of all schemes on the held-out pairs, and by how much the
        choice is below it (``difference``, at most 0). None without pairs.
    """
    free = [e for e, entrant in enumerate(lineup.entrants) if not entrant.uses_labels and len(_members(lineup, e)) == 1]
    accuracy_E = _accuracies(counts.corpus.all.count_E3)
    heldout_E = _accuracies(counts.corpus.heldout.count_E3)
    if accuracy_E is None or lineup.weightings.consensus is None:
        return None
    trusted = lineup.consensus is not None and lineup.consensus.trusted
    choice = lineup.weightings.consensus if trusted else lineup.weightings.uniform
    # Equal ones: uniform before all, else the first.
    order = sorted(free, key=lambda e: (-accuracy_E[e], e != lineup.weightings.uniform))
    best, second = order[0], next((e for e in order[1:] if accuracy_E[e] < accuracy_E[order[0]]), None)
    points = counts.points_2JE3
    content: dict[str, Any] = {
        "choice": lineup.entrants[choice].name,
        "trusted": trusted,
        "best": lineup.entrants[best].name,
        "accuracy": float(accuracy_E[best]),
        "alike": [lineup.entrants[e].name for e in order[1:] if accuracy_E[e] == accuracy_E[best]],
        "second": None if second is None else lineup.entrants[second].name,
        "difference": None if second is None else points_difference(points.sum(axis=0), best, second),
        "heldout": None,
    }
    if heldout_E is not None:
        known = [e for e in range(len(lineup.entrants)) if len(_members(lineup, e)) == 1]
        top = max(known, key=lambda e: (heldout_E[e], e == choice))
        content["heldout"] = {
            "best": lineup.entrants[top].name,
            "uses_labels": lineup.entrants[top].uses_labels,
            "accuracy": float(heldout_E[top]),
            "choice_accuracy": float(heldout_E[choice]),
            "difference": points_difference(points[1], choice, top),
        }
    return content


def _length(length_4: NDArray[np.int64], consensus: Consensus) -> dict[str, Any] | None:
    """How the verdicts by consensus go with those by length, a correlation of signs; None where no length is known."""
    num_pairs, decided, different, ahead = map(int, length_4)
    if not num_pairs or not consensus.trusted:
        return None
    r = ahead / math.sqrt(decided * different) if decided and different else None
    return {"num_pairs": num_pairs, "shorter_wins": r, "longer_wins": None if r is None else -r}


def _of_all_rules(matrix_KK: NDArray[np.float64], kept: list[int], num_rules: int) -> Matrix:
    """A matrix of the kept rules as one of all rules, null for what is not known."""
    full_KK = np.full((num_rules, num_rules), np.nan)
    full_KK[np.ix_(kept, kept)] = matrix_KK
    return [[None if math.isnan(value) else value for value in row] for row in full_KK.tolist()]


def _members(lineup: Lineup, e: int) -> tuple[int, ...]:
    return lineup.weightings.members_E[e]


def _accuracies(count_E3: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Of each entrant, a tie as half a win; None without pairs."""
    if not count_E3[0, 0]:
        return None
    return (count_E3[:, 1] + count_E3[:, 2] / 2) / np.maximum(count_E3[:, 0], 1)
