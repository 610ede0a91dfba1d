import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.scales.binning import Binning, choose_binning, snap
from encore_ray.errors import ConfigError
from encore_ray.rules import Scale
from tests.composition.builders import RATINGS, UNIT, make_rule

FIVE = Binning("bins", 0.0, 1.0, num_bins=5)
TENTHS = Scale(0.0, 0.4, (0.0, 0.1, 0.2, 0.3, 0.4))


def test_a_bin_is_the_floor_of_the_position_and_the_upper_end_belongs_to_the_last_bin():
    # 5 bins on [0, 1]: .19 * 5 = .95 -> 0, .2 * 5 = 1 -> 1, .999 * 5 = 4.995 -> 4, 1 * 5 = 5 -> last bin, 4
    assert FIVE.assign(np.array([0.0, 0.19, 0.2, 0.999, 1.0])).tolist() == [0, 0, 1, 4, 4]


def test_a_score_falls_into_the_nearest_level():
    levels = Binning("levels", 1.0, 10.0, levels=(1.0, 2.0, 10.0))
    # midpoints 1.5 and 6; halfway goes up
    assert levels.assign(np.array([0.6, 1.4, 1.5, 5.9, 6.1, 99.0])).tolist() == [0, 0, 1, 1, 2, 2]
    assert levels.num_cells == 3
    assert levels.step == 1.0


def test_scores_beyond_the_ends_are_outside_and_fall_into_the_end_cells():
    scores = np.array([-0.01, 0.0, 1.0, 1.01])
    assert FIVE.outside(scores).tolist() == [True, False, False, True]
    assert FIVE.assign(scores).tolist() == [0, 0, 4, 4]


@pytest.mark.parametrize("lo", [0.0, 0.1, -3.0, 2.0**24, 1e8])
def test_scores_that_float32_moves_beyond_an_end_fall_into_its_cell(lo):
    # 2^24 is stored to 1, so a width of 1 has 20 cells within a step of float32: no cell may be -20 or 40
    binning = Binning("bins", lo, lo + 1.0, num_bins=20)
    beyond = np.array([lo - 1.0, lo, lo + 1.0, lo + 2.0])
    assert binning.assign(beyond).tolist() == [0, 0, 19, 19]
    assert binning.assign(beyond[1:3], are_within=True).tolist() == [0, 19]


def test_with_levels_more_than_half_a_step_beyond_the_ends_is_outside():
    levels = choose_binning(make_rule(scale=RATINGS))
    assert levels.outside(np.array([-0.51, -0.49, 10.49, 10.51])).tolist() == [True, False, False, True]


@given(st.floats(-100, 100), st.floats(0.001, 100))
def test_the_declared_ends_are_in_range_when_stored_as_float32(lo, width):
    stored = np.array([lo, lo + width]).astype(np.float32).astype(np.float64)
    assert not Binning("bins", lo, lo + width, num_bins=20).outside(stored).any()


def test_declared_levels_are_the_default_and_twenty_bins_otherwise():
    assert choose_binning(make_rule(scale=RATINGS)).levels == RATINGS.levels
    assert choose_binning(make_rule(scale=UNIT)) == Binning("bins", 0.0, 1.0, num_bins=20)
    assert choose_binning(make_rule(scale=RATINGS), num_bins=5) == Binning("bins", 0.0, 10.0, num_bins=5)


def test_observed_ends_replace_the_declared_ones_only_when_given():
    assert choose_binning(make_rule(), observed=(0.25, 0.5)) == Binning("bins", 0.25, 0.5, num_bins=20)
    # a constant score has no width of its own: the declared width of 1 stands in
    assert choose_binning(make_rule(), observed=(0.25, 0.25)) == Binning("bins", 0.25, 1.25, num_bins=20)


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (make_rule(), {"levels": True}, "Rule kind: weigh.levels needs rating levels"),
        (make_rule(scale=RATINGS), {"levels": True, "num_bins": 5}, "not both"),
        (make_rule(), {"num_bins": 1}, "from 2 to 256, found 1"),
        (make_rule(), {"num_bins": 257}, "from 2 to 256, found 257"),
        (make_rule(), {"observed": (1.0, 0.0)}, "ascending"),
        (make_rule(), {"observed": (0.0, math.inf)}, "finite"),
        (make_rule(scale=RATINGS), {"observed": (0.0, 1.0)}, "its cells are levels"),
        (make_rule(scale=Scale(0.0, 256.0, tuple(map(float, range(257))))), {}, "Use weigh.num_bins"),
    ],
)
def test_a_binning_that_cannot_be_is_refused_with_the_reason(rule, options, message):
    with pytest.raises(ConfigError, match=message):
        choose_binning(rule, **options)


@pytest.mark.parametrize("binning", [FIVE, Binning("levels", 1.0, 3.0, levels=(1.0, 2.0, 3.0))])
def test_a_binning_survives_its_dictionary(binning):
    assert Binning.from_dict(binning.to_dict()) == binning


def test_the_dictionary_of_a_binning_has_the_keys_of_the_contract():
    assert list(FIVE.to_dict()) == ["kind", "lo", "hi", "num_bins"]
    assert list(choose_binning(make_rule(scale=RATINGS)).to_dict()) == ["kind", "lo", "hi", "levels"]


def test_float32_ratings_become_the_declared_levels_in_float64():
    stored = np.array([0.1, 0.2, 0.3], dtype=np.float32)
    assert stored.astype(np.float64).tolist() != [0.1, 0.2, 0.3]
    assert snap(stored, scale=TENTHS).tolist() == [0.1, 0.2, 0.3]


def test_a_score_that_is_no_level_keeps_its_value():
    # the tolerance is 1e-6 of the step of .1, that is 1e-7
    assert snap([0.2 + 2e-7, 0.2 + 0.5e-7, 0.37], scale=TENTHS).tolist() == [0.2 + 2e-7, 0.2, 0.37]
    assert snap([0.2], scale=UNIT).tolist() == [0.2]


def test_levels_far_from_zero_are_restored_within_the_rounding_of_float32():
    # float32 holds 1000.1 as 1000.099976: 2.4e-5 away, more than 1e-6 of the step of .1
    scale = Scale(1000.0, 1000.2, (1000.0, 1000.1, 1000.2))
    assert snap(np.array([1000.1], dtype=np.float32), scale=scale).tolist() == [1000.1]
