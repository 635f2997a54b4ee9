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

LARGE = {2: 256, 3: 128}  # sides, by dimensions, that no network is too deep for
SMALL = 64  # sides at which second derivatives are tried, where the network takes them
State = dict[str, Tensor]  # weights and buffers by name

STRIDES = (1, 2, 4, 8, 16, 32, 64, 128)


def dry_run(network: nn.Module, shape: Sequence[int], training: bool = False) -> Any:
    """The output of `network` for images [B, C, *spatial] of `shape`: fake tensors without values, or random ones where
    the network looks at values. Its own state stays as it is.
    """
    from torch._subclasses import fake_tensor

    with _mode(network, training), torch.no_grad():
        try:
            with without_values(network) as ((state,), empty):
                return functional_call(network, state, (empty(shape),))
        except (fake_tensor.DataDependentOutputException, fake_tensor.DynamicOutputShapeException):
            buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
            with torch.random.fork_rng():
                return functional_call(network, buffers, (_images(network, shape),))


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
        odd = LARGE[spatial_dims] // multiple | 1  # times an odd number: no larger power of two divides the side
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
            return f"an image {[channels, *sides]} ends in {type(error).__name__}: {first_line(error)}"
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
        raise UserError(
            f"this backbone does not fit the data: {error}. Choose an image_size or options that it takes; a network "
            "of your own can be wrapped in genseg_betty.backbones.padding.PadToMultiple."
        ) from error
    if not second_derivatives:
        return
    small = [min(side, SMALL) for side in sides]
    try:
        sides = sides if fault_of(network, channels, num_outputs, small) else small
        differentiate_twice(network, [2, channels, *sides])
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"this backbone cannot be differentiated twice, which hypergradient=exact does: {first_line(error)} "
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
    with _mode(network, training=True), torch.random.fork_rng():
        image = _images(network, shape).requires_grad_()
        loss = functional_call(network, weights | buffers, (image,)).square().mean()
        learned = [weight for weight in weights.values() if weight.requires_grad]
        gradients = torch.autograd.grad(loss, learned or [image], create_graph=True, allow_unused=True)
        total = torch.stack([g.square().sum() for g in gradients if g is not None]).sum()
        torch.autograd.grad(total, [image], allow_unused=True)


def first_line(error: BaseException) -> str:
    """Of its message: some libraries add a traceback."""
    return next(iter(str(error).splitlines()), "")


def _images(network: nn.Module, shape: Sequence[int]) -> Tensor:
    """Random images of the type and on the device of the weights."""
    some = next(network.parameters(), torch.empty(0))
    return torch.rand(*shape, dtype=some.dtype, device=some.device)


def state_of(network: nn.Module) -> State:
    """Weights and buffers by name, cut off from any graph."""
    return {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}


@contextmanager
def without_values(*networks: nn.Module) -> Iterator[tuple[list[State], Callable[[Sequence[int]], Tensor]]]:
    """Copies of the networks' states without values, and a maker of such images, of the first network's type."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    logger = logging.getLogger("torch._subclasses.fake_tensor")  # prints tracebacks of errors that we expect
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    some = next(networks[0].parameters(), torch.empty(0))
    values = [state_of(network) for network in networks]  # with fakes about, it takes much longer
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
            states: list[State] = [{name: fakes.from_tensor(value) for name, value in one.items()} for one in values]
            yield states, lambda shape: torch.empty(*shape, dtype=some.dtype, device=some.device)
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
