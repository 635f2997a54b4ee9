"""Recomputed activations: the same numbers, first and second derivatives, statistics and names as without."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from backbones.unrolled import by_double_backward, image_and_target
from genseg_betty.backbones.checkpointing import checkpoint_blocks
from genseg_betty.backbones.monai_nets import monai
from genseg_betty.backbones.smp import smp
from genseg_betty.backbones.swinunet import swinunet
from genseg_betty.backbones.unet3d import unet3d
from genseg_betty.errors import UserError

KINDS = {
    "unet": lambda **more: smp(1, 1, encoder="tu-test_resnet", base_channels=4, **more),
    "dpt": lambda **more: smp(1, 1, arch="DPT", encoder="tu-test_vit", base_channels=4, **more),
    "swinunet": lambda **more: swinunet(1, 1, base_channels=16, **more),
    "unet3d": lambda **more: unet3d(1, 1, 2, base_channels=4, norm="batch", dropout=0.1, **more),
    "monai": lambda **more: monai(1, 1, 2, arguments={"init_filters": 8, "dropout_prob": 0.1}, **more),
}


def pair(kind: str) -> tuple[nn.Module, nn.Module]:
    """The network without and with checkpointing, of the same weights, in float64."""
    plain, recomputed = KINDS[kind]().double(), KINDS[kind](activation_checkpointing=True).double()
    recomputed.load_state_dict(plain.state_dict())
    return plain, copy.deepcopy(recomputed)  # a level's average is a copy: it must not refer to the original


def steps(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state after two steps of training."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for seed in range(2):
        torch.manual_seed(seed)
        network.train()(torch.rand(2, 1, 40, 33, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_the_same(kind):
    plain, recomputed = pair(kind)
    image, target = image_and_target(1, 1, (40, 28))
    expected = by_double_backward(plain, image, target)
    with pytest.warns(UserWarning, match="checkpointing saves memory"):
        found = by_double_backward(recomputed, image, target)
    assert expected.norm() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["unet", "swinunet", "unet3d"])
def test_training_and_its_statistics_are_the_same(kind):
    plain, recomputed = pair(kind)
    expected, found = steps(plain), steps(recomputed)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["unet", "unet3d"])
def test_what_was_computed_in_evaluation_mode_is_so_again(kind):
    """As L_val is: its segmenter evaluates, and trains again before the backward pass."""
    gradients = []
    for network in pair(kind):
        torch.manual_seed(0)
        network.train()(torch.rand(2, 1, 40, 32, dtype=torch.float64))  # statistics that are not those of the next
        loss = network.eval()(torch.rand(2, 1, 40, 32, dtype=torch.float64) * 3).square().mean()
        network.train()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
        assert all(part.training for part in network.modules())
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_less_is_kept_for_the_backward_pass():
    def kept(network: nn.Module) -> int:
        sizes = {}

        def pack(value: torch.Tensor) -> torch.Tensor:
            sizes[value.data_ptr()] = value.numel()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            network(torch.rand(2, 1, 64, 64, dtype=torch.float64))
        weights = {parameter.data_ptr() for parameter in network.parameters()}
        return sum(size for pointer, size in sizes.items() if pointer not in weights)

    plain, recomputed = pair("unet")
    assert kept(recomputed) < 0.5 * kept(plain)


def test_torchs_own_fails_after_the_step():
    """Why there is one of our own: theirs recomputes from the weights after the step, which torch notices."""
    block = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Softplus(), nn.Conv2d(2, 1, 3, padding=1))
    image = torch.rand(1, 1, 8, 8, requires_grad=True)
    before = {name: weight.detach().clone().requires_grad_() for name, weight in block.named_parameters()}

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.block, image, use_reentrant=False)

    named = {f"block.{name}": weight for name, weight in before.items()}
    loss = functional_call(Theirs(), named, (image,)).square().mean()
    gradients = torch.autograd.grad(loss, list(before.values()), create_graph=True)
    vector = [torch.ones_like(gradient) for gradient in gradients]
    with torch.no_grad():
        for weight in block.parameters():
            weight += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(gradients, [image], vector)


def test_networks_without_blocks_are_refused():
    with pytest.raises(UserError, match="no repeated blocks"):
        checkpoint_blocks(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3)))
