"""How the differences of rules go together in each bucket of prompts: what the consensus is without each of them.

Source: see `encore_ray.composition.measure.jackknife`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.measure import jackknife
from encore_ray.composition.measure.binning import Binning
from encore_ray.composition.measure.jackknife import buckets_of

NUM_BUCKETS = 64  # with K * K sums in each; every one is eight of the jackknife's

_GRID_BITS = 14  # a step is 2^-14 of a rule's range, far finer than any bin that entropy is told by
_LIMIT = 8.0  # ranges; differences beyond count as this much


@dataclass(frozen=True, eq=False)
class BucketProducts:
    """Second moments of each bucket; ``+`` is exact, associative and commutative.

    Attributes:
        product_GKK: int64, sums of d_j d_k over pairs of responses, without polarity, in units of 2^-28 of the ranges.
    """

    product_GKK: NDArray[np.int64]

    @classmethod
    def of(
        cls, difference_KD: NDArray[np.float64], hash_D: NDArray[np.uint64], *, binnings: Sequence[Binning]
    ) -> "BucketProducts":
        """The sums of one unit.

        Args:
            difference_KD, hash_D: differences of D pairs of responses, in score units, and hashes of their keys.
            binnings: K.
        """
        bucket_D = buckets_of(hash_D) // (jackknife.NUM_BUCKETS // NUM_BUCKETS)
        range_K1 = np.array([[binning.hi - binning.lo] for binning in binnings])
        order_D = np.argsort(bucket_D, kind="stable")
        share_KD = np.clip(difference_KD[:, order_D] / range_K1, -_LIMIT, _LIMIT)
        whole_KD = np.rint(share_KD * 2.0**_GRID_BITS)
        # Products of at most 2^34: float64 adds up half a million of them exactly, in any order.
        ends = np.searchsorted(bucket_D[order_D], np.arange(NUM_BUCKETS + 1))
        parts = [whole_KD[:, start:end] for start, end in itertools.pairwise(ends)]
        return cls(np.stack([(part_KD @ part_KD.T).astype(np.int64) for part_KD in parts]))

    def __add__(self, other: "BucketProducts") -> "BucketProducts":
        return BucketProducts(self.product_GKK + other.product_GKK)


def merge_buckets(sum_JC: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums by bucket of the jackknife as sums by bucket here, [G, ...]."""
    return sum_JC.reshape(NUM_BUCKETS, -1, *sum_JC.shape[1:]).sum(axis=1)
