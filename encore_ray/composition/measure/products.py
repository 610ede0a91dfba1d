"""How the differences of rules go together over pairs: their second moments about zero, in which no label enters."""

from dataclasses import dataclass

from encore_ray.composition.sums.products import ProductSums


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

    @property
    def best(self) -> ProductSums:
        """Of the pairs; of the siblings where there is no pair."""
        return self.of_pairs if self.of_pairs.count else self.of_siblings

    def __add__(self, other: "DifferenceProducts") -> "DifferenceProducts":
        return DifferenceProducts(self.of_pairs + other.of_pairs, self.of_siblings + other.of_siblings)
