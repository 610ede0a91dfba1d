"""The pairs that a report shows: the farthest margins of all, however the rows are split."""

import numpy as np
import pytest

from encore_ray.composition.evaluate.examples import MOST_KEPT, Examples


def of(margins: list[float], first: int = 0, unit: str = "u") -> Examples:
    ids = [f"p{first + row:04d}" for row in range(len(margins))]
    return Examples.of(np.array(margins), pair_ids=ids, unit=unit, tolerance=1e-9)


def test_the_farthest_margins_of_either_side_are_kept_the_farthest_first():
    found = of([0.5, -0.25, float("nan"), 0.0, 2.0, -3.0])
    assert [(each.pair_id, each.margin) for each in found.losses] == [("p0005", -3.0), ("p0001", -0.25)]
    assert [(each.pair_id, each.margin) for each in found.wins] == [("p0004", 2.0), ("p0000", 0.5)]


@pytest.mark.parametrize("cut", [1, 33, 64, 199])
def test_any_split_in_any_order_keeps_the_same_pairs(cut: int):
    margins = np.random.default_rng(0).integers(-4, 5, size=200).astype(float).tolist()  # of many that are equal
    whole = of(margins)
    first, second = of(margins[:cut]), of(margins[cut:], first=cut)
    assert first + second == second + first == whole
    assert len(whole.losses) == len(whole.wins) == MOST_KEPT
    lowest = sorted((margin, f"p{row:04d}") for row, margin in enumerate(margins))[:MOST_KEPT]
    assert [(each.margin, each.pair_id) for each in whole.losses] == lowest
