import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.schemes import effective_num_rules, encore, one_minus_entropy, uniform
from encore_ray.errors import ConfigError, DataError

ENTROPIES = st.lists(st.floats(0, 3), min_size=1, max_size=30)


def test_encore_is_the_softmax_of_minus_entropy_over_temperature():
    # H = 0 and 2 ln 3 at tau 2: exp(0) : exp(-ln 3) = 1 : 1/3 -> 3/4 and 1/4
    assert encore([0.0, 2 * math.log(3)]).tolist() == pytest.approx([0.75, 0.25], abs=1e-15)


@given(ENTROPIES, st.floats(0.05, 50), st.randoms())
def test_permuting_rules_permutes_weights_to_the_last_bit(entropies, tau, random):
    order = random.sample(range(len(entropies)), len(entropies))
    permuted = [entropies[k] for k in order]
    ceiling = [3.1] * len(entropies)
    assert encore(permuted, temperature=tau).tolist() == encore(entropies, temperature=tau)[order].tolist()
    assert (
        one_minus_entropy(permuted, max_entropy_K=ceiling).tolist()
        == one_minus_entropy(entropies, max_entropy_K=ceiling)[order].tolist()
    )


@given(ENTROPIES, st.floats(0.05, 50), st.floats(0.1, 10))
def test_scaling_entropies_and_temperature_together_changes_nothing(entropies, tau, factor):
    scaled = encore([h * factor for h in entropies], temperature=tau * factor)
    assert scaled == pytest.approx(encore(entropies, temperature=tau), rel=1e-12, abs=1e-300)


@given(ENTROPIES, st.floats(0.05, 50))
def test_weights_are_a_distribution_that_falls_with_entropy(entropies, tau):
    weights = encore(entropies, temperature=tau)
    assert math.fsum(weights) == pytest.approx(1, abs=1e-12)
    assert (np.diff(weights[np.argsort(entropies, kind="stable")]) <= 0).all()


def test_extreme_temperatures_neither_overflow_nor_lose_the_sum():
    assert encore([0.1, 0.2], temperature=1e-300).tolist() == [1.0, 0.0]
    assert encore([800.0, 900.0], temperature=1e300).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_above_zero_and_finite_is_refused(temperature):
    with pytest.raises(ConfigError, match=r"temperature must be a finite number above 0, found"):
        encore([0.1], temperature=temperature)


def test_one_minus_entropy_is_normalised_by_each_rules_own_cells():
    # shares 1 - 1/2 = .5 and 1 - 1/4 = .75 -> .4 and .6
    assert one_minus_entropy([1.0, 1.0], max_entropy_K=[2.0, 4.0]).tolist() == pytest.approx([0.4, 0.6], abs=1e-15)


def test_one_minus_entropy_of_rules_that_all_fill_their_cells_evenly_is_refused():
    full = math.log(20) * (1 - 1e-15)
    with pytest.raises(DataError, match="spread evenly"):
        one_minus_entropy([full, math.log(20) + 1e-9], max_entropy_K=[math.log(20)] * 2)


def test_uniform_weights_and_their_effective_number():
    assert uniform(4).tolist() == [0.25] * 4
    assert effective_num_rules([0.25] * 4) == 4.0
    # 1 / (.5^2 + .5^2 + 0) = 2
    assert effective_num_rules([0.5, 0.5, 0.0]) == 2.0
