"""How the differences of rules go together in each bucket of prompts: what the consensus is without each of them.

Source: see `encore_ray.composition.inference.jackknife`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference import jackknife
from encore_ray.composition.inference.jackknife import buckets_of
from encore_ray.composition.measure.siblings import Siblings, sibling_buckets
from encore_ray.composition.scales.binning import Binning

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
        bucket_D = _bucket(hash_D)
        order_D = np.argsort(bucket_D, kind="stable")
        whole_KD = _whole(difference_KD[:, order_D], binnings)
        # Products of at most 2^34: float64 adds up half a million of them exactly, in any order.
        ends = np.searchsorted(bucket_D[order_D], np.arange(NUM_BUCKETS + 1))
        parts = [whole_KD[:, start:end] for start, end in itertools.pairwise(ends)]
        return cls(np.stack([(part_KD @ part_KD.T).astype(np.int64) for part_KD in parts]))

    @classmethod
    def of_siblings(
        cls, score_KS: NDArray[np.float64], siblings: Siblings, *, binnings: Sequence[Binning]
    ) -> "BucketProducts":
        """The sums over every two single responses of one unit that share their prompt."""
        lo_K1 = np.array([[binning.lo] for binning in binnings])
        whole_KD = _whole(score_KS[:, siblings.row_D] - lo_K1, binnings)
        return cls(sibling_buckets(whole_KD, siblings, _bucket(siblings.hash_G), num_buckets=NUM_BUCKETS))

    def __add__(self, other: "BucketProducts") -> "BucketProducts":
        return BucketProducts(self.product_GKK + other.product_GKK)


def merge_buckets(sum_JC: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums by bucket of the jackknife as sums by bucket here, [G, ...]."""
    return sum_JC.reshape(NUM_BUCKETS, -1, *sum_JC.shape[1:]).sum(axis=1)


def _bucket(hash_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    return buckets_of(hash_N) // (jackknife.NUM_BUCKETS // NUM_BUCKETS)


def _whole(value_KN: NDArray[np.float64], binnings: Sequence[Binning]) -> NDArray[np.float64]:
    """Values in steps of 2^-14 of each rule's range, whole numbers."""
    range_K1 = np.array([[binning.hi - binning.lo] for binning in binnings])
    return np.rint(np.clip(value_KN / range_K1, -_LIMIT, _LIMIT) * 2.0**_GRID_BITS)
