"""How margins are spread: an exact, mergeable histogram whose cells are fixed before the first margin is seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.scales.ties import linear_reach
from encore_ray.composition.weigh.weights import Weights

NUM_CELLS = 40  # shown
_MAX_ZOOM = 5  # halvings of the reach: margins of many rules fill a small part of what they could
_NUM_FINE = NUM_CELLS << _MAX_ZOOM


def margin_reach(weights: Weights) -> float:
    """The largest margin of scores within their scales, either way: sum |w_k| range_k, in reward units, > 0.

    Weighed by group, the largest of any group.
    """
    alternatives = [[rule.weight for rule in weights.rules], *weights.group_weights.values()]
    return max(linear_reach(weight_K, weights.width_K) for weight_K in alternatives) or 1.0


@dataclass(frozen=True, eq=False)
class MarginHistogram:
    """Counts of margins over [-reach, reach]; ``+`` is exact, associative and commutative.

    Attributes:
        reach: in reward units, > 0; margins beyond it, of scores out of their scale, count in the end cells.
        count_C: int64, equal cells, [low, high).
    """

    reach: float
    count_C: NDArray[np.int64]

    @classmethod
    def of(cls, margin_N: NDArray[np.float64], *, reach: float) -> "MarginHistogram":
        """Count finite margins."""
        position_N = np.floor((margin_N / reach + 1.0) * (_NUM_FINE // 2))
        cell_N = np.clip(position_N, 0, _NUM_FINE - 1).astype(np.int64)
        return cls(reach, np.bincount(cell_N, minlength=_NUM_FINE).astype(np.int64))

    def __add__(self, other: "MarginHistogram") -> "MarginHistogram":
        assert self.reach == other.reach, "margins of different weights"
        return MarginHistogram(self.reach, self.count_C + other.count_C)

    def to_dict(self) -> dict[str, Any]:
        """The ``histogram`` object of metrics.json: 41 edges and 40 counts.

        The ends are halved, up to five times, as long as no margin is left out: 0 is always the middle edge.
        """
        occupied = np.flatnonzero(self.count_C)
        farthest = max(_NUM_FINE // 2 - occupied[0], occupied[-1] + 1 - _NUM_FINE // 2) if len(occupied) else 1
        zoom = next(z for z in range(_MAX_ZOOM, -1, -1) if farthest <= _NUM_FINE >> (z + 1))
        half, end = _NUM_FINE >> (zoom + 1), self.reach / 2**zoom
        shown_C = self.count_C[_NUM_FINE // 2 - half : _NUM_FINE // 2 + half]
        edges = [end * (2 * cell - NUM_CELLS) / NUM_CELLS for cell in range(NUM_CELLS + 1)]
        return {"edges": edges, "counts": shown_C.reshape(NUM_CELLS, -1).sum(axis=1).tolist()}
