"""What a network does to a shape, found out by running it on tensors without values: no memory, little time.

By this, a network from a library that says nothing of the sizes it takes gets the padding it needs, and a network
that does not fit its task is refused before the training rather than an hour into it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genseg_betty.errors import UserError

SMALLEST = 64  # sides tried are not below: small images have faults of their own
STRIDES = (1, 2, 4, 8, 16, 32, 64, 128)


def dry_run(network: nn.Module, shape: Sequence[int], training: bool = False) -> Any:
    """The output of `network` for images [B, C, *spatial] of `shape`: fake tensors; its own state stays as it is."""
    with _mode(network, training), _fakes(network) as (state, empty), torch.no_grad():
        return functional_call(network, state, (empty(shape),))


def find_padding(
    network: nn.Module,
    channels: int,
    num_outputs: int,
    spatial_dims: int,
    candidates: Iterable[int] = STRIDES,
) -> tuple[int, int]:
    """(multiple, least): sides that `network` maps to logits of their own size are multiples of the first, and not
    below the second.

    Raises:
        UserError: no candidate does.
    """
    fault = None
    for multiple in candidates:
        odd = max(SMALLEST // multiple, 1) | 1  # times an odd number: no larger power of two divides the side
        sides = [multiple * (odd + 2 * axis) for axis in range(spatial_dims)]
        fault = fault_of(network, channels, num_outputs, sides)
        if fault is None:
            small = (multiple * 2**power for power in range(odd.bit_length()))
            works = (side for side in small if fault_of(network, channels, num_outputs, [side] * spatial_dims) is None)
            return multiple, next(works, multiple * odd)
    raise UserError(fault or "nothing was tried")


def fault_of(network: nn.Module, channels: int, num_outputs: int, sides: Sequence[int]) -> str | None:
    """What is wrong with what `network` makes of images with these sides, in training or in evaluation.

    Raises:
        UserError: it is wrong whatever the sides.
    """
    expected = [2, num_outputs, *sides]
    for training in (True, False):
        try:
            output = dry_run(network, [2, channels, *sides], training)
        except Exception as error:  # whatever a foreign network raises
            return f"an image {[channels, *sides]} ends in {type(error).__name__}: {_first_line(error)}"
        if not isinstance(output, Tensor):
            raise UserError(f"it returns {type(output).__name__}, expected one tensor of logits")
        found = list(output.shape)
        if found != expected:
            fault = f"images {[2, channels, *sides]} give {found}, expected {expected}"
            if len(found) != len(expected) or found[:2] != expected[:2]:
                raise UserError(fault)
            return fault
    return None


def check_backbone(
    network: nn.Module, channels: int, num_outputs: int, sides: Sequence[int], second_derivatives: bool
) -> None:
    """That `network` maps [2, channels, *sides] to [2, num_outputs, *sides], and can be differentiated as asked.

    Raises:
        UserError: it cannot be run, returns something else, or has no second derivative.
    """
    try:
        if fault := fault_of(network, channels, num_outputs, sides):
            raise UserError(fault)
    except UserError as error:
        raise UserError(f"this backbone does not fit the data: {error}") from error
    if not second_derivatives:
        return
    small = [min(side, SMALLEST) for side in sides]
    try:
        sides = sides if fault_of(network, channels, num_outputs, small) else small
        differentiate_twice(network, [2, channels, *sides])
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"this backbone cannot be differentiated twice, which hypergradient=exact does: {_first_line(error)} "
            "Choose another backbone or encoder, or hypergradient=finite_difference."
        ) from error


def differentiate_twice(network: nn.Module, shape: Sequence[int]) -> None:
    """∂/∂image of the squared gradient of the weights, for random images of `shape`. Raises what torch raises.

    No state changes, and no random number is drawn.
    """
    weights = {
        name: weight.detach().requires_grad_(weight.requires_grad) for name, weight in network.named_parameters()
    }
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    some = next(network.parameters(), torch.empty(0))
    with _mode(network, training=True), torch.random.fork_rng():
        image = torch.rand(*shape, dtype=some.dtype, device=some.device, requires_grad=True)
        loss = functional_call(network, weights | buffers, (image,)).square().mean()
        learned = [weight for weight in weights.values() if weight.requires_grad]
        gradients = torch.autograd.grad(loss, learned or [image], create_graph=True, allow_unused=True)
        total = torch.stack([g.square().sum() for g in gradients if g is not None]).sum()
        torch.autograd.grad(total, [image], allow_unused=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


@contextmanager
def _fakes(network: nn.Module) -> Iterator[tuple[dict[str, Tensor], Callable[[Sequence[int]], Tensor]]]:
    """Copies of the network's state without values, and a maker of such images."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    logger = logging.getLogger("torch._subclasses.fake_tensor")  # prints tracebacks of errors that we expect
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    some = next(network.parameters(), torch.empty(0))
    named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
            state: dict[str, Tensor] = {name: fakes.from_tensor(value.detach()) for name, value in named.items()}
            yield state, lambda shape: torch.empty(*shape, dtype=some.dtype, device=some.device)
    finally:
        logger.setLevel(level)


@contextmanager
def _mode(network: nn.Module, training: bool) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    try:
        network.train(training)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
