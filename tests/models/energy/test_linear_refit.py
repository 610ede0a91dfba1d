"""Plain linear heads on the pairs that energies are trained on: each learns from its own."""

import numpy as np

from encore_ray.models.energy.data import measure_corpus
from encore_ray.models.energy.linear_refit import refit_linear
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.models.spec.energy import EnergySettings


def test_each_head_learns_from_the_pairs_that_agree_under_it() -> None:
    rng = np.random.default_rng(0)
    e_N2D = rng.standard_normal((1000, 2, 4)).astype(np.float16)
    # The first head's reward is dimension 0, the second's is dimension 1 turned round; the third is always wrong.
    r_N2K = np.stack([e_N2D[:, :, 0], -e_N2D[:, :, 1], np.tile([0.0, 1.0], (1000, 1))], axis=2).astype(np.float64)
    blocks = PairBlocks(1, lambda number: PairBlock(e_N2D, r_N2K, np.zeros(1000, dtype=bool)))
    moments = measure_corpus(blocks)
    settings = EnergySettings(batch_responses=50, epochs=5)
    weight_KD = refit_linear(blocks, moments=moments, settings=settings)
    assert weight_KD.shape == (3, 4)
    assert np.abs(weight_KD[:2]).argmax(axis=1).tolist() == [0, 1]
    assert weight_KD[0, 0] > 0.1 and weight_KD[1, 1] < -0.1
    assert not weight_KD[2].any()
    np.testing.assert_array_equal(refit_linear(blocks, moments=moments, settings=settings), weight_KD)
