import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.consensus.consensus import find_consensus
from encore_ray.composition.weigh.formulas import effective_num_rules, encore, one_minus_entropy, uniform
from encore_ray.composition.weigh.scheme import Evidence, Scheme
from encore_ray.composition.weigh.schemes import (
    BestSingle,
    BradleyTerry,
    BradleyTerrySimplex,
    Consensus,
    ConsensusEncore,
    Encore,
    InverseVariance,
    LowestEntropy,
    OneMinusEntropy,
    Random,
    Single,
    Uniform,
)
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


def evidence(entropies, **known):
    names = tuple(f"rule{k}" for k in range(len(entropies)))
    return Evidence(names, tuple(entropies), (3.1,) * len(names), **known)


ALL: list[Scheme] = [
    Encore(0.5),
    OneMinusEntropy(),
    LowestEntropy(1),
    Uniform(),
    Random(),
    Single("rule0"),
    BestSingle(),
    InverseVariance(),
    Consensus(),
    ConsensusEncore(temperature=0.5),
    BradleyTerrySimplex(),
]


@given(ENTROPIES, st.sampled_from(ALL))
def test_weights_are_not_negative_and_sum_to_one(entropies, scheme):
    num_rules = len(entropies)
    known = evidence(
        entropies,
        variance_K=tuple(float(k) for k in range(1, num_rules + 1)),
        accuracy_K=tuple(k / num_rules for k in range(num_rules)),
        bradley_terry={True: tuple(1 / num_rules for _ in range(num_rules))},
        consensus=find_consensus(np.full((num_rules, num_rules), 0.25) + np.eye(num_rules), num_pairs=9),
    )
    weight_K = scheme.weigh(known)
    assert weight_K.shape == (num_rules,)
    assert weight_K.dtype == np.float64
    assert (weight_K >= 0).all()
    assert math.fsum(weight_K) == pytest.approx(1, abs=1e-12)


def test_schemes_are_told_apart_by_name_and_by_whether_they_use_labels():
    found = {scheme.name: scheme.uses_labels for scheme in [*ALL, BradleyTerry()]}
    assert found == {
        "encore": False,
        "one_minus_entropy": False,
        "lowest_entropy": False,
        "uniform": False,
        "random": False,
        "single": False,
        "best_single": True,
        "inverse_variance": False,
        "consensus": False,
        "consensus_encore": False,
        "bradley_terry_simplex": True,
        "bradley_terry": True,
    }
    assert Encore(1).params == {"temperature": 1.0}
    assert LowestEntropy(3).params == {"num_rules": 3}
    assert Random(7, 2).params == {"seed": 7, "draw": 2}
    assert Single("kind").params == {"rule": "kind"}


@given(ENTROPIES, st.floats(0.05, 5), st.floats(1.01, 10))
def test_a_higher_temperature_never_gives_the_lowest_entropy_more_weight(entropies, tau, factor):
    lowest = entropies.index(min(entropies))
    cold, warm = (Encore(t).weigh(evidence(entropies))[lowest] for t in (tau, tau * factor))
    assert warm <= cold * (1 + 1e-12)


def test_the_lowest_entropies_share_the_weight_and_equal_ones_go_by_rule_order():
    assert LowestEntropy(2).weigh(evidence([1.0, 0.5, 0.5, 0.5])).tolist() == [0.0, 0.5, 0.5, 0.0]
    assert LowestEntropy().weigh(evidence([5.0, 4, 3, 2, 1, 0])).tolist() == [0.0, 0.2, 0.2, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("num_rules", [0, 3])
def test_lowest_entropy_of_more_rules_than_there_are_is_refused(num_rules):
    with pytest.raises(ConfigError, match=f"keeps {num_rules} rules, of 2 .*from 1 to 2"):
        LowestEntropy(num_rules).weigh(evidence([1.0, 2.0]))


def test_a_random_draw_is_found_again_by_its_number_alone():
    # The stream of PCG64(5) as doubles, three a draw: exponentials -log(1 - u) over their sum.
    uniform_DK = np.random.Generator(np.random.PCG64(5)).random((4, 3))
    exponential_DK = -np.log1p(-uniform_DK)
    expected_DK = exponential_DK / exponential_DK.sum(axis=1, keepdims=True)
    found_DK = [Random(5, draw).weigh(evidence([0.0] * 3)) for draw in range(4)]
    np.testing.assert_allclose(found_DK, expected_DK, rtol=1e-14)
    assert Random(5, 1).weigh(evidence([1.0] * 3)).tolist() == found_DK[1].tolist()


def test_random_draws_are_flat_over_the_simplex():
    # Dirichlet(1, 1, 1): mean 1/3, variance (1/3)(2/3)/4 = 1/18; 4 standard errors over 2,000 draws
    draws_DK = np.array([Random(0, draw).weigh(evidence([0.0] * 3)) for draw in range(2000)])
    assert draws_DK.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=4 * math.sqrt(1 / 18 / 2000))
    assert draws_DK.var(axis=0) == pytest.approx([1 / 18] * 3, rel=0.15)


def test_single_rules_have_all_the_weight():
    assert Single("rule1").weigh(evidence([0.0, 1.0])).tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError, match="names 'rule9'; rules that can have a weight: rule0, rule1"):
        Single("rule9").weigh(evidence([0.0, 1.0]))
    known = evidence([0.0] * 3, accuracy_K=(0.4, 0.7, 0.7))
    assert BestSingle().weigh(known).tolist() == [0.0, 1.0, 0.0]


def test_inverse_variance_gives_nothing_to_a_rule_that_never_varies():
    # 1/4 : 1/1 -> .2 and .8, whatever the unit
    for unit in (1.0, 1e-200, 1e200):
        known = evidence([0.0] * 3, variance_K=(4 * unit, unit, 0.0))
        assert InverseVariance().weigh(known).tolist() == pytest.approx([0.2, 0.8, 0.0], abs=1e-15)
    with pytest.raises(DataError, match="No rule's score difference varies"):
        InverseVariance().weigh(evidence([0.0], variance_K=(0.0,)))


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (BestSingle(), "best_single needs calibration pairs"),
        (InverseVariance(), "inverse_variance needs pairs"),
        (BradleyTerry(), "bradley_terry needs calibration pairs"),
    ],
)
def test_a_scheme_without_its_pairs_is_refused(scheme, message):
    with pytest.raises(DataError, match=message):
        scheme.weigh(evidence([0.0, 1.0]))


@pytest.mark.parametrize("scheme", [BradleyTerry(), BradleyTerrySimplex()])
def test_a_fit_that_is_all_zero_gives_no_weights(scheme):
    # the simplex leaves an all-zero fit out: it cannot be divided by its sum
    with pytest.raises(DataError, match=f"{scheme.name} gives every rule weight 0: no rule agrees"):
        scheme.weigh(evidence([0.0, 1.0], bradley_terry={False: (0.0, 0.0)}))


ALIKE = find_consensus(np.full((5, 5), 0.25) + 0.75 * np.eye(5), num_pairs=9)


def test_consensus_times_encore_is_their_product_over_its_sum():
    # five rules of loading .5 each, so that consensus weights are .2 each, times exp(0), exp(-ln 3) and 0 for the rest
    weight_K = ConsensusEncore(temperature=1.0).weigh(evidence([0.0, math.log(3), 900, 900, 900], consensus=ALIKE))
    assert ALIKE.trusted
    assert weight_K == pytest.approx([0.75, 0.25, 0, 0, 0], abs=1e-12)


def test_consensus_times_encore_is_known_where_encore_gives_all_to_a_rule_without_consensus():
    r_KK = np.full((6, 6), 0.25) + 0.75 * np.eye(6)
    r_KK[0, 1:] = r_KK[1:, 0] = -0.2
    found = evidence([0.0, 1, 2, 3, 4, 5], consensus=find_consensus(r_KK, num_pairs=9))
    weight_K = ConsensusEncore(force_consensus=True, temperature=1e-3).weigh(found)
    assert weight_K.tolist() == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("scheme", [Consensus(), ConsensusEncore()])
def test_consensus_without_two_responses_to_compare_is_refused(scheme):
    with pytest.raises(DataError, match=f"Scheme {scheme.name} needs pairs, or several responses to one prompt"):
        scheme.weigh(evidence([0.1, 0.2]))
