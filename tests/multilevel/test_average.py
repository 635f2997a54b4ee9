"""The average of weights where lists are handled as on a GPU, and the number of its operators."""

import pytest
import torch
from torch import nn

from genseg_betty.multilevel import average
from genseg_betty.multilevel.average import Average
from operators import Operators


class Network(nn.Module):
    """Weights of two types, and buffers of three."""

    def __init__(self, layers=1):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(layers))
        self.wide = nn.Parameter(torch.randn(2, dtype=torch.float64))
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("chosen", torch.tensor([True, False]))

    @torch.no_grad()
    def move(self):
        for weight in self.parameters():
            weight.add_(torch.randn_like(weight))
        self.norm(torch.randn(4, 3))
        self.chosen.logical_not_()


@pytest.fixture
def _as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(average, "lerps_lists", lambda device: False)


def followed(decay, sounds):
    torch.manual_seed(0)
    network = Network()
    mean = Average(network, decay)
    for sound in sounds:
        network.move()
        mean.follow(network, torch.tensor(sound))
    return network, mean


@pytest.mark.parametrize("chunk", [1, 2**22])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_lists_as_on_a_gpu_give_the_same_but_for_rounding(decay, chunk, monkeypatch):
    sounds = (False, True, False, True, True)
    _, expected = followed(decay, sounds)
    monkeypatch.setattr(average, "lerps_lists", lambda device: False)
    monkeypatch.setattr(average, "CHUNK", chunk)
    _, found = followed(decay, sounds)
    for (name, mine), its in zip(found.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-6, msg=name)
        assert torch.equal(mine, its) or mine.is_floating_point()


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_it_stands_on_the_weights_at_first_and_stays_where_no_step_was_made():
    network, mean = followed(0.9, [True])
    first = {name: value.clone() for name, value in mean.module.state_dict().items()}
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in first.items())
    network.move()
    mean.follow(network, torch.tensor(False))
    assert all(torch.equal(value, first[name]) for name, value in mean.module.state_dict().items())


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_the_number_of_operators_does_not_grow_with_the_network():
    counts = []
    for layers in (2, 40):
        network = Network(layers)
        mean = Average(network, 0.9)
        with Operators() as seen:
            mean.follow(network, torch.tensor(True))
        counts.append(seen.count)
    assert counts[0] == counts[1] < 30
