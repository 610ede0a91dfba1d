"""Small corpora of scores for the tests: rules, statistics of arrays, and the planted worlds with known truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.rules import HigherIs, OutOfRange, Rule, RuleSet, Scale

RATINGS = Scale(0.0, 10.0, tuple(float(level) for level in range(11)))
UNIT = Scale(0.0, 1.0)


def make_rule(
    name: str = "kind", *, scale: Scale = UNIT, higher_is: HigherIs = "better", out_of_range: OutOfRange = "error"
) -> Rule:
    return Rule(name, f"The response is {name}.", higher_is, scale, out_of_range=out_of_range)


def make_rules(num_rules: int, *, scale: Scale = UNIT) -> RuleSet:
    return RuleSet(make_rule(f"rule{k}", scale=scale) for k in range(num_rules))


def measure(
    chosen_KN: ArrayLike,
    rejected_KN: ArrayLike,
    *,
    rules: RuleSet,
    rows: Sequence[int] | None = None,
    num_bins: int | None = None,
    has_rejected_N: ArrayLike | None = None,
    keys: Sequence[str] | None = None,
    subsets: Sequence[str | None] | None = None,
    clip: bool = False,
    with_products: bool = False,
) -> RuleStatistics:
    """Statistics of (some rows of) score arrays; row i is pair ``p000i`` with a prompt of its own."""
    chosen_KN, rejected_KN = np.asarray(chosen_KN), np.asarray(rejected_KN)
    n = chosen_KN.shape[1]
    chosen_rows = range(n) if rows is None else rows
    index = np.asarray(chosen_rows, dtype=np.int64)
    has_N = np.ones(n, dtype=bool) if has_rejected_N is None else np.asarray(has_rejected_N)
    pair_ids = [f"p{row:04d}" for row in range(n)]
    return RuleStatistics.measure(
        chosen_KN[:, index],
        rejected_KN[:, index],
        rules=rules,
        binnings=[choose_binning(rule, num_bins=num_bins) for rule in rules],
        has_rejected_N=has_N[index],
        pair_ids=[pair_ids[row] for row in chosen_rows],
        keys=[(keys or pair_ids)[row] for row in chosen_rows],
        subsets=None if subsets is None else [subsets[row] for row in chosen_rows],
        clip=clip,
        with_products=with_products,
        compared=("pairs" if has_N.any() else "siblings") if with_products else None,
    )


def plain(value: Any) -> Any:
    """Any statistics as nested tuples that `==` compares to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, Rule | float | int | str | frozenset) or value is None:
        return value
    return {name: plain(item) for name, item in vars(value).items()}


@dataclass(frozen=True, eq=False)
class World:
    """Planted ratings 0 to 10 of K rules for N labelled pairs."""

    chosen_KN: NDArray[np.float32]
    rejected_KN: NDArray[np.float32]
    rules: RuleSet


def plant_world(a_K: ArrayLike, sigma_K: ArrayLike, *, num_pairs: int, seed: int, swapped: float = 0.1) -> World:
    """Rating = clip(round(5 + a q + sigma z), 0, 10) of a hidden quality q; a share of the labels is swapped."""
    rng = np.random.default_rng(seed)
    a_K, sigma_K = np.asarray(a_K), np.asarray(sigma_K)
    gap_N, centre_N = np.abs(rng.standard_normal(num_pairs)), rng.standard_normal(num_pairs)
    sign_N = np.where(rng.random(num_pairs) < swapped, -1, 1)
    sides = []
    for quality_N in (centre_N + sign_N * gap_N / 2, centre_N - sign_N * gap_N / 2):
        noise_KN = rng.standard_normal((len(a_K), num_pairs))
        raw_KN = 5 + a_K[:, None] * quality_N + sigma_K[:, None] * noise_KN
        sides.append(np.clip(np.round(raw_KN), 0, 10).astype(np.float32))
    return World(sides[0], sides[1], make_rules(len(a_K), scale=RATINGS))
