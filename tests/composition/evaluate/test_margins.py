import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.evaluate.margins import NUM_CELLS, MarginHistogram, margin_reach
from encore_ray.composition.weigh.schemes import Uniform
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.rules import RuleSet, Scale
from tests.composition.builders import make_rule, measure, plain

MARGINS = st.lists(st.floats(-20, 20), max_size=30)


def count(margins, *, reach=10.0):
    return MarginHistogram.of(np.array(margins, dtype=np.float64), reach=reach)


def test_margins_fall_into_forty_cells_around_zero():
    shown = count([-10.0, -0.1, 0.0, 0.49, 0.5, 9.99]).to_dict()
    # 40 cells over [-10, 10] are .5 wide; cell 20 begins at 0
    assert shown["edges"] == [-10 + 0.5 * edge for edge in range(NUM_CELLS + 1)]
    assert {cell: n for cell, n in enumerate(shown["counts"]) if n} == {0: 1, 19: 1, 20: 2, 21: 1, 39: 1}


def test_the_ends_are_halved_as_long_as_no_margin_is_left_out():
    assert count([-1.0, 1.2]).to_dict()["edges"][-1] == 1.25  # 10 / 2^3
    assert count([-1.3]).to_dict()["edges"][0] == -2.5
    assert count([0.001]).to_dict()["edges"][-1] == 10 / 32  # five times at most


def test_a_margin_beyond_the_reach_counts_in_an_end_cell():
    shown = count([-11.0, 10.0, 1e300]).to_dict()
    assert (shown["counts"][0], shown["counts"][-1]) == (1, 2)
    assert shown["edges"][-1] == 10.0


@given(MARGINS, st.integers(0, 30))
def test_any_split_gives_the_same_counts_and_none_is_lost(margins, cut):
    whole = count(margins)
    assert plain(count(margins[:cut]) + count(margins[cut:])) == plain(whole)
    assert sum(whole.to_dict()["counts"]) == len(margins)


@pytest.mark.parametrize(("score_range", "reach"), [("unit", 1.0), ("raw", (10 + 1) / 2)])
def test_the_reach_is_the_weighted_sum_of_the_ranges(score_range, reach):
    rules = RuleSet([make_rule("wide", scale=Scale(0.0, 10.0)), make_rule("narrow")])
    weights = weigh(measure([[1.0], [0.5]], [[0.0], [0.1]], rules=rules), scheme=Uniform(), score_range=score_range)
    assert margin_reach(weights) == pytest.approx(reach, abs=1e-15)
