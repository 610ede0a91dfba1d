"""The refined reward is where the energy is highest: against slow ascent in float64, on smooth and on hilly ones."""

import copy

import pytest
import torch

from encore_ray.models.energy.maximum import Maximiser
from encore_ray.models.energy.network import EnergyBranch
from encore_ray.models.spec.energy import NUM_GRID
from tests.models.energies import HIGH, LOW, ascend, network, value64


def parts(num_rows: int, *, seed: int = 1, num_dims: int = 8):
    torch.manual_seed(seed)
    return torch.randn(num_rows, num_dims), torch.randn(num_rows)


def num_hills(branch: EnergyBranch, part_BH: torch.Tensor) -> torch.Tensor:
    """Local maxima of each row inside the domain, on a fine grid."""
    fine = torch.linspace(LOW, HIGH, 801).expand(len(part_BH), -1)
    rising = branch(part_BH, fine).diff(dim=1) > 0
    return (rising[:, :-1] & ~rising[:, 1:]).sum(dim=1)


def test_the_derivatives_are_those_of_autograd() -> None:
    made = network(steepness=2.0).double()
    (branch,) = made.energies
    e_BD, y_B = parts(5)
    part_BH = made.embed(e_BD.double())
    y_B = y_B.double().requires_grad_(True)
    jet = branch.jet(part_BH, y_B.detach())
    value_B = branch(part_BH, y_B.unsqueeze(1)).squeeze(1)
    (slope_B,) = torch.autograd.grad(value_B.sum(), y_B, create_graph=True)
    (curvature_B,) = torch.autograd.grad(slope_B.sum(), y_B)
    torch.testing.assert_close(jet.value, value_B.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(jet.slope, slope_B.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(jet.curvature, curvature_B, rtol=0, atol=1e-12)


def test_on_unimodal_energies_it_is_what_slow_ascent_reaches() -> None:
    made = network(steepness=1.5)
    (branch,) = made.energies
    e_BD, base_B = parts(32)
    part_BH = made.embed(e_BD)
    found = Maximiser(branch, low=LOW, high=HIGH).find(part_BH, base_B)
    inside_B = (num_hills(branch, part_BH) == 1) & ~found.boundary_B
    # One hill inside and no higher end: ascent from anywhere on its slopes ends on it.
    fine = torch.linspace(LOW, HIGH, 801)
    hill_B = fine[branch(part_BH, fine.expand(len(part_BH), -1)).argmax(dim=1)]
    assert inside_B.sum() >= 20
    expected_B = ascend(branch, part_BH[inside_B], hill_B[inside_B])
    torch.testing.assert_close(found.reward_B[inside_B].double(), expected_B, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steepness", [1.0, 2.0, 3.0, 5.0])
def test_no_ascent_from_the_base_reward_gets_higher(steepness: float) -> None:
    made = network(steepness=steepness)
    (branch,) = made.energies
    e_BD, base_B = parts(24)
    base_B = 3 * base_B  # some are out of range
    part_BH = made.embed(e_BD)
    found = Maximiser(branch, low=LOW, high=HIGH).find(part_BH, base_B)
    climbed_B = ascend(branch, part_BH, base_B)
    ours_B, theirs_B = (value64(branch, part_BH, y_B) for y_B in (found.reward_B, climbed_B))
    assert (ours_B >= theirs_B - 1e-5 * theirs_B.abs().clamp(min=1)).all()
    if steepness == 5.0:
        assert num_hills(branch, part_BH).max() >= 2  # ascent is caught on lower hills
        assert (ours_B > theirs_B + 0.01).any()


def test_a_maximum_at_an_end_of_the_domain_is_flagged_and_exact() -> None:
    made = network(steepness=1.5)
    (branch,) = made.energies
    e_BD, base_B = parts(100)
    part_BH = made.embed(e_BD)
    inner_B = Maximiser(branch, low=LOW, high=HIGH).find(part_BH, base_B).reward_B
    low = float(inner_B.sort().values[49:51].mean())  # half of the hills, one a response, lie beyond the new end
    found = Maximiser(branch, low=low, high=HIGH).find(part_BH, base_B)
    assert num_hills(branch, part_BH).max() == 1
    clear_B = (inner_B - low).abs() > 1e-3  # nearer, the end is as high as the hill to float32
    assert clear_B.sum() > 80
    assert torch.equal(found.boundary_B[clear_B], inner_B[clear_B] < low)
    expected_B = torch.where(found.boundary_B, low, inner_B)
    torch.testing.assert_close(found.reward_B[clear_B], expected_B[clear_B], rtol=0, atol=1e-5)


def test_of_equal_rewards_the_nearest_to_the_base_reward_is_taken() -> None:
    made = network()
    (branch,) = made.energies
    flat = copy.deepcopy(branch)
    flat.last.weight.data.zero_()
    base_B = torch.tensor([0.41, -9.0, 9.0])
    found = Maximiser(flat, low=LOW, high=HIGH).find(made.embed(torch.randn(3, 8)), base_B)
    step = (HIGH - LOW) / (NUM_GRID - 1)
    assert float(found.reward_B[0]) == pytest.approx(0.41, abs=step)
    assert found.reward_B[1:].tolist() == [LOW, HIGH]


def test_energies_on_the_grid_are_those_of_the_network() -> None:
    made = network(steepness=2.0)
    (branch,) = made.energies
    e_BD, base_B = parts(50)
    part_BH = made.embed(e_BD)
    maximiser = Maximiser(branch, low=LOW, high=HIGH)
    expected_BG = branch(part_BH, maximiser.grid_G.expand(50, -1))
    spread = float(expected_BG.std())
    error = float((maximiser.find(part_BH, base_B).energy_BG - expected_BG).abs().max())
    assert error < 0.02 * spread
