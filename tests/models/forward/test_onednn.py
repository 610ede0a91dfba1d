"""oneDNN's linear layers against float64, whatever happens to their weights meanwhile."""

import copy
import pickle

import pytest
import torch
from torch import nn

from encore_ray.models.forward import onednn
from encore_ray.models.forward.onednn import OneDnnLinear, use_onednn


@pytest.fixture
def layer():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(24, 40))
    use_onednn(module)
    assert type(module[0]) is OneDnnLinear and module[0].packs
    return module[0]


def assert_right(layer, *, num_slots=7):
    input_1TD = torch.randn(1, num_slots, layer.in_features, dtype=layer.weight.dtype)
    expected = input_1TD.double() @ layer.weight.detach().double().T + layer.bias.detach().double()
    with torch.inference_mode():
        torch.testing.assert_close(layer(input_1TD).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_slots", [1, 7, 33, 1024])
def test_products_of_any_number_of_slots(layer, num_slots):
    assert_right(layer, num_slots=num_slots)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_weight_that_was_cast_since_is_multiplied_on_any_processor(layer, dtype):
    assert_right(layer)
    layer.to(dtype)
    input_TD = torch.randn(7, 24, dtype=dtype)
    expected = input_TD.double() @ layer.weight.detach().double().T + layer.bias.detach().double()
    with torch.inference_mode():
        torch.testing.assert_close(layer(input_TD).double(), expected, atol=2e-2, rtol=2e-2)


def test_a_packed_weight_follows_every_change_of_the_weight(layer):
    assert_right(layer)
    with torch.no_grad():
        layer.weight.mul_(2)  # as an optimizer writes
    assert_right(layer)
    layer.load_state_dict({"weight": torch.randn(40, 24), "bias": torch.randn(40)})
    assert_right(layer)
    layer.weight.data = torch.randn(40, 24)
    assert_right(layer)
    layer.weight = nn.Parameter(torch.randn(40, 24))
    assert_right(layer)
    with torch.inference_mode():
        layer.weight = nn.Parameter(torch.randn(40, 24), requires_grad=False)
    assert_right(layer)


def test_copies_and_pickles_pack_their_own_weight(layer):
    assert_right(layer)
    assert_right(pickle.loads(pickle.dumps(layer)))
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.weight.add_(1)
    assert_right(twin)
    assert_right(layer)


def test_a_layer_learns_as_any_other(layer):
    assert_right(layer)
    layer(torch.randn(3, 24)).sum().backward()
    assert layer.weight.grad is not None


def test_large_models_are_not_kept_twice(monkeypatch):
    monkeypatch.setattr(onednn, "_MOST_PACKED", 1000)
    module = nn.Sequential(nn.Linear(24, 40))
    use_onednn(module)
    assert_right(module[0])
    assert module[0]._packed is None
