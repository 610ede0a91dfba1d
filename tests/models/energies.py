"""Energies to test with: landscapes by hand, planted pairs, and the slow way to a maximum in float64."""

import copy

import numpy as np
import torch
from torch import Tensor

from encore_ray.models.energy.network import EnergyBranch, EnergyNetwork
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks

LOW, HIGH = -4.0, 4.0


def network(*, num_dims: int = 8, num_energies: int = 1, seed: int = 0, steepness: float = 1.0) -> EnergyNetwork:
    """Random weights; a steepness above 1 scales the layers that see the reward, up to many hills."""
    torch.manual_seed(seed)
    made = EnergyNetwork(num_dims, num_energies=num_energies)
    for branch in made.energies:
        for layer in (*branch.tower, branch.first):
            layer.weight.data *= steepness
        branch.last.weight.data *= 10 * steepness
    return made.eval().requires_grad_(False)


def ascend(branch: EnergyBranch, part_BH: Tensor, base_B: Tensor, *, low: float = LOW, high: float = HIGH) -> Tensor:
    """Gradient ascent from the base reward, in float64: steps that do not climb are halved, to the last bit.

    A base reward out of range starts at its nearest end, where the paper starts at random.
    """
    branch, part_BH = copy.deepcopy(branch).double(), part_BH.double()
    y_B = base_B.double().clamp(low, high)
    rate_B = torch.full_like(y_B, 0.5)
    for _ in range(250):
        y_B.requires_grad_(True)
        value_B = branch(part_BH, y_B.unsqueeze(1)).squeeze(1)
        (slope_B,) = torch.autograd.grad(value_B.sum(), y_B)
        with torch.no_grad():
            next_B = (y_B + rate_B * slope_B).clamp(low, high)
            climbs_B = branch(part_BH, next_B.unsqueeze(1)).squeeze(1) > value_B
            y_B = torch.where(climbs_B, next_B, y_B)
            rate_B = torch.where(climbs_B, 1.2 * rate_B, 0.5 * rate_B)
    return y_B.detach()


def value64(branch: EnergyBranch, part_BH: Tensor, y_B: Tensor) -> Tensor:
    return copy.deepcopy(branch).double()(part_BH.double(), y_B.double().unsqueeze(1)).squeeze(1)


def planted_blocks(
    *, num_blocks: int = 4, size: int = 64, num_dims: int = 8, noise: float = 0.3, seed: int = 0
) -> PairBlocks:
    """Pairs whose first reward is linear in the embedding but for noise; the second is its opposite."""
    direction_D = np.random.default_rng(seed).standard_normal(num_dims) / num_dims**0.5

    def read(number: int) -> PairBlock:
        rng = np.random.default_rng([seed, number])
        e_N2D = rng.standard_normal((size, 2, num_dims)).astype(np.float16)
        quality_N2 = e_N2D.astype(np.float64) @ direction_D
        chosen_N = quality_N2[:, 0] < quality_N2[:, 1]
        e_N2D[chosen_N] = e_N2D[chosen_N][:, ::-1]
        quality_N2[chosen_N] = quality_N2[chosen_N][:, ::-1]
        reward_N2 = 3.0 + 2.0 * quality_N2 + noise * rng.standard_normal((size, 2))
        return PairBlock(e_N2D, np.stack([reward_N2, -reward_N2], axis=2), np.arange(size) % 5 == 0)

    return PairBlocks(num_blocks, read)
