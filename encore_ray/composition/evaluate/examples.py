"""The few pairs to look at: those whose rewards are farthest apart, on the label's side and on the other."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_KEPT = 20  # of either kind


@dataclass(frozen=True)
class Example:
    """One pair.

    Attributes:
        unit: the part of the table that it lies in. subset: None where it has none.
        margin: reward of the chosen less that of the rejected response.
    """

    pair_id: str
    unit: str
    subset: str | None
    margin: float


@dataclass(frozen=True)
class Examples:
    """Pairs of the lowest margins under 0, and of the highest above; ``+`` is associative and commutative.

    Attributes:
        losses: the lowest margin first. wins: the highest first. Equal ones are ordered by pair_id.
    """

    losses: tuple[Example, ...]
    wins: tuple[Example, ...]

    @classmethod
    def of(
        cls,
        margin_N: NDArray[np.float64],
        *,
        pair_ids: Sequence[str],
        unit: str,
        tolerance: float,
        subsets: Sequence[str | None] | None = None,
    ) -> "Examples":
        """Those of one unit; margins of at most `tolerance` are ties, and NaN is none."""

        def farthest(sign: int) -> list[Example]:
            far_N = np.flatnonzero(sign * margin_N > tolerance)
            if len(far_N) > MOST_KEPT:  # all that are as far as the last of them: ids decide which are kept
                last = np.partition(sign * margin_N[far_N], -MOST_KEPT)[-MOST_KEPT]
                far_N = far_N[sign * margin_N[far_N] >= last]
            return [
                Example(pair_ids[row], unit, subsets[row] if subsets is not None else None, float(margin_N[row]))
                for row in far_N.tolist()
            ]

        return cls(_first(farthest(-1), sign=-1), _first(farthest(1), sign=1))

    def __add__(self, other: "Examples") -> "Examples":
        return Examples(
            _first([*self.losses, *other.losses], sign=-1),
            _first([*self.wins, *other.wins], sign=1),
        )

    def to_dict(self) -> dict[str, Any]:
        """The ``examples`` object of metrics.json: without the units, which are called by where data lie."""
        return {
            kind: [{"pair_id": each.pair_id, "subset": each.subset, "margin": each.margin} for each in found]
            for kind, found in (("losses", self.losses), ("wins", self.wins))
        }


def _first(examples: Iterable[Example], *, sign: int) -> tuple[Example, ...]:
    return tuple(heapq.nsmallest(MOST_KEPT, examples, key=lambda each: (-sign * each.margin, each.pair_id)))
