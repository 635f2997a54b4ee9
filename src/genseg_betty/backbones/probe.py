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

    with _in_mode(network, training), torch.no_grad():
        try:
            with without_values(network) as ((state,), empty):
                return functional_call(network, state, (empty(shape),))
        except (fake_tensor.DataDependentOutputException, fake_tensor.DynamicOutputShapeException):
            buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
            with torch.random.fork_rng():
                return functional_call(network, buffers, (_draw_images(network, shape),))


def find_padding(
    network: nn.Module,
    channels: int,
    num_outputs: int,
    spatial_dims: int,
    candidates: Iterable[int] = STRIDES,
) -> tuple[int, int]:
    """Which sides `network` maps to logits of the same size: the multiples of the first number, from the second on.

    Raises:
        UserError: no candidate for the first number will do.
    """
    fault = None
    for multiple in candidates:
        odd = LARGE[spatial_dims] // multiple | 1  # times an odd number: no larger power of two divides the side
        sides = [multiple * (odd + 2 * axis) for axis in range(spatial_dims)]
        fault = find_fault(network, channels, num_outputs, sides)
        if fault is not None:
            continue
        for power in range(odd.bit_length()):
            side = multiple * 2**power
            if find_fault(network, channels, num_outputs, [side] * spatial_dims) is None:
                return multiple, side
        return multiple, multiple * odd
    raise UserError(fault or "nothing was tried")


def find_fault(network: nn.Module, channels: int, num_outputs: int, sides: Sequence[int]) -> str | None:
    """What is wrong with what `network` makes of images with these sides, in training or in evaluation.

    Raises:
        UserError: it is wrong whatever the sides.
    """
    expected = [2, num_outputs, *sides]
    for training in (True, False):
        try:
            output = dry_run(network, [2, channels, *sides], training)
        except Exception as error:  # whatever a foreign network raises
            cause = f"{type(error).__name__}: {first_line(error)}"
            return f"an image {[channels, *sides]} ends in {cause}"
        if not isinstance(output, Tensor):
            raise UserError(f"it returns {type(output).__name__}, expected one tensor of logits")
        found = list(output.shape)
        if found != expected:
            fault = f"images {[2, channels, *sides]} give {found}, expected {expected}"
            has_other_form = len(found) != len(expected)
            if has_other_form or found[:2] != expected[:2]:
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
        fault = find_fault(network, channels, num_outputs, sides)
        if fault is not None:
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
        if find_fault(network, channels, num_outputs, small) is None:
            sides = small
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
    weights = {}
    for name, weight in network.named_parameters():
        weights[name] = weight.detach().requires_grad_(weight.requires_grad)
    learned = [weight for weight in weights.values() if weight.requires_grad]
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with _in_mode(network, training=True), torch.random.fork_rng():
        image = _draw_images(network, shape).requires_grad_()
        logits = functional_call(network, weights | buffers, (image,))
        loss = logits.square().mean()
        gradients = torch.autograd.grad(loss, learned or [image], create_graph=True, allow_unused=True)
        squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
        total = torch.stack(squares).sum()
        torch.autograd.grad(total, [image], allow_unused=True)


def first_line(error: BaseException) -> str:
    """The first line of an error's message: some libraries add a traceback."""
    return next(iter(str(error).splitlines()), "")


def _draw_images(network: nn.Module, shape: Sequence[int]) -> Tensor:
    """Random images of the type and on the device of the weights."""
    some = next(network.parameters(), torch.empty(0))
    return torch.rand(*shape, dtype=some.dtype, device=some.device)


def detach_state(network: nn.Module) -> State:
    """Weights and buffers by name, cut off from any graph."""
    named = (*network.named_parameters(), *network.named_buffers())
    return {name: value.detach() for name, value in named}


@contextmanager
def without_values(*networks: nn.Module) -> Iterator[tuple[list[State], Callable[[Sequence[int]], Tensor]]]:
    """Copies of the networks' states without values, and a maker of such images, of the first network's type."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    logger = logging.getLogger("torch._subclasses.fake_tensor")  # prints tracebacks of errors that we expect
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    some = next(networks[0].parameters(), torch.empty(0))
    values = [detach_state(network) for network in networks]  # with fakes about, it takes much longer

    def make_images(shape: Sequence[int]) -> Tensor:
        return torch.empty(*shape, dtype=some.dtype, device=some.device)

    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
            states: list[State] = []
            for state in values:
                states.append({name: fakes.from_tensor(value) for name, value in state.items()})
            yield states, make_images
    finally:
        logger.setLevel(level)


@contextmanager
def _in_mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Training or evaluation mode inside the block; each module is in its own mode again after it."""
    modes = {module: module.training for module in network.modules()}
    try:
        network.train(training)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
