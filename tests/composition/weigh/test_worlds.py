"""The planted worlds: where noise drives entropy ENCORE wins, where signal drives it ENCORE loses.

Measured accuracies for another seed at 20,000 pairs; the band for a seed is .02.
"""

import numpy as np
import pytest

from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.weigh.rewards import compose, margin_tolerance
from encore_ray.composition.weigh.schemes import Encore, OneMinusEntropy, Uniform
from encore_ray.composition.weigh.weighing import weigh
from tests.composition.builders import measure, plant_world

SCHEMES = [
    Uniform(),
    Encore(0.25),
    Encore(0.5),
    Encore(1.0),
    Encore(2.0),
    OneMinusEntropy(),
]
NOISE_DRIVES_ENTROPY = {
    "a_K": np.full(10, 0.8),
    "sigma_K": np.geomspace(0.4, 6, 10),
    "pearson": -0.97,
    "accuracies": [0.662, 0.769, 0.740, 0.703, 0.682, 0.748],
}
SIGNAL_DRIVES_ENTROPY = {
    "a_K": np.geomspace(0.05, 1.6, 10),
    "sigma_K": np.ones(10),
    "pearson": 0.98,
    "accuracies": [0.704, 0.615, 0.651, 0.677, 0.690, 0.661],
}


@pytest.mark.parametrize("world", [NOISE_DRIVES_ENTROPY, SIGNAL_DRIVES_ENTROPY], ids=["noise", "signal"])
def test_every_scheme_has_its_measured_accuracy_in_both_worlds(world):
    planted = plant_world(world["a_K"], world["sigma_K"], num_pairs=20_000, seed=11)
    statistics = measure(planted.chosen_KN, planted.rejected_KN, rules=planted.rules)
    found = []
    for scheme in SCHEMES:
        weights = weigh(statistics, scheme=scheme)
        margin_N = compose(planted.chosen_KN, planted.rejected_KN, weights=weights).margin_N
        found.append(Tally.of(margin_N, tolerance=margin_tolerance(weights)).accuracy)
    assert found == pytest.approx(world["accuracies"], abs=0.02)
    assert weigh(statistics).entropy_accuracy.pearson == pytest.approx(world["pearson"], abs=0.03)
