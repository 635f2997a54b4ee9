"""What every file in conf/backbone promises: a new one is tested as soon as it is there."""

import copy
import io
from functools import cache

import pytest
import torch
from omegaconf import DictConfig
from torch import nn
from torch.nn import functional

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones.dimensions import FOR_VOLUMES
from genseg_betty.backbones.probe import check_backbone
from genseg_betty.build import build_segmenter
from genseg_betty.config import compose, group_members
from genseg_betty.errors import UserError

NAMES = group_members("backbone")
PLACES = [(name, 2) for name in NAMES] + [(name, 3) for name in FOR_VOLUMES]
SIDES = {2: (33, 50), 3: (9, 12, 18)}
SMALLER = {
    "encoder": "tu-test_resnet",
    "encoder_weights": None,
    "base_channels": 4,
    "arguments": {"init_filters": 4, "norm": "INSTANCE", "blocks_down": [1, 1], "blocks_up": [1]},
}


@cache
def config_of(name: str) -> DictConfig:
    """Sizes below those of trainer=quick."""
    config = compose([f"backbone={name}", "trainer=quick"])
    for key, value in SMALLER.items():
        if key in config.backbone and (key != "arguments" or name == "monai"):
            config.backbone[key] = value
    return config


def small(name: str, channels: int = 1, outputs: int = 1, spatial_dims: int = 2) -> nn.Module:
    return build_segmenter(config_of(name), channels, outputs, spatial_dims)


@cache
def built(name: str, spatial_dims: int) -> nn.Module:
    return small(name, 1, 2, spatial_dims)


@pytest.mark.parametrize(("name", "spatial_dims"), PLACES)
def test_logits_have_the_size_of_the_image(name, spatial_dims):
    for network, channels, outputs in ((built(name, spatial_dims), 1, 2), (small(name, 3, 1, spatial_dims), 3, 1)):
        for sides in (SIDES[spatial_dims], (5,) * spatial_dims):
            logits = network(torch.rand(2, channels, *sides) * 2 - 1)
            assert logits.shape == (2, outputs, *sides)
            loss = functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
            assert loss.isfinite()
            gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
            assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("name", "spatial_dims"), PLACES)
def test_double_backward_is_the_derivative_of_the_unrolled_step(name, spatial_dims):
    network = copy.deepcopy(built(name, spatial_dims)).double()
    image, target = image_and_target(1, 2, SIDES[spatial_dims])
    found, expected = by_double_backward(network, image, target), by_composition(network, image, target)
    assert expected.norm() > 0
    assert relative_error(found, expected) < 1e-8


@pytest.mark.parametrize(("name", "spatial_dims"), PLACES)
def test_state_returns_to_the_bit_and_prediction_repeats(name, spatial_dims):
    network, other = copy.deepcopy(built(name, spatial_dims)), small(name, 1, 2, spatial_dims)
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), other.parameters(), strict=True))  # one seed
    image = torch.rand(2, 1, *SIDES[spatial_dims])
    network(image)  # BatchNorm's statistics move
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    network.eval(), other.eval()
    with torch.no_grad():
        logits = network(image)
        assert torch.equal(network(image), logits)
        assert torch.equal(other(image), logits)
        assert torch.equal(copy.deepcopy(network)(image), logits)
        torch.testing.assert_close(network(image[:1]), logits[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(FOR_VOLUMES)))
def test_backbones_for_images_name_those_for_volumes(name):
    with pytest.raises(UserError, match="backbone=unet3d or backbone=monai"):
        small(name, spatial_dims=3)


@pytest.mark.parametrize("name", FOR_VOLUMES)
def test_other_dimensions_are_refused(name):
    with pytest.raises(UserError, match="expected 2"):
        small(name, spatial_dims=4)


@pytest.mark.parametrize(("name", "spatial_dims"), PLACES)
def test_the_check_before_the_training_passes_and_leaves_no_trace(name, spatial_dims):
    network = built(name, spatial_dims)
    before, numbers = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    check_backbone(network, 1, 2, SIDES[spatial_dims], second_derivatives=True)
    assert torch.equal(numbers, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
