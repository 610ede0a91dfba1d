"""Strata of negatives stand for as many random ones: the same sums in expectation, with less noise."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from encore_ray.models.energy.network import EnergyNetwork
from encore_ray.models.energy.noise import Noise, NoiseSampler
from encore_ray.models.energy.training import contrastive_loss
from encore_ray.models.spec.energy import EnergySettings

CPU = torch.device("cpu")
STRATIFIED = EnergySettings()
RANDOM = EnergySettings(num_strata=STRATIFIED.num_negatives)

# What is summed over negatives, by their noise in units of sigma, and its mean under a standard normal. The last two
# rise in the tails, as an energy over the density of the noise does.
SUMMED: list[tuple[Callable[[Tensor], Tensor], float]] = [
    (torch.ones_like, 1.0),
    (lambda z: z, 0.0),
    (lambda z: z**2, 1.0),
    (lambda z: (z > 0.7).float(), 0.5 * math.erfc(0.7 / math.sqrt(2))),
    (lambda z: (z**2 / 4).exp(), math.sqrt(2)),
    (lambda z: (3 * z**2 / 8 + z / 10).exp(), 2 * math.exp(0.02)),
]


def draws(settings: EnergySettings, num_rows: int) -> Noise:
    torch.manual_seed(1)
    return NoiseSampler(settings).draw(num_rows, CPU)


@pytest.mark.parametrize(("summed", "mean"), SUMMED, ids=range(len(SUMMED)))
def test_sums_over_strata_have_the_expectation_of_those_over_random_negatives(summed, mean):
    noise = draws(STRATIFIED, 4000)
    z_BM, count_M = noise.noise_BM[:, 1:].double() / STRATIFIED.sigma, noise.count_M[1:].double()
    assert z_BM.shape == (4000, 64)
    sum_B = (count_M * summed(z_BM)).sum(dim=1) / STRATIFIED.num_negatives
    standard_error = float(sum_B.std()) / math.sqrt(len(sum_B))
    assert abs(float(sum_B.mean()) - mean) < max(4.5 * standard_error, 1e-6)


def test_the_strata_part_the_line_and_count_for_all_negatives():
    noise = draws(STRATIFIED, 500)
    z_BS = noise.noise_BM[:, 1:] / STRATIFIED.sigma
    ordered_BS = z_BS[:, [*range(32), *range(63, 31, -1)]]
    assert (ordered_BS.diff(dim=1) > 0).all()
    assert float(noise.count_M.sum()) == pytest.approx(STRATIFIED.num_negatives + 1)
    assert noise.count_M[[0, 1, 33]].tolist() == pytest.approx([1.0, 0.5, 0.5], rel=1e-4)
    torch.testing.assert_close(noise.log_density_BM, -0.5 * (noise.noise_BM / STRATIFIED.sigma) ** 2)


def test_the_loss_and_its_gradient_are_those_of_random_negatives_with_less_noise():
    torch.manual_seed(0)
    (branch,) = EnergyNetwork(8, num_energies=1).eval().energies
    torch.nn.init.normal_(branch.last.weight, std=0.3)
    part_BH = torch.randn(1, 1024)

    def repeated(settings: EnergySettings) -> tuple[Tensor, Tensor]:
        noise = draws(settings, 300)
        noise.noise_BM[:, 0], noise.log_density_BM[:, 0] = 0.0, 0.0
        y_BM = noise.noise_BM.requires_grad_()
        loss_B = contrastive_loss(branch(part_BH.expand(300, -1), y_BM), noise.log_density_BM, noise.count_M)
        (slope_BM,) = torch.autograd.grad(loss_B.sum(), y_BM)
        return loss_B.detach(), slope_BM[:, 0]

    (loss_B, slope_B), (random_loss_B, random_slope_B) = repeated(STRATIFIED), repeated(RANDOM)
    for found_B, expected_B in ((loss_B, random_loss_B), (slope_B, random_slope_B)):
        margin = 4 * math.hypot(float(found_B.std()), float(expected_B.std())) / math.sqrt(300)
        assert abs(float(found_B.mean() - expected_B.mean())) < margin + 0.01 * float(expected_B.mean().abs())
    assert float(loss_B.std()) < float(random_loss_B.std())


def test_few_negatives_are_drawn_one_by_one():
    settings = EnergySettings(num_negatives=64)
    sampler = NoiseSampler(settings)
    torch.manual_seed(3)
    noise = sampler.draw(5, CPU)
    torch.manual_seed(3)
    expected_BM = settings.sigma * torch.randn(5, 65)
    expected_BM[:, 0] *= settings.beta
    assert torch.equal(noise.noise_BM, expected_BM) and torch.equal(noise.count_M, torch.ones(65))
    assert sampler.num_drawn == 65 == NoiseSampler(EnergySettings(num_negatives=65)).num_drawn
