"""Streamed training batches: moments in one pass over the blocks, then standardised pairs from a shuffle buffer.

The corpus need not fit into memory: a pool of pairs does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encore_ray.errors import DataError
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.models.energy.standard_scaler import StandardScaler, StreamedMoments

POOL_PAIRS = 4096  # read before they are shuffled: what memory holds of the corpus, beside the held-out pairs


@dataclass(frozen=True, eq=False)
class CorpusMoments:
    """What is measured before training.

    Attributes:
        embedding, reward: shift and scale of D and K columns.
        low_K, high_K: the domain of each standardised reward: a unit beyond those trained on.
        num_pairs: that may be trained on. num_used: that any energy is trained on. num_agreeing_K: that each is.
    """

    embedding: StandardScaler
    reward: StandardScaler
    low_K: NDArray[np.float64]
    high_K: NDArray[np.float64]
    num_pairs: int
    num_used: int
    num_agreeing_K: NDArray[np.int64]


def measure_corpus(blocks: PairBlocks) -> CorpusMoments:
    """Moments of the pairs that are trained on, in the order of the blocks.

    Raises:
        DataError: rewards agree with the label in no such pair.
    """
    embedding: StreamedMoments | None = None
    reward: StreamedMoments | None = None
    num_pairs, num_used = 0, 0
    for number in range(blocks.num_blocks):
        block = blocks.read(number)
        train_N = ~block.heldout_N
        num_pairs += int(train_N.sum())
        agrees_NK = block.agrees_NK & train_N[:, None]
        used_N = agrees_NK.any(axis=1)
        num_used += int(used_N.sum())
        e_ND = block.e_N2D[used_N]
        e_moments = StreamedMoments.of(e_ND.reshape(-1, block.e_N2D.shape[2]))
        r_NK = np.where(agrees_NK[:, None], block.r_N2K, np.nan).reshape(-1, block.r_N2K.shape[2])
        r_moments = StreamedMoments.of(r_NK)
        embedding = e_moments if embedding is None else embedding + e_moments
        reward = r_moments if reward is None else reward + r_moments
    if embedding is None or reward is None or not reward.num_D.any():
        raise DataError(
            f"None of {num_pairs:,} training pairs has a chosen response with the higher reward, so there is nothing "
            "to learn from. Look at the rewards' direction (higher_is) and at the labels."
        )
    standard = StandardScaler.of_rewards(reward)
    trained_K = reward.num_D > 0
    low_K, high_K = (
        np.where(trained_K, (np.where(trained_K, end_K, 0.0) - standard.mean_D) / standard.deviation_D, 0.0)
        for end_K in (reward.low_D, reward.high_D)
    )
    return CorpusMoments(
        StandardScaler.of_embeddings(embedding),
        standard,
        low_K - 1.0,
        high_K + 1.0,
        num_pairs=num_pairs,
        num_used=num_used,
        num_agreeing_K=reward.num_D // 2,
    )


@dataclass(frozen=True, eq=False)
class ResponseBatch:
    """B standardised responses, float32, and which of K energies are trained on each."""

    e_BD: Tensor
    r_BK: Tensor
    agrees_BK: Tensor

    @property
    def num_pairs(self) -> int:
        return len(self.agrees_BK) // 2

    @classmethod
    def of(cls, block: PairBlock, moments: CorpusMoments) -> "ResponseBatch":
        sides = 2 * len(block.heldout_N)
        e_BD = moments.embedding.apply(block.e_N2D.reshape(sides, -1))
        r_BK = moments.reward.apply(block.r_N2K.reshape(sides, -1))
        return cls(
            torch.from_numpy(e_BD), torch.from_numpy(r_BK), torch.from_numpy(np.repeat(block.agrees_NK, 2, axis=0))
        )

    def to(self, place: torch.device) -> "ResponseBatch":
        return ResponseBatch(self.e_BD.to(place), self.r_BK.to(place), self.agrees_BK.to(place))

    def split(self, size: int) -> "Iterator[ResponseBatch]":
        parts = zip(self.e_BD.split(size), self.r_BK.split(size), self.agrees_BK.split(size), strict=True)
        return (ResponseBatch(*part) for part in parts)


def shuffled_batches(
    blocks: PairBlocks, moments: CorpusMoments, *, num_responses: int, seed: Sequence[int]
) -> Iterator[ResponseBatch]:
    """The training pairs in random order: blocks are shuffled, then the rows of as many as a pool holds.

    Responses 2i and 2i + 1 of a batch are the chosen and the rejected one of its pair i.
    """
    rng = np.random.default_rng(seed)
    size = max(1, num_responses // 2)
    pool: PairBlock | None = None
    for number in rng.permutation(blocks.num_blocks):
        block = blocks.read(int(number))
        block = take_rows(block, np.flatnonzero(~block.heldout_N & block.agrees_NK.any(axis=1)))
        pool = block if pool is None else _joined(pool, block)
        if len(pool.heldout_N) >= POOL_PAIRS:
            order = rng.permutation(len(pool.heldout_N))
            whole = len(order) - len(order) % size
            for start in range(0, whole, size):
                yield ResponseBatch.of(take_rows(pool, order[start : start + size]), moments)
            pool = take_rows(pool, order[whole:])
    if pool is not None:
        order = rng.permutation(len(pool.heldout_N))
        for start in range(0, len(order), size):
            yield ResponseBatch.of(take_rows(pool, order[start : start + size]), moments)


def take_rows(block: PairBlock, row_N: NDArray[np.int64]) -> PairBlock:
    """Some pairs of a block."""
    return PairBlock(block.e_N2D[row_N], block.r_N2K[row_N], block.heldout_N[row_N])


def _joined(first: PairBlock, second: PairBlock) -> PairBlock:
    return PairBlock(*(np.concatenate([vars(first)[name], vars(second)[name]]) for name in vars(first)))
