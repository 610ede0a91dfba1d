"""The energy-based model of EBRM: f(e, y), how well a reward y suits a response whose embedding is e.

    y -> 16 -> 32 -> 64, beside e -> 1024 -> 512 -> f        tanh between all layers, dropout behind the wide ones

The first wide layer is linear in (e, tower(y)), so the embedding's part of it is computed once a response, whatever
number of rewards is tried. K energies, one a head, share that part; the rest is their own.

Source: EBRM, arXiv 2504.13134. Its official code, github.com/AnamikaLochab/EBRM, also drops half of what leaves the
first two layers of the tower (16 and 32) in training; here the tower is left whole, so that the energies of all rewards
that are tried for a response come from one tower.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TOWER = (16, 32, 64)
WIDE, NARROW = 1024, 512
DROPOUT = 0.5


@dataclass(frozen=True, eq=False)
class Jet:
    """A quantity along the reward axis: value, first and second derivative by y, of the same shape."""

    value: Tensor
    slope: Tensor
    curvature: Tensor

    def tanh(self) -> "Jet":
        value = self.value.tanh()
        steepness = 1 - value * value
        slope = steepness * self.slope
        return Jet(value, slope, steepness * self.curvature - 2 * value * slope * self.slope)

    def linear(self, layer: nn.Linear) -> "Jet":
        both = nn.functional.linear(torch.cat([self.slope, self.curvature]), layer.weight)
        return Jet(layer(self.value), *both.chunk(2))


class EnergyBranch(nn.Module):
    """One energy: the tower of its reward, and all that follows the embedding's part."""

    def __init__(self, num_dims: int):
        super().__init__()
        sizes = (1, *TOWER)
        self.tower = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))
        self.first = nn.Linear(TOWER[-1], WIDE)
        self.second = nn.Linear(WIDE, NARROW)
        self.last = nn.Linear(NARROW, 1)
        _start_as_one_layer(self.first, num_inputs=num_dims + TOWER[-1])

    def reward_part(self, y: Tensor) -> Tensor:
        """The reward's part of the first wide layer: [...] to [..., 1024]."""
        hidden = y.unsqueeze(-1)
        for layer in self.tower:
            hidden = layer(hidden).tanh()
        return self.first(hidden)

    def first_hidden(self, part: Tensor, y: Tensor) -> Tensor:
        """What leaves the first wide layer."""
        return self._drop((part + self.reward_part(y)).tanh())

    def forward(self, part_BH: Tensor, y_BM: Tensor) -> Tensor:
        """Energies of M rewards for each of B responses.

        Args:
            part_BH: the embedding's part, [B, 1024], from `EnergyNetwork.embed`.
            y_BM: standardised rewards.

        Returns:
            Shape (B, M).
        """
        hidden_BMH = self.first_hidden(part_BH.unsqueeze(1), y_BM)
        return self.last(self._drop(self.second(hidden_BMH).tanh())).squeeze(-1)

    def jet(self, part_BH: Tensor, y_B: Tensor) -> Jet:
        """f with its first and second derivative at one reward for each response, [B] each; without dropout."""
        y_B1 = y_B.unsqueeze(1)
        hidden = Jet(y_B1, torch.ones_like(y_B1), torch.zeros_like(y_B1))
        for layer in self.tower:
            hidden = hidden.linear(layer).tanh()  # pyright: ignore[reportArgumentType]
        hidden = hidden.linear(self.first)
        hidden = Jet(hidden.value + part_BH, hidden.slope, hidden.curvature).tanh()
        found = hidden.linear(self.second).tanh().linear(self.last)
        return Jet(found.value.squeeze(1), found.slope.squeeze(1), found.curvature.squeeze(1))

    def _drop(self, hidden: Tensor) -> Tensor:
        return nn.functional.dropout(hidden, DROPOUT, training=self.training)


class EnergyNetwork(nn.Module):
    """K energies over one embedding.

    Args:
        num_dims: D, width of the embedding.
        num_energies: K.
    """

    def __init__(self, num_dims: int, *, num_energies: int):
        super().__init__()
        self.shared = nn.Linear(num_dims, WIDE, bias=False)
        _start_as_one_layer(self.shared, num_inputs=num_dims + TOWER[-1])
        self.branches = nn.ModuleList(EnergyBranch(num_dims) for _ in range(num_energies))

    @property
    def energies(self) -> Sequence[EnergyBranch]:
        return list(self.branches)  # pyright: ignore[reportReturnType]

    def embed(self, e_BD: Tensor) -> Tensor:
        """The embedding's part of the first wide layer of all energies, [B, 1024], of standardised embeddings."""
        return self.shared(e_BD)


def _start_as_one_layer(layer: nn.Linear, *, num_inputs: int) -> None:
    """Random weights of the size that torch gives a layer over the embedding and the tower together."""
    bound = num_inputs**-0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound)
