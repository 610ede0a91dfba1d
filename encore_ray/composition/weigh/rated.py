"""Whose entropy weighs: of a judge's ratings, as in the paper, or of the scores; and what the other would say.

The paper takes the entropies of the ratings that heads were trained on, not of what the heads say. Both are possible,
and are different numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.errors import DataError


@dataclass(frozen=True, eq=False)
class Ratings:
    """A second table under the same rules, whose entropies weigh.

    Attributes:
        table: where it is.
        statistics: of it, rules in the order of the scores'.
    """

    table: str
    statistics: RuleStatistics

    def raise_problems(self) -> None:
        """Raise DataError if a rating is not finite, or out of range where its rule does not clip."""
        found = "\n".join(self.statistics.problems())
        if found:
            raise DataError(
                f"weigh.ratings, {self.table}: {found}\nRatings on another scale than the scores' need a rules.yaml of "
                "their own, beside them."
            )


@dataclass(frozen=True)
class RatedRecord:
    """That the entropies are a table of ratings', and what the scores' own say, as stored in weights.json.

    Attributes:
        table, counts_sha256, num_responses: of the ratings.
        entropies, weights: by the scores, of each rule.
    """

    table: str
    counts_sha256: str
    num_responses: int
    entropies: dict[str, float]
    weights: dict[str, float]

    @classmethod
    def of(
        cls, ratings: Ratings, *, names: Sequence[str], entropy_K: Sequence[float], weight_K: Sequence[float]
    ) -> "RatedRecord":
        """The record of these ratings beside the scores' own entropies, and the weights that these would give."""
        return cls(
            table=ratings.table,
            counts_sha256=ratings.statistics.counts_sha256,
            num_responses=ratings.statistics.num_responses,
            entropies=dict(zip(names, entropy_K, strict=True)),
            weights=dict(zip(names, weight_K, strict=True)),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "counts_sha256": self.counts_sha256,
            "num_responses": self.num_responses,
            "by_scores": {"entropies": self.entropies, "weights": self.weights},
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "RatedRecord":
        """Inverse of `to_dict`; KeyError or TypeError on anything else."""
        by_scores = value["by_scores"]
        return cls(
            value["table"], value["counts_sha256"], value["num_responses"], by_scores["entropies"], by_scores["weights"]
        )
