"""Sums over buckets of prompts: what a figure is without each of them says how far it moves from corpus to corpus.

A bucket holds all rows of a 64th of the resampling keys, by hash: which rows are in it depends on nothing else.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.measure.binning import Binning

NUM_BUCKETS = 64

_BUCKET_BITS = 6
_GRID_BITS = 14  # a step is 2^-14 of a rule's range, far finer than any bin that entropy is told by
_LIMIT = 8.0  # ranges; differences beyond count as this much


@dataclass(frozen=True, eq=False)
class BucketSums:
    """Histograms and second moments of each bucket; ``+`` is exact, associative and commutative.

    Attributes:
        count_KGL: for each rule int64 [G, L], its pooled histogram in each bucket.
        product_GKK: int64, sums of d_j d_k over pairs of responses, without polarity, in units of 2^-28 of the ranges.
    """

    count_KGL: tuple[NDArray[np.int64], ...]
    product_GKK: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        difference_KD: NDArray[np.float64],
        hash_D: NDArray[np.uint64],
        cell_KR: Sequence[NDArray[np.integer]],
        hash_R: NDArray[np.uint64],
        *,
        binnings: Sequence[Binning],
    ) -> "BucketSums":
        """The sums of one unit.

        Args:
            difference_KD, hash_D: differences of D pairs of responses, in score units, and hashes of their keys.
            cell_KR, hash_R: for each rule the cell of each of R responses, and hashes of their keys.
            binnings: K.
        """
        bucket_D, bucket_R = _buckets(hash_D), _buckets(hash_R)
        count_KGL = []
        for binning, cell_R in zip(binnings, cell_KR, strict=True):
            size = binning.num_cells
            count_G = np.bincount(bucket_R * size + cell_R, minlength=NUM_BUCKETS * size)
            count_KGL.append(count_G.reshape(NUM_BUCKETS, size).astype(np.int64))
        range_K1 = np.array([[binning.hi - binning.lo] for binning in binnings])
        order_D = np.argsort(bucket_D, kind="stable")
        share_KD = np.clip(difference_KD[:, order_D] / range_K1, -_LIMIT, _LIMIT)
        whole_KD = np.rint(share_KD * 2.0**_GRID_BITS)
        # Products of at most 2^34: float64 adds up half a million of them exactly, in any order.
        ends = np.searchsorted(bucket_D[order_D], np.arange(NUM_BUCKETS + 1))
        parts = [whole_KD[:, start:end] for start, end in itertools.pairwise(ends)]
        product_GKK = np.stack([(part_KD @ part_KD.T).astype(np.int64) for part_KD in parts])
        return cls(tuple(count_KGL), product_GKK)

    def __add__(self, other: "BucketSums") -> "BucketSums":
        counts = tuple(a + b for a, b in zip(self.count_KGL, other.count_KGL, strict=True))
        return BucketSums(counts, self.product_GKK + other.product_GKK)

    def without_each(self) -> "LeftOut":
        """The sums of all rows but those of one bucket, for each of the J buckets that hold a pair of responses."""
        filled_G = self.product_GKK.reshape(NUM_BUCKETS, -1).any(axis=1)
        return LeftOut(
            tuple(count_GL.sum(axis=0) - count_GL[filled_G] for count_GL in self.count_KGL),
            (self.product_GKK.sum(axis=0) - self.product_GKK[filled_G]).astype(np.float64),
        )


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A corpus without each of J buckets.

    Attributes:
        count_KJL: for each rule int64 [J, L], its pooled histogram.
        product_JKK: sums of d_j d_k, without polarity, in a unit of each rule's own.
    """

    count_KJL: tuple[NDArray[np.int64], ...]
    product_JKK: NDArray[np.float64]


def _buckets(hash_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    """0 to 63, by the topmost bits."""
    return (hash_N >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
