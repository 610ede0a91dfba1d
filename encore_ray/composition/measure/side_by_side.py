"""The scores of one unit under all rules at once, for what is to be seen of rules together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.measure.buckets import BucketProducts
from encore_ray.composition.measure.counts import MeasuredRule
from encore_ray.composition.measure.products import DifferenceProducts
from encore_ray.composition.measure.siblings import PromptUnits, Siblings
from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.sums.products import ProductSums

Compared = Literal["pairs", "siblings"]  # chosen with rejected, or single responses to one prompt with each other


@dataclass(frozen=True, eq=False)
class SideBySide:
    """What is measured of P pairs and S single responses under K rules.

    Attributes:
        difference_KP: chosen - rejected, score_KS: of the single responses; in score units, without polarity.
        hash_P, hash_S: of their resampling keys.
    """

    difference_KP: NDArray[np.float64]
    score_KS: NDArray[np.float64]
    siblings: Siblings
    hash_P: NDArray[np.uint64]
    hash_S: NDArray[np.uint64]

    @classmethod
    def of(
        cls,
        measured_KM: Sequence[Sequence[MeasuredRule]],
        hash_MN: Sequence[NDArray[np.uint64]],
        num_sides_M: Sequence[int],
    ) -> "SideBySide":
        """Bring together M parts of a unit.

        Args:
            measured_KM: of each rule, in each part.
            hash_MN: hashes of the keys of each part's rows.
            num_sides_M: 2 for a part of pairs, 1 for one of single responses.
        """

        def parts_of(num_sides: int) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
            numbers = [m for m, sides in enumerate(num_sides_M) if sides == num_sides]
            hash_N = np.concatenate([hash_MN[0][:0], *(hash_MN[m] for m in numbers)])
            value_KN = np.empty((len(measured_KM), len(hash_N)))
            for value_N, measured_M in zip(value_KN, measured_KM, strict=True):
                start = 0
                for m in numbers:
                    part_P = measured_M[m].score_or_difference_P
                    value_N[start : start + len(part_P)] = part_P
                    start += len(part_P)
            return value_KN, hash_N

        difference_KP, hash_P = parts_of(2)
        score_KS, hash_S = parts_of(1)
        return cls(
            difference_KP=difference_KP,
            score_KS=score_KS,
            siblings=Siblings.of(hash_S),
            hash_P=hash_P,
            hash_S=hash_S,
        )

    def products(self) -> DifferenceProducts:
        """How the differences go together."""
        return DifferenceProducts(ProductSums.of(self.difference_KP), self.siblings.products(self.score_KS))

    def buckets(self, compared: Compared, binnings: Sequence[Binning]) -> BucketProducts:
        """The same by buckets of prompts."""
        if compared == "siblings":
            return BucketProducts.of_siblings(self.score_KS, self.siblings, binnings=binnings)
        return BucketProducts.of(self.difference_KP, self.hash_P, binnings=binnings)

    @property
    def prompt_units(self) -> PromptUnits:
        """Which prompts have single responses here."""
        return PromptUnits.of(self.hash_S)
