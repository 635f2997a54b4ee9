"""∂L_val/∂image through one step of plain gradient descent: by autograd's graph, and by torch.func."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

RATE = 0.1
Weights = dict[str, Tensor]


def image_and_target(channels: int, outputs: int, sides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Two random images in [-1, 1] and soft targets, in float64."""
    source = torch.Generator().manual_seed(1)
    image = torch.rand(2, channels, *sides, generator=source, dtype=torch.float64) * 2 - 1
    return image, torch.rand(2, outputs, *sides, generator=source, dtype=torch.float64)


def losses(network: nn.Module, target: Tensor) -> Callable[[Weights, Tensor], Tensor]:
    """(weights, image) -> loss in training mode, always with the same dropout and the same buffers."""
    network.train()

    def loss(weights: Weights, image: Tensor) -> Tensor:
        torch.manual_seed(7)
        state = weights | {name: buffer.clone() for name, buffer in network.named_buffers()}
        logits = functional_call(network, state, (image,))
        return functional.binary_cross_entropy_with_logits(logits, target)

    return loss


def by_double_backward(network: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """As `multilevel/hypergradient.py`: the gradient's own graph, walked after the weights have been overwritten."""
    loss = losses(network, target)
    live = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    before = {name: weight.detach().clone().requires_grad_() for name, weight in live.items()}
    image = image.clone().requires_grad_()
    gradients = torch.autograd.grad(
        loss(before, image), list(before.values()), create_graph=True, materialize_grads=True
    )
    kept = [weight.detach().clone() for weight in live.values()]
    with torch.no_grad():
        for weight, gradient in zip(live.values(), gradients, strict=True):
            weight -= RATE * gradient
    vector = torch.autograd.grad(loss(live, image.detach().flip(0)), list(live.values()), materialize_grads=True)
    pairs = [(g, -RATE * v) for g, v in zip(gradients, vector, strict=True) if g.requires_grad]
    (result,) = torch.autograd.grad([g for g, _ in pairs], [image], [v for _, v in pairs])
    with torch.no_grad():
        for weight, value in zip(live.values(), kept, strict=True):
            weight.copy_(value)
    return result


def by_composition(network: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """The derivative of the whole composition by torch.func."""
    loss = losses(network, target)
    weights = {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}

    def validation(image: Tensor) -> Tensor:
        gradients = torch.func.grad(loss)(weights, image)
        after = {name: weight - RATE * gradients[name] for name, weight in weights.items()}
        return loss(after, fixed)

    fixed = image.flip(0)
    return torch.func.grad(validation)(image)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
