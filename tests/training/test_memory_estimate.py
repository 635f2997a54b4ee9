"""The size of networks, found without values, beside counts made by hand and by running them."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from genseg_betty.build import build_segmenter
from genseg_betty.config import compose
from genseg_betty.data.batches import Batch
from genseg_betty.data.loading import load_data
from genseg_betty.device import free_memory
from genseg_betty.training.console import report_networks
from genseg_betty.training.memory_estimate import (
    NetworkSize,
    estimate_memory,
    find_kept_bytes,
    measure_networks,
    measure_pass,
)
from methods.tiny import TINY, built


def run(calls, image, condition):
    return calls[0](image)


def state_of(network):
    return [*network.parameters(), *network.buffers()]


def kept_in_earnest(networks, step):
    """Bytes of other tensors than the networks' own that `step` keeps for its backward pass."""
    own = {value.untyped_storage().data_ptr() for network in networks for value in state_of(network)}
    kept, alive = {}, []

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(size for place, size in kept.items() if place not in own)


def test_a_convolution_by_hand():
    network = nn.Conv2d(3, 5, 4, stride=2, padding=1)
    shapes = (2, 3, 32, 48), (2, 1, 32, 48)
    multiply_adds, kept = measure_pass([network], run, *shapes)
    assert multiply_adds == 2 * 16 * 24 * 5 * 3 * 16
    assert kept == find_kept_bytes([network], run, *shapes) == 2 * 3 * 32 * 48 * 4  # its input


@pytest.mark.parametrize("backbone", ["unet_classic", "unet", "swinunet", "unet3d"])
def test_activations_are_those_of_a_real_pass(backbone):
    network = build_segmenter(compose([f"backbone={backbone}", "trainer=quick"]), 1, 1)
    found = find_kept_bytes([network], run, (2, 1, 64, 64), (2, 1, 64, 64))
    expected = kept_in_earnest([network], lambda: network(torch.rand(2, 1, 64, 64)))
    assert found == pytest.approx(expected, rel=0.05)


def test_a_network_that_looks_at_values_is_told_by_its_weights():
    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x):
            return self.layer(x) if float(x.sum()) > 0 else x

    shapes = (1, 2), (1, 2)
    assert measure_pass([Looking()], run, *shapes) == (None, None)
    assert find_kept_bytes([Looking()], run, *shapes) is None
    assert str(NetworkSize(9)) == "9 weights"


def test_levels_of_a_training_and_the_warning(monkeypatch, capsys):
    config = compose([*TINY, "method=genseg", "ood=[]"])
    data = load_data(config)
    _, engine = built(config, data)
    before = {name: value.clone() for name, value in engine.segmenter.module.state_dict().items()}
    numbers = torch.get_rng_state()
    found = measure_networks(engine, (2, 1, 32, 32), (2, 1, 32, 32))
    assert list(found) == ["discriminator", "generator", "segmenter"]
    assert all(size.multiply_adds > 0 and size.activations > 0 for size in found.values())
    assert estimate_memory(engine, found) < free_memory("cpu")
    report_networks(engine, data, 2)
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setattr("genseg_betty.training.console.free_memory", lambda _: 10.0)
    report_networks(engine, data, 2)
    assert "may run out of memory" in capsys.readouterr().err
    assert torch.equal(numbers, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in engine.segmenter.module.state_dict().items())


@pytest.mark.parametrize("generator", ["pix2pix", "soft_intro_vae", "bbdm", "wgan_gp"])
def test_the_bytes_that_stage_one_keeps_are_those_of_real_steps(generator):
    overrides = [override for override in TINY if generator == "pix2pix" or not override.startswith("generator.")]
    config = compose(
        [*overrides, "trainer=quick", f"generator={generator}", "method=genseg", "image_size=32", "ood=[]"]
    )
    data = load_data(config)
    _, engine = built(config, data)
    found = measure_networks(engine, (2, 1, 32, 32), (2, 1, 32, 32))
    batch = Batch(torch.rand(2, 1, 32, 32), torch.randint(0, 2, (2, 32, 32)), ["a", "b"])
    networks = [level.module for level in engine.levels]
    stage_one = engine.levels[:-2]  # together: G may run once for both

    def step():
        engine.generator.batch_of = lambda count: batch
        engine.generator.begin_step()
        return [level.training_step(batch) for level in stage_one]

    expected = kept_in_earnest(networks, step)
    assert sum(found[level.name].of_step for level in stage_one) == pytest.approx(expected, rel=0.15)
