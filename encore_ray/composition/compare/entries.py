"""The lines of comparison.json: what each scheme, reward made elsewhere and trivial baseline gets right."""

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.counting import EntrantCounts, LineupCounts, SplitCounts
from encore_ray.composition.compare.lineup import Entrant, Lineup
from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.inference.jackknife import jackknife_interval, without_each
from encore_ray.composition.measure.baselines import BASELINES
from encore_ray.composition.sums.moments import Moments
from encore_ray.composition.weigh.formulas import effective_num_rules


def scheme_entries(
    lineup: Lineup,
    counts: LineupCounts,
    *,
    names: list[str],
    width_K: NDArray[np.float64],
    responses: Moments,
) -> list[dict[str, Any]]:
    """A line for each entrant that weighs the scores.

    Args:
        names, width_K: of all rules; the width of each rule's range as it is weighed.
        responses: moments of all responses' scores, in shares of the ranges.
    """
    return [
        _agreement(entrant, e, counts)
        | _shape(entrant, names, responses=responses, width_K=width_K)
        | {"accuracy_sd": _spread_of_draws(counts, members) if len(members) > 1 else None}
        for e, (entrant, members) in enumerate(zip(lineup.entrants, lineup.weightings.members_E, strict=True))
    ]


def beside_entries(beside: Mapping[str, str], counts: LineupCounts, *, num_schemes: int) -> list[dict[str, Any]]:
    """A line for each reward made elsewhere, over the pairs that it knows; `beside` tells where each came from."""
    return [
        _given(name, {"rewards": uri}, num_schemes + x, counts, known=x) for x, (name, uri) in enumerate(beside.items())
    ]


def baseline_entries(counts: LineupCounts, *, num_schemes: int, num_beside: int) -> list[dict[str, Any]]:
    """A line for each trivial baseline, over the pairs whose lengths are known; none where none is."""
    first = num_schemes + num_beside
    found = [_given(each.name, {}, first + number, counts, known=num_beside) for number, each in enumerate(BASELINES)]
    return [entry for entry in found if entry["all"]["num_pairs"]]


def _agreement(entrant: Entrant, e: int, counts: LineupCounts, *, known: int | None = None) -> dict[str, Any]:
    """What one entrant got right, and how much more than uniform weights; `known`: see `_statistics`."""
    num_draws = 1 if entrant.weight_DK is None else len(entrant.weight_DK)

    def statistics(part: EntrantCounts) -> dict[str, Any]:
        return _statistics(part, e, num_draws=num_draws, known=known)

    def of_subset(split: SplitCounts) -> dict[str, Any]:
        return statistics(split.heldout if entrant.uses_labels else split.all)

    on_all = not entrant.uses_labels
    return {
        "name": entrant.name,
        "params": entrant.params,
        "uses_labels": entrant.uses_labels,
        "all": statistics(counts.corpus.all) if on_all else None,
        "heldout": statistics(counts.corpus.heldout),
        "subsets": {name: of_subset(split) for name, split in sorted((counts.subsets or {}).items())},
        "difference_to_uniform": _difference(counts.points_2JE3[1, :, e]),
        "difference_to_uniform_all": _difference(counts.points_2JE3[:, :, e].sum(axis=0)) if on_all else None,
    }


def _shape(entrant: Entrant, names: list[str], *, responses: Moments, width_K: NDArray[np.float64]) -> dict[str, Any]:
    """Weights and what they make of the rewards; means over the draws, null where a pair decides the weights."""
    if entrant.weight_DK is None:
        return {"weights": None, "reward_sd": None, "effective_num_rules": None}
    rows = list(entrant.weight_DK)
    return {
        "weights": dict(zip(names, rows[0].tolist(), strict=True)) if len(rows) == 1 else None,
        "reward_sd": fmean(responses.deviation(row * width_K) for row in rows),
        "effective_num_rules": fmean(effective_num_rules(row.tolist()) for row in rows),
    }


def _statistics(part: EntrantCounts, e: int, *, num_draws: int, known: int | None) -> dict[str, Any]:
    """The statistics object of one entrant; of several draws the mean, without counts of their own.

    `known` numbers the keys of the pairs whose margins it knows, where it may not know all.
    """
    num_pairs, wins, ties = map(int, part.count_E3[e])
    keys = part.keys if known is None else part.known_keys[known]
    counts = Tally(wins, ties, num_pairs - wins - ties).to_dict(num_keys=keys.count)
    if num_draws > 1:
        counts |= {"num_pairs": num_pairs // num_draws, "wins": None, "ties": None, "losses": None}
    return counts


def points_difference(points_JE3: NDArray[np.int64], e: int, other: int) -> dict[str, float | None]:
    """Accuracy of one entrant above that of another, both of which know all pairs, with its interval."""
    return _difference(np.stack([points_JE3[:, e, 0], points_JE3[:, e, 1], points_JE3[:, other, 0]], axis=1))


def _difference(points_J3: NDArray[np.int64]) -> dict[str, float | None]:
    """Accuracy above uniform weights on the same pairs, with its interval over the prompts of all buckets."""
    points, num_pairs, uniform = points_J3.sum(axis=0).tolist()
    if not num_pairs:
        return {"value": None, "low": None, "high": None}
    value = (points - uniform) / (2 * num_pairs)
    rest_J3 = without_each(points_J3, points_J3[:, 1] > 0)
    interval = None
    if rest_J3[:, 1].all():
        without_J = (rest_J3[:, 0] - rest_J3[:, 2]) / (2 * rest_J3[:, 1])
        interval = jackknife_interval(value, without_J, low=-1.0, high=1.0)
    return {"value": value, "low": interval.low if interval else None, "high": interval.high if interval else None}


def _spread_of_draws(counts: LineupCounts, members: tuple[int, ...]) -> dict[str, float | None]:
    """Standard deviation of the accuracy over the draws of random weights."""
    count_2D2 = counts.count_2W2[:, list(members)]
    num_pairs = [int(part.count_E3[0, 0]) for part in (counts.corpus.all, counts.corpus.heldout)]
    points = [2 * count_D2[:, 0] + count_D2[:, 1] for count_D2 in (count_2D2.sum(axis=0), count_2D2[1])]
    return {
        name: stdev((points_D / (2 * n)).tolist()) if n else None
        for name, points_D, n in zip(("all", "heldout"), points, num_pairs, strict=True)
    }


def _given(name: str, params: dict[str, Any], e: int, counts: LineupCounts, *, known: int) -> dict[str, Any]:
    """The line of an entrant that is no weighting of the scores, over the pairs that it knows."""
    entry = _agreement(Entrant(name, params, False, None), e, counts, known=known)
    return entry | {"weights": None, "reward_sd": None, "effective_num_rules": None, "accuracy_sd": None}
