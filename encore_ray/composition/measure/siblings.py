"""Single responses to one prompt, each compared with every other: sums over all pairs of them, without a list of these.

    sum over i < j of (x_i - x_j) (y_i - y_j) = n sum x y - sum x sum y

of the n responses to a prompt, so that the work grows with the responses, not with the pairs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.keys import MAX_HASHES
from encore_ray.composition.sums.exact import SIGNIFICAND, pieces
from encore_ray.composition.sums.products import ProductSums


@dataclass(frozen=True, eq=False)
class Siblings:
    """Which of S responses share their prompt with others.

    Attributes:
        row_D: numbers of these D responses, those to one prompt beside each other.
        size_G: how many each of G prompts has, two or more.
        hash_G: of the prompts, ascending.
    """

    row_D: NDArray[np.intp]
    size_G: NDArray[np.int64]
    hash_G: NDArray[np.uint64]

    @classmethod
    def of(cls, hash_S: NDArray[np.uint64]) -> "Siblings":
        """Those whose keys have the same hash."""
        order_S = np.argsort(hash_S, kind="stable")
        sorted_S = hash_S[order_S]
        first_G = np.flatnonzero(np.r_[sorted_S.size > 0, sorted_S[1:] != sorted_S[:-1]][: sorted_S.size])
        size_G = np.diff(np.append(first_G, sorted_S.size))
        shared_G = size_G > 1
        return cls(order_S[np.repeat(shared_G, size_G)], size_G[shared_G], sorted_S[first_G][shared_G])

    @property
    def num_pairs(self) -> int:
        """How many two responses to one prompt there are."""
        return sum(size * (size - 1) // 2 for size in self.size_G.tolist())

    @cached_property
    def size_D(self) -> NDArray[np.int64]:
        """How many responses the prompt of each has."""
        return np.repeat(self.size_G, self.size_G)

    def sum_prompts(self, value_KD: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the responses to each of one or more prompts, [K, G], added in order."""
        return np.add.reduceat(value_KD, np.cumsum(self.size_G) - self.size_G, axis=1)

    def products(self, score_KS: NDArray[np.float64]) -> ProductSums:
        """Sums of the products of the differences of every two, none of them rounded."""
        num_rules, score_KD = len(score_KS), score_KS[:, self.row_D]
        if not len(self.row_D):
            return ProductSums.of(score_KD)
        total_KK = np.zeros((num_rules, num_rules), dtype=object)
        for size in np.unique(self.size_G).tolist():
            total_KK += size * ProductSums.of(score_KD[:, self.size_D == size]).numerator_KK
        peak_K1 = np.abs(score_KD).max(axis=1, initial=0.0, keepdims=True)
        # Pieces of so few bits that a sum of as many as a prompt has is exact.
        bits = SIGNIFICAND - 1 - int(self.size_G.max()).bit_length()
        sum_PKG = np.array([self.sum_prompts(piece_KD) for piece_KD in pieces(score_KD, bits, bound=peak_K1)])
        of_sums = ProductSums.of(sum_PKG.reshape(-1, len(self.size_G))).numerator_KK
        total_KK -= of_sums.reshape(len(sum_PKG), num_rules, len(sum_PKG), num_rules).sum(axis=(0, 2))
        return ProductSums.of_matrix(self.num_pairs, total_KK)


@dataclass(frozen=True, eq=False)
class PromptUnits:
    """In how many units each prompt has single responses, of the 65,536 prompts of smallest hash; ``+`` is exact.

    Attributes:
        hashes: uint64, ascending, distinct.
        num_units: int64, of each.
    """

    hashes: NDArray[np.uint64]
    num_units: NDArray[np.int64]

    @classmethod
    def of(cls, hash_S: NDArray[np.uint64]) -> "PromptUnits":
        """Those of one unit."""
        hashes = np.unique(hash_S)[:MAX_HASHES]
        return cls(hashes, np.ones(len(hashes), dtype=np.int64))

    @property
    def spread_share(self) -> float:
        """Share of the prompts whose responses stand in several units."""
        return float((self.num_units > 1).mean()) if len(self.hashes) else 0.0

    def __add__(self, other: "PromptUnits") -> "PromptUnits":
        few, many = sorted((self, other), key=lambda part: len(part.hashes))
        place_F = np.searchsorted(many.hashes, few.hashes)
        known_F = place_F < len(many.hashes)
        known_F[known_F] = many.hashes[place_F[known_F]] == few.hashes[known_F]
        num_units = many.num_units.copy()
        num_units[place_F[known_F]] += few.num_units[known_F]
        hashes = np.insert(many.hashes, place_F[~known_F], few.hashes[~known_F])
        num_units = np.insert(num_units, place_F[~known_F], few.num_units[~known_F])
        return PromptUnits(hashes[:MAX_HASHES], num_units[:MAX_HASHES])


def sibling_buckets(
    whole_KD: NDArray[np.float64], siblings: Siblings, bucket_G: NDArray[np.int64], *, num_buckets: int
) -> NDArray[np.int64]:
    """Sums as of `Siblings.products` for each bucket of prompts, [num_buckets, K, K].

    Args:
        whole_KD: whole numbers of at most 2^14 apart, of the siblings in their order.
        bucket_G: of each prompt, ascending.
    """
    product_JKK = np.zeros((num_buckets, len(whole_KD), len(whole_KD)), dtype=np.int64)
    if not len(bucket_G):
        return product_JKK
    sum_KG = siblings.sum_prompts(whole_KD)
    # Around each prompt's mean, rounded to a whole number: sums of products stay far below 2^53.
    centre_KG = np.rint(sum_KG / siblings.size_G)
    centred_KD = whole_KD - np.repeat(centre_KG, siblings.size_G, axis=1)
    rest_KG = sum_KG - centre_KG * siblings.size_G
    bucket_D = np.repeat(bucket_G, siblings.size_G)
    for bucket in np.unique(bucket_G).tolist():
        rest_KP = rest_KG[:, bucket_G == bucket]
        product_JKK[bucket] -= (rest_KP @ rest_KP.T).astype(np.int64)
        start, end = np.searchsorted(bucket_D, [bucket, bucket + 1])
        size_P, centred_KP = siblings.size_D[start:end], centred_KD[:, start:end]
        for size in np.unique(size_P).tolist():
            of_size_KP = centred_KP[:, size_P == size]
            product_JKK[bucket] += size * (of_size_KP @ of_size_KP.T).astype(np.int64)
    return product_JKK
