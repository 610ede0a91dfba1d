"""The four numbers of RM-Bench from rewards of three styles a side."""

import itertools
from typing import Any

from encore_ray.composition.evaluate.rewardbench2 import Responses
from encore_ray.composition.evaluate.rm_bench import RMBench


def responses(*groups: tuple[list[float], list[float]], names: tuple[str, str] = ("c", "r")) -> Responses:
    """All nine pairs of each group of three chosen and three rejected rewards."""
    rows: list[tuple[Any, ...]] = [
        (f"g{number}", f"{names[0]}{c}", f"{names[1]}{r}", chosen[c], rejected[r])
        for number, (chosen, rejected) in enumerate(groups)
        for c, r in itertools.product(range(3), range(3))
    ]
    ids, chosen_ids, rejected_ids, chosen_rewards, rejected_rewards = zip(*rows, strict=True)
    return Responses(ids, chosen_ids, rejected_ids, chosen_rewards, rejected_rewards)


STYLISH = ([1.0, 2.0, 3.0], [0.5, 1.5, 2.5])  # a reward that likes style: chosen beats rejected of no richer style
RIGHT = ([9.0, 9.0, 9.0], [1.0, 2.0, 3.0])


def scores(*groups: tuple[list[float], list[float]]) -> dict[str, float | None] | None:
    return RMBench.measure(responses(*groups), tolerance=1e-9).scores()


def test_easy_normal_and_hard_are_below_on_and_above_the_diagonal():
    assert scores(STYLISH) == {"easy": 1.0, "normal": 1.0, "hard": 0.0, "mean": 2 / 3}
    # of six hard pairs those of the second group are won: 3 / 6; the mean is (1 + 1 + .5) / 3
    assert scores(STYLISH, RIGHT) == {"easy": 1.0, "normal": 1.0, "hard": 0.5, "mean": 2.5 / 3}


def test_a_tie_is_a_loss():
    found = scores(([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))
    # c0 ties with all: one of three diagonal pairs is lost, two of three hard ones (c0 r1, c0 r2), no easy one
    assert found == {"easy": 1.0, "normal": 2 / 3, "hard": 1 / 3, "mean": 2 / 3}


def test_parts_of_the_rows_add_up():
    whole = RMBench.measure(responses(STYLISH, RIGHT), tolerance=0.0)
    assert whole == sum((RMBench.measure(responses(one), tolerance=0.0) for one in (STYLISH, RIGHT)), RMBench())


def test_groups_of_other_benchmarks_are_passed_over():
    assert RMBench.measure(None, tolerance=0.0).scores() is None
    assert RMBench.measure(responses(RIGHT, names=("a", "b")), tolerance=0.0).scores() is None
    cyclic = Responses(["g"] * 3, ["c0", "c1", "c2"], ["r0", "r1", "r2"], [1.0] * 3, [0.0] * 3)  # RewardBench 2
    assert RMBench.measure(cyclic, tolerance=0.0).scores() is None
