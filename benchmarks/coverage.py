"""How often 95% intervals hold the truth, on planted corpora whose truth is known: docs/benchmarks.md.

python benchmarks/coverage.py [--corpora 200] [--json coverage.json]

Corpora of the two planted worlds, noise drives entropy and signal drives entropy, of 6 and 10 rules, 400 and 4,000
pairs, each pair with a prompt of its own, five pairs a prompt, or a geometric number of mean five (~5). Pairs of a
prompt share the chosen response. The truth of a cell is what 1,000,000 pairs show. Every interval is made by the
functions that `weigh` and `compare` make it with; of r(entropy, loading), from the differences as whole numbers.
Percentiles of 200 replicates of a Poisson bootstrap stand beside
some: of r, and of the difference to uniform weights.
"""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import machine, show, write_json
from encore_ray.composition.consensus.consensus import find_consensus
from encore_ray.composition.consensus.left_out import correlate_loading
from encore_ray.composition.hashing.splitmix import mix
from encore_ray.composition.inference.agreement import Interval, correlate
from encore_ray.composition.inference.disattenuation import remove_noise
from encore_ray.composition.inference.entropy import entropies_without_each, entropy
from encore_ray.composition.inference.jackknife import (
    NUM_BUCKETS,
    buckets_of,
    jackknife_interval,
    sum_buckets,
    without_each,
)
from encore_ray.composition.inference.poisson import draw_replicates
from encore_ray.composition.measure.buckets import NUM_BUCKETS as COARSE
from encore_ray.composition.weigh.formulas import encore

LEVELS = 11
TRUTH_PAIRS, TRUTH_PARTS = 1_000_000, 5
WORLDS = ("noise", "signal")
LAYOUTS = ("1", "5", "~5")
REPLICATES = 200
WIDTH = 0.1  # an interval may be so much wider or narrower than that of all prompts apart


@dataclass(frozen=True, eq=False)
class Corpus:
    """Planted ratings of N pairs under K rules: levels 0 to 10, and the number of each pair's prompt."""

    chosen_NK: NDArray[np.int64]
    rejected_NK: NDArray[np.int64]
    prompt_N: NDArray[np.int64]

    @property
    def point_NK(self) -> NDArray[np.int64]:
        """Two for a win of the rule, one for a tie."""
        return 1 + np.sign(self.chosen_NK - self.rejected_NK)

    def point_N(self, weight_K: NDArray[np.float64]) -> NDArray[np.int64]:
        """The same for a weighting of the rules."""
        margin_N = np.round((self.chosen_NK - self.rejected_NK) @ weight_K, 9)
        return 1 + np.sign(margin_N).astype(np.int64)


def plant(rng: np.random.Generator, *, world: str, num_rules: int, num_pairs: int, layout: str) -> Corpus:
    """A corpus of about so many pairs; one label in ten is swapped."""
    if world == "noise":
        a_K, sigma_K = np.full(num_rules, 0.8), np.geomspace(0.4, 6, num_rules)
    else:
        a_K, sigma_K = np.geomspace(0.05, 1.6, num_rules), np.ones(num_rules)
    num_prompts = num_pairs // (1 if layout == "1" else 5)
    size_Q = rng.geometric(0.2, num_prompts) if layout == "~5" else np.full(num_prompts, num_pairs // num_prompts)
    prompt_N = np.repeat(np.arange(num_prompts), size_Q)
    gap_Q = np.abs(rng.normal(size=num_prompts))
    better_Q = rng.normal(size=num_prompts) + gap_Q / 2
    chosen_QK = _rate(rng, better_Q, a_K, sigma_K)
    gap_N = gap_Q[prompt_N] if layout == "1" else np.abs(rng.normal(size=len(prompt_N)))
    chosen_NK, rejected_NK = chosen_QK[prompt_N], _rate(rng, better_Q[prompt_N] - gap_N, a_K, sigma_K)
    swapped_N1 = rng.random((len(prompt_N), 1)) < 0.1
    return Corpus(np.where(swapped_N1, rejected_NK, chosen_NK), np.where(swapped_N1, chosen_NK, rejected_NK), prompt_N)


def _rate(
    rng: np.random.Generator, quality_N: NDArray[np.float64], a_K: NDArray[np.float64], sigma_K: NDArray[np.float64]
) -> NDArray[np.int64]:
    rating_NK = 5 + a_K * quality_N[:, None] + sigma_K * rng.normal(size=(len(quality_N), len(a_K)))
    return np.clip(np.rint(rating_NK), 0, LEVELS - 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Figures:
    """The figures of all corpora alike: entropies and ENCORE weights are of K rules, r is of entropy with accuracy."""

    r: float
    r_loading: float
    entropy_K: NDArray[np.float64]
    weight_K: NDArray[np.float64]
    accuracy: float
    difference: float


def truth(*, world: str, num_rules: int, layout: str) -> Figures:
    """What very many pairs show."""
    count_KL = np.zeros((num_rules, LEVELS), dtype=np.int64)
    parts = [
        plant(
            np.random.default_rng([number, num_rules]),
            world=world,
            num_rules=num_rules,
            num_pairs=TRUTH_PAIRS // TRUTH_PARTS,
            layout=layout,
        )
        for number in range(TRUTH_PARTS)
    ]
    for part in parts:
        count_KL += _count_buckets(part, np.zeros_like(part.prompt_N))[:, 0]
    entropy_K = np.array([entropy(count_L) for count_L in count_KL])
    weight_K = encore(entropy_K.tolist())
    accuracy_K = np.mean(np.concatenate([part.point_NK for part in parts]), axis=0) / 2
    accuracy, uniform = (
        float(np.mean(np.concatenate([part.point_N(w_K) for part in parts]))) / 2
        for w_K in (weight_K, np.ones(num_rules))
    )
    moment_KK = sum(_products(part, np.zeros_like(part.prompt_N))[0] for part in parts)
    consensus = find_consensus(np.asarray(moment_KK, dtype=np.float64), num_pairs=TRUTH_PAIRS)
    r = correlate(entropy_K.tolist(), accuracy_K.tolist()).pearson
    r_loading = correlate(entropy_K.tolist(), list(consensus.loading_K)).pearson
    assert r is not None and r_loading is not None
    return Figures(r, r_loading, entropy_K, weight_K, accuracy, accuracy - uniform)


def _count_buckets(corpus: Corpus, bucket_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Responses by rule, bucket and level, [K, J, L]."""
    place_N = bucket_N * LEVELS
    return np.stack(
        [
            np.bincount(np.concatenate([place_N + chosen_N, place_N + rejected_N]), minlength=NUM_BUCKETS * LEVELS)
            for chosen_N, rejected_N in zip(corpus.chosen_NK.T, corpus.rejected_NK.T, strict=True)
        ]
    ).reshape(-1, NUM_BUCKETS, LEVELS)


def _products(corpus: Corpus, bucket_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of d_j d_k by bucket, [G, K, K]."""
    difference_NK = corpus.chosen_NK - corpus.rejected_NK
    parts = [difference_NK[bucket_N == bucket] for bucket in range(COARSE)]
    return np.stack([part_NK.T @ part_NK for part_NK in parts])


def intervals(corpus: Corpus, true: Figures, seed: int) -> dict[str, list[bool]]:
    """Whether each interval of a corpus holds the truth, by what it is of; several for what each rule has."""
    num_rules = len(true.weight_K)
    hash_N = mix(mix(corpus.prompt_N.astype(np.uint64)) + np.uint64(seed))
    bucket_N = buckets_of(hash_N)
    count_KJL = _count_buckets(corpus, bucket_N)
    entropy_K = np.array([entropy(count_JL.sum(axis=0)) for count_JL in count_KJL])
    without_JK = np.array([entropies_without_each(count_JL) for count_JL in count_KJL]).T
    # Of each pair: points of each rule, of ENCORE and of uniform weights, both less, and the pairs themselves.
    points_N = corpus.point_N(true.weight_K)
    uniform_N = corpus.point_N(np.ones(num_rules))
    value_NC = np.column_stack([corpus.point_NK, points_N, points_N - uniform_N, np.ones_like(points_N)])
    ratio_C, ratio_JC = _ratios(sum_buckets(bucket_N, value_NC))
    noise_free = remove_noise(
        entropy_K, ratio_C[:num_rules], without_x_JK=without_JK, without_y_JK=ratio_JC[:, :num_rules]
    )
    product_GKK = _products(corpus, bucket_N // (NUM_BUCKETS // COARSE))
    consensus = find_consensus(product_GKK.sum(axis=0).astype(np.float64), num_pairs=len(hash_N))
    with_loading = correlate_loading(
        entropy_K,
        np.array(consensus.loading_K),
        count_KJL=list(count_KJL),
        product_GKK=product_GKK,
        polarity_K=[1] * num_rules,
        groups=consensus.groups,
        used=range(num_rules),
    )
    weight_K = encore(entropy_K.tolist())
    weight_JK = np.array([encore(row) for row in without_JK.tolist()])
    heldout_N = mix(hash_N) % np.uint64(5) == 0
    held_C, held_JC = _ratios(sum_buckets(bucket_N[heldout_N], value_NC[heldout_N]))
    per_prompt_JC = _ratios(_sum_prompts(corpus.prompt_N, value_NC))[1]
    difference = jackknife_interval(ratio_C[-1], ratio_JC[:, -1])
    return {
        "r(entropy, accuracy)": [_holds(noise_free.interval if noise_free else None, true.r)],
        "r(entropy, loading)": [_holds(with_loading.interval if with_loading else None, true.r_loading)],
        "entropy": [
            _holds(
                jackknife_interval(entropy_K[k], without_JK[:, k], low=0.0, high=np.log(LEVELS), unbiased=True),
                true.entropy_K[k],
            )
            for k in range(num_rules)
        ],
        "ENCORE weight": [
            _holds(jackknife_interval(weight_K[k], weight_JK[:, k]), true.weight_K[k]) for k in range(num_rules)
        ],
        "accuracy": [_holds(jackknife_interval(ratio_C[-2], ratio_JC[:, -2]), true.accuracy)],
        "difference": [_holds(difference, true.difference)],
        "difference, held out": [_holds(jackknife_interval(held_C[-1], held_JC[:, -1]), true.difference)],
        "width within 10%": [_is_as_wide(difference, jackknife_interval(ratio_C[-1], per_prompt_JC[:, -1]))],
        **_percentiles(corpus, hash_N, value_NC, true),
    }


def _ratios(sum_JC: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half the sums over the pairs, which are last, of all and without each bucket: a point is half a win."""
    total_C = sum_JC.sum(axis=0)
    rest_JC = without_each(sum_JC, sum_JC[:, -1] > 0)
    rest_JC = rest_JC if len(rest_JC) > 1 else rest_JC[:0]
    return total_C[:-1] / (2 * total_C[-1]), rest_JC[:, :-1] / (2 * rest_JC[:, -1:])


def _sum_prompts(prompt_N: NDArray[np.int64], value_NC: NDArray[np.int64]) -> NDArray[np.int64]:
    """As `sum_buckets`, with a bucket for each prompt; prompts follow each other."""
    return np.add.reduceat(value_NC, np.unique(prompt_N, return_index=True)[1], axis=0)


def _percentiles(
    corpus: Corpus, hash_N: NDArray[np.uint64], value_NC: NDArray[np.int64], true: Figures
) -> dict[str, list[bool]]:
    """The intervals as they were: the middle 95 % of 200 replicates, prompts drawn Poisson(1) times."""
    first_Q = np.unique(corpus.prompt_N, return_index=True)[1]
    draw_QB = draw_replicates(hash_N[first_Q], num_replicates=REPLICATES)
    sum_BC = draw_QB.T.astype(np.float64) @ _sum_prompts(corpus.prompt_N, value_NC)
    ratio_BC = sum_BC[:, :-1] / (2 * sum_BC[:, -1:])
    num_rules = len(true.weight_K)
    entropy_BK = np.empty((REPLICATES, num_rules))
    for k in range(num_rules):
        level_NL = np.zeros((len(hash_N), LEVELS))
        for level_N in (corpus.chosen_NK[:, k], corpus.rejected_NK[:, k]):
            level_NL[np.arange(len(hash_N)), level_N] += 1
        share_BL = draw_QB.T.astype(np.float64) @ np.add.reduceat(level_NL, first_Q, axis=0)
        share_BL /= share_BL.sum(axis=1, keepdims=True)
        entropy_BK[:, k] = -(share_BL * np.log(np.where(share_BL > 0, share_BL, 1.0))).sum(axis=1)
    r_B = _correlations(entropy_BK, ratio_BC[:, :num_rules])
    return {
        "r, percentiles": [_holds(Interval(*np.quantile(r_B, [0.025, 0.975])), true.r)],
        "difference, percentiles": [_holds(Interval(*np.quantile(ratio_BC[:, -1], [0.025, 0.975])), true.difference)],
    }


def _correlations(x_BK: NDArray[np.float64], y_BK: NDArray[np.float64]) -> NDArray[np.float64]:
    x_BK, y_BK = (v_BK - v_BK.mean(axis=1, keepdims=True) for v_BK in (x_BK, y_BK))
    return (x_BK * y_BK).sum(axis=1) / (np.linalg.norm(x_BK, axis=1) * np.linalg.norm(y_BK, axis=1))


def _holds(interval: Interval | None, value: float) -> bool:
    """An interval that cannot be given holds nothing."""
    return interval is not None and interval.low <= value <= interval.high


def _is_as_wide(one: Interval | None, other: Interval | None) -> bool:
    assert one is not None
    assert other is not None
    return abs((one.high - one.low) / (other.high - other.low) - 1) <= WIDTH


@dataclass(frozen=True)
class Cell:
    """Corpora of one kind."""

    layout: str
    world: str
    num_rules: int
    num_pairs: int
    num_corpora: int

    @property
    def name(self) -> str:
        return f"{self.world}, K {self.num_rules}, {self.num_pairs:,} pairs, {self.layout} a prompt"


def measure(cell: Cell) -> tuple[dict[str, float], float]:
    """The coverage of every interval in a cell, a mean over corpora and rules, and the seconds that it took."""
    clock = time.process_time()
    true = truth(world=cell.world, num_rules=cell.num_rules, layout=cell.layout)
    held: dict[str, list[bool]] = {}
    for number in range(cell.num_corpora):
        rng = np.random.default_rng([number, cell.num_rules, cell.num_pairs, LAYOUTS.index(cell.layout)])
        corpus = plant(rng, world=cell.world, num_rules=cell.num_rules, num_pairs=cell.num_pairs, layout=cell.layout)
        for name, each in intervals(corpus, true, number).items():
            held.setdefault(name, []).extend(each)
    return {name: float(np.mean(each)) for name, each in held.items()}, time.process_time() - clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=200, help="of a cell")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cells = [Cell(*kind, options.corpora) for kind in product(LAYOUTS, WORLDS, (6, 10), (400, 4000))]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # of the processes that are started now
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        measured = list(pool.map(measure, cells))
    found = {cell.name: coverage for cell, (coverage, _) in zip(cells, measured, strict=True)}
    columns = list(measured[0][0])
    show(["corpus", *columns], [[name, *(f"{row[column]:.3f}" for column in columns)] for name, row in found.items()])
    minutes = sum(seconds for _, seconds in measured) / 60
    print(f"{options.corpora} corpora a cell, {minutes:.1f} minutes of one processor")
    result: dict[str, Any] = {"machine": machine(), "corpora": options.corpora, "coverage": found}
    write_json(options.json, result)


if __name__ == "__main__":
    main()
