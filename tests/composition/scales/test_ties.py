import numpy as np
import pytest

from encore_ray.composition.scales.ties import linear_reach, tie_tolerance, tie_tolerances


def test_a_tie_is_a_trillionth_of_the_reach_and_a_short_reach_counts_as_one():
    assert (tie_tolerance(0.1), tie_tolerance(1.0)) == (1e-12, 1e-12)
    assert tie_tolerance(50.0) == pytest.approx(5e-11, rel=1e-15)


def test_many_tolerances_are_those_of_each_reach_to_the_last_bit():
    reach_N = np.array([0.0, 0.3, 1.0, 7.3, 1e6])
    assert tie_tolerances(reach_N).tolist() == [tie_tolerance(reach) for reach in reach_N.tolist()]


def test_a_weighted_sum_reaches_as_far_as_its_weights_whatever_their_sign():
    # |.5| * 10 + |-2| * 1 = 7
    assert linear_reach([0.5, -2.0], [10.0, 1.0]) == 7.0
