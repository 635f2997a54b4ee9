"""What the tests of all families of generators share."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.search_space import SearchSpace
from genseg_betty.generators.searchable import SearchableGenerator
from genseg_betty.multilevel.engine import PhasedEngine

Family = TypeVar("Family", bound=SearchableGenerator)
SPACE_KEYS = [field.name for field in fields(SearchSpace)]


def build_family(
    family: type[Family], masks: int, channels: int, image_size: int | Sequence[int], **settings: object
) -> Family:
    """A generator of flat settings, as conf/generator has them."""
    own = {key: value for key, value in settings.items() if key not in SPACE_KEYS}
    searched = {key: value for key, value in settings.items() if key in SPACE_KEYS}
    return family(masks, channels, image_size, space=SearchSpace(**searched), **own)


def count_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def draw_uniform(generator: SearchableGenerator) -> dict[str, Tensor]:
    """α where no operation is preferred, in the precision of the generator."""
    precision: torch.dtype = next(generator.parameters()).dtype
    return Architecture(**generator.cells).to(precision)()


def draw_one_hot(generator: SearchableGenerator) -> dict[str, Tensor]:
    """α where every cell has decided for one of its three operations."""
    alpha = {}
    for half, cells in generator.cells.items():
        alpha[half] = F.one_hot(torch.randint(0, 3, (cells,)), 3).float()
    return alpha


def draw_architecture(generator: SearchableGenerator) -> Architecture:
    """A in float64, each operation preferred by chance."""
    architecture = Architecture(**generator.cells).double()
    for logits in architecture.parameters():
        nn.init.normal_(logits, std=0.3)
    return architecture


def assert_second_derivative(
    compute_loss: Callable[[], Tensor],
    generator: nn.Module,
    architecture: Architecture,
    rtol: float,
    reaches_every_cell: bool = False,
) -> None:
    """Hold d/dα of a direction of the gradient by the weights (Eq. 10) against finite differences, in float64.

    Args:
        compute_loss: at the present weights and α; the same random numbers in every call.
        reaches_every_cell: hold as well that no half of the architecture has a gradient of zeros.
    """
    weights = list(generator.parameters())
    directions = [torch.randn_like(weight) for weight in weights]

    def along_directions() -> Tensor:
        gradients = torch.autograd.grad(compute_loss(), weights, create_graph=True)
        return sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))

    searched = [logits for logits in architecture.parameters() if logits.numel()]
    exact = torch.autograd.grad(along_directions(), searched)
    for logits, gradient in zip(searched, exact, strict=True):
        assert gradient.abs().max() > 0 or not reaches_every_cell
        direction = torch.randn(logits.shape, dtype=logits.dtype)
        step = 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                logits.add_(direction, alpha=sign * step)
            values.append(along_directions().detach())
            with torch.no_grad():
                logits.sub_(direction, alpha=sign * step)
        numeric = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=rtol, atol=1e-8)


def assert_function_of_weights(generator: nn.Module, *inputs: Any) -> tuple[Tensor, ...]:
    """Hold that `functional_call` puts every weight in place; returns the gradients by these weights.

    With zeros for weights all outputs are 0, and with copies of the weights they are the generator's own.
    """
    zeros = {name: torch.zeros_like(weight) for name, weight in generator.named_parameters()}
    for output in _as_tuple(functional_call(generator, zeros, inputs)):
        assert output.abs().max() == 0
    copies = {name: weight.detach().clone().requires_grad_() for name, weight in generator.named_parameters()}
    found = functional_call(generator, copies, inputs)
    torch.testing.assert_close(found, generator(*inputs))
    energy = sum(output.square().sum() for output in _as_tuple(found))
    gradients = torch.autograd.grad(energy, list(copies.values()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    return gradients


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def assert_strongest_is_the_same(
    generator: SearchableGenerator, alpha: dict[str, Tensor], *inputs: Tensor, atol: float, rtol: float
) -> None:
    """Hold that at a one-hot α the strongest operations alone give the generator's images, and leave it as it was."""
    before = generator(*inputs, alpha)
    kept = generator.keep_strongest(alpha)
    assert kept.cells == {"down": 0, "up": 0}
    torch.testing.assert_close(kept(*inputs), before, atol=atol, rtol=rtol)
    torch.testing.assert_close(generator(*inputs, alpha), before)


def record_search_gradients(engine: PhasedEngine) -> list[list[Tensor]]:
    """A list that gets, at every step of the architecture, its gradients."""
    search = engine.architecture
    step = search.optimizer.step
    found: list[list[Tensor]] = []

    def record_and_step() -> None:
        found.append([logits.grad.clone() for logits in search.trainable_parameters() if logits.grad is not None])
        step()

    search.optimizer.step = record_and_step
    return found


def assert_trains_jointly(engine: PhasedEngine, steps: int) -> list[list[Tensor]]:
    """Hold that no step is skipped, every loss is finite, and every hypergradient finite and not 0; returns these."""
    found = record_search_gradients(engine)
    for _ in range(steps):
        assert engine.advance() is not None
        assert not any(level.guard.skipped for level in engine.levels)
        assert all(level.loss.isfinite() for level in engine.levels if level.loss is not None)
    for gradients in found:
        assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)
    return found
