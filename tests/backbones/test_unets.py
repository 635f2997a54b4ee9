"""The UNets that are trained from scratch: sizes, options, and second derivatives against finite differences."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones.smp import unet
from genseg_betty.backbones.unet3d import unet3d
from genseg_betty.backbones.unet_classic import unet_classic
from genseg_betty.errors import UserError


def millions(network: nn.Module) -> float:
    return round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1)


def test_parameter_counts():
    assert millions(unet_classic(3, 1)) == 31.0
    assert millions(unet3d(1, 1)) == 4.8


def test_unknown_norm_is_answered():
    with pytest.raises(UserError, match=r"backbone\.norm=layer: expected one of instance, batch"):
        unet3d(1, 1, norm="layer")


@pytest.mark.parametrize(
    "network",
    [
        lambda: unet_classic(1, 1, base_channels=2, bilinear=True),
        lambda: unet3d(1, 1, 2, base_channels=2, norm="batch", residual_units=0),
    ],
)
def test_options_have_second_derivatives(network):
    network = network().double()
    image, target = image_and_target(1, 1, (33, 40))
    found = by_double_backward(network, image, target)
    assert relative_error(found, by_composition(network, image, target)) < 1e-8


@pytest.mark.parametrize(
    "network", [lambda: unet(1, 1, base_channels=4, encoder="tu-test_efficientnet"), lambda: unet_classic(1, 1, 2, 2)]
)
def test_second_derivatives_match_finite_differences(network):
    """Of v · dL/dweights, by weights and by image (factors of Eq. 9-11), in training mode, with padding.

    Neither of autograd's ways is asked: their formulas could be wrong together.
    """
    network = network().double()
    weights = dict(network.named_parameters())
    image = torch.randn(3, 1, 33, 36, dtype=torch.float64, requires_grad=True)
    target = torch.rand(3, 1, 33, 36, dtype=torch.float64)
    vector = [torch.randn_like(weight) for weight in weights.values()]

    def projected_gradient(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        logits = functional_call(network, weights, (image,))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        return sum((v * g).sum() for v, g in zip(vector, gradients, strict=True))

    sources = [*weights.values(), image]
    exact = torch.autograd.grad(projected_gradient(weights, image), sources, materialize_grads=True)
    # ReLU and max-pooling have kinks: a step this small crosses none, and float64 still resolves it.
    step = 1e-10
    directions = {name: torch.randn_like(weight) for name, weight in weights.items()}
    by_weights = sum(
        sign * projected_gradient({n: w + sign * step * directions[n] for n, w in weights.items()}, image)
        for sign in (1, -1)
    )
    expected = sum((g * d).sum() for g, d in zip(exact[:-1], directions.values(), strict=True))
    torch.testing.assert_close(by_weights / (2 * step), expected, rtol=1e-3, atol=1e-3)
    direction = torch.randn_like(image)
    by_image = sum(sign * projected_gradient(weights, image + sign * step * direction) for sign in (1, -1))
    torch.testing.assert_close(by_image / (2 * step), (exact[-1] * direction).sum(), rtol=1e-3, atol=1e-3)
