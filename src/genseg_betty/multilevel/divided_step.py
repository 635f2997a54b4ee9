"""A step of which each process computes its share, made as the step of the joint batch.

Within `DividedStep`, random numbers are drawn for the joint batch, by generators that are seeded alike everywhere, and
each process keeps those of its rows: dropout and noise are those of one process with all rows. That costs each process
the draws of the others. BatchNorm normalises by the statistics of the joint batch, with derivatives of any order.

A tensor of random numbers is taken to hold the images along its first axis, and a tensor without axes to be the same
for all. A network that lays them out otherwise draws as well, but not what one process would.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from genseg_betty.joint_batch import count_sharing, divided_batch, join_shape, sum_over_processes, take_rows
from genseg_betty.ranks import count_processes

Operator = Callable[..., Any]


class DividedStep(TorchFunctionMode):
    """Within it, and wherever a batch is divided, what depends on the whole batch is computed for the joint one."""

    def __torch_function__(
        self, function: Operator, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        replacement = REPLACEMENTS.get(function)
        if replacement is None or count_sharing() == 1:
            return function(*args, **(kwargs or {}))
        return replacement(function, *args, **(kwargs or {}))


def divide_step() -> AbstractContextManager[Any]:
    """Compute the block's batches in equal shares, one for each process; does nothing for a single one."""
    return nullcontext() if count_processes() == 1 else _dividing()


@contextmanager
def _dividing() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(divided_batch(count_processes()))
        stack.enter_context(DividedStep())
        yield


# -- random numbers --------------------------------------------------------------------------------------------


def _draw_shape(draw: Operator, *size: Any, **options: Any) -> Tensor:
    """`torch.rand` and `torch.randn`, whose size is one sequence or several numbers."""
    given = size or (options.pop("size"),)
    shape = given[0] if isinstance(given[0], Sequence) else given
    return _draw_rows(shape, lambda joint: draw(joint, **options))


def _draw_integers(draw: Operator, *limits_and_size: Any, **options: Any) -> Tensor:
    """`torch.randint`, whose size comes after one limit or two."""
    if "size" in options:
        limits, shape = limits_and_size, options.pop("size")
    else:
        limits, shape = limits_and_size[:-1], limits_and_size[-1]
    return _draw_rows(shape, lambda joint: draw(*limits, joint, **options))


def _draw_like(draw: Operator, like: Tensor, *limits: Any, **options: Any) -> Tensor:
    """`torch.rand_like`, `torch.randn_like`, `torch.randint_like`."""
    return _draw_rows(like.shape, lambda joint: draw(like.new_empty(joint), *limits, **options))


def _draw_into(draw: Operator, place: Tensor, *options: Any, **named: Any) -> Tensor:
    """A tensor's own methods, `bernoulli_` and the like."""
    drawn = _draw_rows(place.shape, lambda joint: draw(place.new_empty(joint), *options, **named))
    return place.copy_(drawn)


def _drop_out(drop: Operator, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of numbers or of channels: a factor of 0 or 1 / (1 - p)."""
    if not training:
        return input
    factors = _draw_rows(input.shape, lambda joint: drop(input.detach().new_ones(joint), p, True))
    return input.mul_(factors) if inplace else input * factors


def _draw_rows(shape: Sequence[int], draw: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """This process's rows of what is drawn for the joint batch; what has no axes is the same for all."""
    return take_rows(draw(join_shape(shape))) if len(shape) else draw(())


# -- statistics ------------------------------------------------------------------------------------------------


def normalise_batch(
    usual: Operator, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
    weight: Tensor | None = None, bias: Tensor | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """`functional.batch_norm` by the statistics of the joint batch (Ioffe & Szegedy, arXiv:1502.03167)."""
    if not training:
        return usual(input, running_mean, running_var, weight, bias, training, momentum, eps)
    x = input.to(torch.promote_types(input.dtype, torch.float32))
    count = count_sharing() * x.numel() // x.shape[1]
    mean = _sum_joint(x) / count
    centred = x - mean
    variance = _sum_joint(centred.square()) / count
    normalised = centred * torch.rsqrt(variance + eps)
    if weight is not None:
        normalised = normalised * weight.view(mean.shape)
    if bias is not None:
        normalised = normalised + bias.view(mean.shape)
    unbiased = variance * (count / max(count - 1, 1))
    for running, found in ((running_mean, mean), (running_var, unbiased)):
        if running is not None:
            running.lerp_(found.detach().flatten().to(running.dtype), momentum)
    return normalised.to(input.dtype)


def _sum_joint(x: Tensor) -> Tensor:
    """The sums over images and pixels of the joint batch: [B, C, *] -> [1, C, 1, …]."""
    other_axes = [axis for axis in range(x.ndim) if axis != 1]
    return sum_over_processes(x.sum(other_axes, keepdim=True))


REPLACEMENTS: dict[Operator, Operator] = {
    torch.rand: _draw_shape,
    torch.randn: _draw_shape,
    torch.randint: _draw_integers,
    torch.rand_like: _draw_like,
    torch.randn_like: _draw_like,
    torch.randint_like: _draw_like,
    Tensor.bernoulli_: _draw_into,
    Tensor.normal_: _draw_into,
    Tensor.uniform_: _draw_into,
    functional.dropout: _drop_out,
    functional.dropout1d: _drop_out,
    functional.dropout2d: _drop_out,
    functional.dropout3d: _drop_out,
    functional.batch_norm: normalise_batch,
}
"""Torch's function -> what is called in its place, with that function as its first argument."""
