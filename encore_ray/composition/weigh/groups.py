"""Per-subset entropies, weights of each subset from its own histograms, and composing under them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.inference.entropy import Estimator, LogBase, entropy
from encore_ray.composition.measure.statistics import RuleStatistics, subset_codes
from encore_ray.composition.measure.vetoes import BrokenRules
from encore_ray.composition.weigh.points import weigh_rules
from encore_ray.composition.weigh.rewards import ComposedRewards, compose
from encore_ray.composition.weigh.scheme import Evidence, Scheme
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import DataError
from encore_ray.visible import short

Groups = dict[str, dict[str, Any]]

# Responses a cell: counting L cells in n responses puts an entropy (L - 1) / 2n too low, .05 here.
_FEW_PER_CELL = 10


def group_entropies(statistics: RuleStatistics, *, log_base: LogBase, estimator: Estimator) -> Groups | None:
    """The ``groups`` object of weights.json: each subset's responses and entropies; None with too many subsets."""
    if statistics.subset_counts is None:
        return None
    return {
        name: {
            "num_responses": int(count_KL[0].sum()),
            "entropies": {
                counts.rule.name: entropy(count_L, log_base=log_base, estimator=estimator)
                for counts, count_L in zip(statistics.counts_K, count_KL, strict=True)
            },
        }
        for name, count_KL in sorted(statistics.subset_counts.items())
    }


def weigh_groups(groups: Groups | None, *, scheme: Scheme, evidence: Evidence) -> Groups:
    """The groups with ``weights`` in each, from its own entropies.

    Args:
        groups: from `group_entropies`.
        scheme: one that looks at entropies only.
        evidence: of the rules that may have a weight; their names and largest entropies are used. Others weigh 0.

    Raises:
        DataError: no subset, too many of them, or one whose entropies give no weights.
    """
    assert scheme.weighs_by_entropy, f"{scheme.name} needs more than entropies"
    if not groups:
        found = "the scores have too many" if groups is None else "no pair has one"
        raise DataError(f"weigh.by_group needs the column `subset` with up to 200 names; {found}. Leave it out.")
    weighed: Groups = {}
    for name, group in groups.items():
        entropy_K = tuple(group["entropies"][rule] for rule in evidence.names)
        try:
            kept_weight = weigh_rules(scheme, replace(evidence, entropy_K=entropy_K)).tolist()
        except DataError as error:
            raise DataError(f"Subset {short(name)}: {error}") from None
        weights = dict.fromkeys(group["entropies"], 0.0) | dict(zip(evidence.names, kept_weight, strict=True))
        weighed[name] = {**group, "weights": weights}
    return weighed


def warn_of_small_groups(groups: Groups, *, num_cells: int) -> list[str]:
    """A sentence that names the subsets with too few responses for histograms of so many cells."""
    limit = _FEW_PER_CELL * num_cells
    small = sorted((group["num_responses"], name) for name, group in groups.items() if group["num_responses"] < limit)
    if not small:
        return []
    named = ", ".join(f"{short(name)} ({number:,})" for number, name in small[:5])
    more = f" and {len(small) - 5} more" if len(small) > 5 else ""
    return [
        f"Subsets with under {limit:,} responses have weights of their own, by entropies that so few do not show well: "
        f"{named}{more}. Use fewer bins, merge them, or leave out weigh.by_group."
    ]


@dataclass(frozen=True, eq=False)
class GroupedRewards:
    """Rewards of N rows, and how many of them had no group's weights."""

    rewards: ComposedRewards
    num_without_group: int


def compose_by_group(
    chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
    rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
    *,
    weights: Weights,
    subsets: Sequence[str | None] | None,
    has_rejected_N: ArrayLike,
) -> GroupedRewards:
    """Compose each row under the weights of its subset; a row without one, or of an unseen one, under those of all.

    Args:
        chosen_KN, rejected_KN, has_rejected_N: as of `compose`.
        weights: with weights in its groups.
        subsets: N names, None where a row has none; None where no row has one.
    """
    is_pair_N = np.asarray(has_rejected_N, dtype=bool)
    number, code_N = subset_codes(subsets if subsets is not None else [None] * len(is_pair_N))
    chosen, rejected = [np.asarray(x) for x in chosen_KN], [np.asarray(x) for x in rejected_KN]
    chosen_N, rejected_N, margin_N = (np.full(len(is_pair_N), np.nan) for _ in range(3))
    found = ComposedRewards(
        chosen_N,
        rejected_N,
        margin_N,
        BrokenRules.of(weights.rules, chosen_KN=chosen, rejected_KN=rejected, has_rejected_N=is_pair_N),
    )
    seen = {code: name for name, code in number.items() if name in weights.group_weights}
    without_N = ~np.isin(code_N, list(seen))
    parts = [(weights.of_group(name), code_N == code) for code, name in seen.items()] + [(weights, without_N)]
    for part, row_N in parts:
        if not row_N.any():
            continue
        rewards = compose(
            [x[row_N] for x in chosen], [x[row_N] for x in rejected], weights=part, has_rejected_N=is_pair_N[row_N]
        )
        found.chosen_N[row_N] = rewards.chosen_N
        found.rejected_N[row_N] = rewards.rejected_N
        found.margin_N[row_N] = rewards.margin_N
    return GroupedRewards(found, int(np.count_nonzero(without_N)))
