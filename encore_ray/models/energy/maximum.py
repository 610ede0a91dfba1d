"""Global maximum in one dimension: a grid by Chebyshev interpolation, then safeguarded Newton steps.

The grid is the same for all responses, so the tower runs once for all of them. Its energies are interpolated: what
enters the last tanh is a smooth function of the reward, which a few Chebyshev nodes determine but for an error that
the last coefficients tell. Where that error leaves grid points in question that are not next to each other, they go
through the network. Two Newton steps then follow the interpolant, two the network itself, inside the bracket; a
response that still moves, on a rough energy, goes on alone.

Source: EBRM, arXiv 2504.13134, which climbs from the base reward for 50 to 200 steps, and from a random one where that
is out of range. One number needs no climbing; of equally high grid points we take the nearest to the base reward.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from encore_ray.models.energy.network import EnergyBranch, Jet
from encore_ray.models.spec.energy import NUM_GRID

NUM_NODES = 12
TAIL = 3  # coefficients whose sizes, summed, bound the interpolation error
MOST_OPEN = 5  # grid points next to each other that make one bracket
STEPS = 2  # on the interpolant, and again on the network
MORE_STEPS = 16  # of a response whose last step was longer than STILL; halving alone gets from 1 to 1.5e-5
STILL = 1e-4  # standard deviations of the reward: Newton's next step is about the square of it
SLICE_ROWS = 128  # a slice's hidden states stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Maxima:
    """The highest energy of each of B responses.

    Attributes:
        reward_B: where it is, standardised.
        boundary_B: bool, it is at an end of the domain.
        energy_BG: on the grid; interpolated but where the maximum was in question.
    """

    reward_B: Tensor
    boundary_B: Tensor
    energy_BG: Tensor


class Maximiser:
    """Finds the maxima of one energy over [low, high].

    Args:
        branch: in evaluation mode.
        low, high: the domain of standardised rewards.
    """

    def __init__(self, branch: EnergyBranch, *, low: float, high: float):
        self._branch, self._low, self._high = branch, low, high
        weight = branch.last.weight
        angle_N = (torch.arange(NUM_NODES, dtype=torch.float64) + 0.5) * math.pi / NUM_NODES
        coefficient_NN = (2 / NUM_NODES) * torch.cos(torch.arange(NUM_NODES)[:, None] * angle_N)
        coefficient_NN[0] /= 2
        nodes_N = (low + high) / 2 + (high - low) / 2 * torch.cos(angle_N)
        grid_G = torch.linspace(low, high, NUM_GRID, dtype=torch.float64)
        self.grid_G = grid_G.to(weight)
        self._coefficient_NN = coefficient_NN.to(weight)
        self._grid_GN = (_chebyshev(self._unit(grid_G)).value @ coefficient_NN).to(weight)
        self._weight_J = weight.detach()[0].abs()
        with torch.inference_mode():
            self._node_part_NH, self._grid_part_GH = (branch.reward_part(y.to(weight)) for y in (nodes_N, grid_G))

    @torch.inference_mode()
    def find(self, part_BH: Tensor, base_B: Tensor) -> Maxima:
        """The maxima of B responses.

        Args:
            part_BH: the embedding's part of the first wide layer.
            base_B: their base rewards, standardised; they decide between equals only.
        """
        slices = zip(part_BH.split(SLICE_ROWS), base_B.split(SLICE_ROWS), strict=True)
        found = [self._find(part_SH, base_S) for part_SH, base_S in slices]
        return Maxima(
            torch.cat([maxima.reward_B for maxima in found]),
            torch.cat([maxima.boundary_B for maxima in found]),
            torch.cat([maxima.energy_BG for maxima in found]),
        )

    def _find(self, part_BH: Tensor, base_B: Tensor) -> Maxima:
        branch = self._branch
        last_BNJ = branch.second((part_BH.unsqueeze(1) + self._node_part_NH).tanh_())
        coefficient_BNJ = self._coefficient_NN @ last_BNJ
        energy_BG = branch.last((self._grid_GN @ last_BNJ).tanh_()).squeeze(-1)
        error_B = (coefficient_BNJ[:, -TAIL:].abs().sum(dim=1) * self._weight_J).sum(dim=1)
        first_B, best_B, last_B = self._highest(part_BH, base_B, energy_BG, error_B)
        low_B, high_B = self.grid_G[(first_B - 1).clamp(min=0)], self.grid_G[(last_B + 1).clamp(max=NUM_GRID - 1)]
        climb = _Climb.start(self.grid_G[best_B], low_B, high_B)
        for _ in range(STEPS):
            climb = climb.step(self._interpolated(coefficient_BNJ, climb.y_B))
        climb = _Climb.start(climb.y_B, low_B, high_B)  # the interpolant's slopes have no say in the network's
        for _ in range(STEPS):
            climb = climb.step(branch.jet(part_BH, climb.y_B))
        y_B = climb.y_B
        row_C = torch.arange(len(y_B), device=y_B.device)
        for _ in range(MORE_STEPS):
            moving_C = climb.moved_B.abs() > STILL
            if not moving_C.any():
                break
            row_C, climb = row_C[moving_C], climb.take(moving_C)
            climb = climb.step(branch.jet(part_BH[row_C], climb.y_B))
            y_B[row_C] = climb.y_B
        boundary_B = self._move_to_ends(part_BH, y_B, (first_B == 0, self._low), (last_B == NUM_GRID - 1, self._high))
        return Maxima(y_B, boundary_B, energy_BG)

    def _highest(
        self, part_BH: Tensor, base_B: Tensor, energy_BG: Tensor, error_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """First, best and last grid point of those that may be highest; energies in question are computed in place."""
        point_G = torch.arange(NUM_GRID, device=energy_BG.device)
        open_BG = energy_BG >= (energy_BG.amax(dim=1) - 2 * error_B).unsqueeze(1)
        first_B = point_G.where(open_BG, NUM_GRID).amin(dim=1)
        last_B = point_G.where(open_BG, -1).amax(dim=1)
        num_open_B = open_BG.sum(dim=1)
        doubtful_B = (last_B - first_B >= num_open_B) | (num_open_B > MOST_OPEN)
        if doubtful_B.any():
            row_C, point_C = (open_BG & doubtful_B.unsqueeze(1)).nonzero(as_tuple=True)
            hidden_CH = (part_BH[row_C] + self._grid_part_GH[point_C]).tanh_()
            energy_BG[row_C, point_C] = self._branch.last(self._branch.second(hidden_CH).tanh_()).squeeze(1)
        highest_BG = energy_BG.masked_fill(~open_BG, -math.inf)
        tied_BG = highest_BG == highest_BG.amax(dim=1, keepdim=True)
        distance_BG = (self.grid_G - base_B.unsqueeze(1)).abs()
        best_B = distance_BG.masked_fill(~tied_BG, math.inf).argmin(dim=1)
        return torch.where(doubtful_B, best_B, first_B), best_B, torch.where(doubtful_B, best_B, last_B)

    def _interpolated(self, coefficient_BNJ: Tensor, y_B: Tensor) -> Jet:
        """The interpolant's energy and derivatives at one reward for each response."""
        scale = 2 / (self._high - self._low)
        basis = _chebyshev(self._unit(y_B))
        basis_B3N = torch.stack([basis.value, scale * basis.slope, scale**2 * basis.curvature], dim=1)
        value_BJ, slope_BJ, curvature_BJ = (basis_B3N @ coefficient_BNJ).unbind(dim=1)
        found = Jet(value_BJ, slope_BJ, curvature_BJ).tanh().linear(self._branch.last)
        return Jet(found.value.squeeze(1), found.slope.squeeze(1), found.curvature.squeeze(1))

    def _move_to_ends(self, part_BH: Tensor, y_B: Tensor, *ends: tuple[Tensor, float]) -> Tensor:
        """Put rewards at the end of the domain where that is at least as high, or as near as can be; says which."""
        boundary_B = torch.zeros_like(y_B, dtype=torch.bool)
        for beside_B, end in ends:
            row_C = beside_B.nonzero().squeeze(1)
            tried_C2 = torch.stack([y_B[row_C], torch.full_like(y_B[row_C], end)], dim=1)
            here_C, there_C = self._branch(part_BH[row_C], tried_C2).unbind(dim=1)
            row_C = row_C[(there_C >= here_C) | ((y_B[row_C] - end).abs() <= STILL)]
            y_B[row_C] = end
            boundary_B[row_C] = True
        return boundary_B

    def _unit(self, y: Tensor) -> Tensor:
        """Rewards of the domain as numbers from -1 to 1."""
        return (2 * y - (self._low + self._high)) / (self._high - self._low)


@dataclass(frozen=True, eq=False)
class _Climb:
    """Newton's way to a maximum between low and high: where it is, and what it last moved by."""

    y_B: Tensor
    low_B: Tensor
    high_B: Tensor
    moved_B: Tensor

    @classmethod
    def start(cls, y_B: Tensor, low_B: Tensor, high_B: Tensor) -> "_Climb":
        return cls(y_B, low_B, high_B, torch.full_like(y_B, math.inf))

    def step(self, here: Jet) -> "_Climb":
        """Every slope makes the bracket smaller. A step that would leave it, or lead downhill, goes to its middle."""
        y_B = self.y_B
        low_B, high_B = torch.where(here.slope > 0, y_B, self.low_B), torch.where(here.slope < 0, y_B, self.high_B)
        newton_B = y_B - here.slope / here.curvature
        inside_B = (here.curvature < 0) & (newton_B >= low_B) & (newton_B <= high_B)
        next_B = torch.where(inside_B, newton_B, (low_B + high_B) / 2)
        return _Climb(next_B, low_B, high_B, next_B - y_B)

    def take(self, kept_B: Tensor) -> "_Climb":
        return _Climb(self.y_B[kept_B], self.low_B[kept_B], self.high_B[kept_B], self.moved_B[kept_B])


def _chebyshev(x_B: Tensor) -> Jet:
    """Chebyshev polynomials T_0 .. T_(n-1) at x with their derivatives by x, [B, n] each."""
    ones_B, zeros_B = torch.ones_like(x_B), torch.zeros_like(x_B)
    value, slope, curvature = [ones_B, x_B], [zeros_B, ones_B], [zeros_B, zeros_B]
    for k in range(2, NUM_NODES):
        value.append(2 * x_B * value[k - 1] - value[k - 2])
        slope.append(2 * value[k - 1] + 2 * x_B * slope[k - 1] - slope[k - 2])
        curvature.append(4 * slope[k - 1] + 2 * x_B * curvature[k - 1] - curvature[k - 2])
    return Jet(*(torch.stack(parts, dim=1) for parts in (value, slope, curvature)))
