"""How the differences of rules go together over pairs: their second moments about zero, in which no label enters."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.sums.products import ProductSums

_ROWS = 65_536  # siblings that are paired at a time


@dataclass(frozen=True)
class DifferenceProducts:
    """Exact sums of d_j d_k, with d = a - b of two responses, in score units, without polarity; ``+`` is exact.

    Which of the two is a and which b changes no bit.

    Attributes:
        of_pairs: over the pairs, chosen and rejected.
        of_siblings: over every two single responses of one unit that share their prompt.
    """

    of_pairs: ProductSums
    of_siblings: ProductSums

    @classmethod
    def of(
        cls,
        difference_KN: Sequence[NDArray[np.float64]],
        sibling_KN: Iterable[NDArray[np.float64]],
        *,
        num_rules: int,
    ) -> "DifferenceProducts":
        """The sums of one unit, whose differences come in parts of [K, P].

        Args:
            difference_KN: of the pairs. sibling_KN: of `Siblings`.
        """
        nothing = ProductSums.of(np.zeros((num_rules, 0)))
        of_pairs, of_siblings = (
            reduce(add, map(ProductSums.of, parts), nothing) for parts in (difference_KN, sibling_KN)
        )
        return cls(of_pairs, of_siblings)

    @property
    def best(self) -> ProductSums:
        """Of the pairs; of the siblings where there is no pair."""
        return self.of_pairs if self.of_pairs.count else self.of_siblings

    def __add__(self, other: "DifferenceProducts") -> "DifferenceProducts":
        return DifferenceProducts(self.of_pairs + other.of_pairs, self.of_siblings + other.of_siblings)


@dataclass(frozen=True, eq=False)
class Siblings:
    """Every two responses of one prompt.

    Attributes:
        first_D, second_D: numbers of the responses.
    """

    first_D: NDArray[np.intp]
    second_D: NDArray[np.intp]

    def differences(self, score_KS: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Of S responses, first minus second, some thousands at a time, [K, D]."""
        for start in range(0, len(self.first_D), _ROWS):
            rows = slice(start, start + _ROWS)
            yield score_KS[:, self.first_D[rows]] - score_KS[:, self.second_D[rows]]


def find_siblings(hash_S: NDArray[np.uint64]) -> Siblings:
    """Every two of S responses whose keys have the same hash, each two once."""
    order_S = np.argsort(hash_S, kind="stable")
    sorted_S = hash_S[order_S]
    first: list[NDArray[np.intp]] = []
    second: list[NDArray[np.intp]] = []
    for distance in range(1, len(sorted_S)):
        found = np.flatnonzero(sorted_S[distance:] == sorted_S[:-distance])
        if not len(found):
            break
        first.append(found)
        second.append(found + distance)
    none = np.zeros(0, dtype=np.intp)
    return Siblings(order_S[np.concatenate([none, *first])], order_S[np.concatenate([none, *second])])
