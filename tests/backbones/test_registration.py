"""Modules under several names: torch's functional_call would leave other weights behind in them."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from genseg_betty.backbones.second_order import TwiceDifferentiable
from genseg_betty.backbones.unique_modules import register_once
from genseg_betty.errors import UserError


class Inner(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)])
        self.inner = Inner(self.layers[0])
        self.again = self.inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers[1](self.again.layer(self.layers[0](image)))


def called_at_other_weights(network: nn.Module) -> nn.Module:
    weights = {name: parameter.detach() + 1 for name, parameter in network.named_parameters()}
    functional_call(network, weights, (torch.rand(2, 1, 3, 3),))
    return network


def test_weights_stay_where_they_are():
    assert any(type(p) is torch.Tensor for p in called_at_other_weights(Shared()).parameters())  # torch's fault
    before = copy.deepcopy(network := TwiceDifferentiable(Shared())).state_dict()
    called_at_other_weights(network)
    assert all(type(parameter) is nn.Parameter for parameter in network.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items() if "layers.0" in key)


def test_it_computes_the_same_and_copies_are_whole():
    plain, image = Shared().eval(), torch.rand(2, 1, 3, 3)
    expected = plain(image)
    network = register_once(plain)
    assert torch.equal(network(image), expected)
    assert [name for name in network.state_dict() if "layer." in name or "again" in name] == []
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.layers[0].weight += 1
    assert other.inner.layer is other.layers[0]
    assert torch.equal(network(image), expected)
    assert not torch.equal(other(image), expected)


def test_lists_that_repeat_a_module_are_refused():
    layer = nn.Conv2d(1, 1, 1)
    with pytest.raises(UserError, match="Sequential holds one Conv2d twice"):
        register_once(nn.Sequential(layer, nn.ReLU(), layer))
