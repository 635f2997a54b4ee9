"""One batch for several processes: each computes its rows, and together they make the step of the joint batch.

Every process holds the same weights, and sees the same joint batch, of which it takes its share of the rows. A loss L
of the joint batch is the mean of the processes' losses L_r, as long as L is a mean over images. Where it is not (the
sums of Dice, the statistics of BatchNorm), each process computes with sums over all of them, `sum_over_processes`,
which is differentiable any number of times. Then

    ∂L/∂w = mean over r of ∂(Σ_q L_q)/∂w_r,

where w_r are the weights as process r holds them: what autograd gives each process for its own loss. The same holds of
the products that a hypergradient is made of, as they are linear in what comes from above.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.autograd import Function

from genseg_betty.errors import UserError
from genseg_betty.ranks import count_processes, find_rank, is_first

Answer = TypeVar("Answer")
CPU = torch.device("cpu")

_sharing: ContextVar[int] = ContextVar("sharing", default=1)


# -- the processes ---------------------------------------------------------------------------------------------


@contextmanager
def joined_processes(device: torch.device) -> Iterator[None]:
    """Let the processes of this training reach each other within the block; nothing is done for a single one.

    Tensors of a GPU are summed by NCCL, those of main memory by Gloo.
    """
    if count_processes() == 1 or distributed.is_initialized():
        yield
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def ask_first(question: Callable[[], Answer]) -> Answer:
    """What the first process answers; the others wait for it.

    Raises:
        UserError: in the others, where the question raised an error in the first.
    """
    if count_processes() == 1:
        return question()
    if not is_first():
        return _hear_first()
    message: list[Any] = [True, None]  # that it failed
    try:
        message = [False, question()]
    finally:
        distributed.broadcast_object_list(message, device=CPU)
    found: Answer = message[1]
    return found


def _hear_first() -> Any:
    message: list[Any] = [None, None]
    distributed.broadcast_object_list(message, device=CPU)
    failed, answer = message
    if failed:
        raise UserError("the first process cannot go on; its message says why")
    return answer


def find_greatest(number: int) -> int:
    """The greatest of the processes' numbers."""
    if count_processes() == 1:
        return number
    numbers = torch.tensor([number])
    distributed.all_reduce(numbers, distributed.ReduceOp.MAX)
    return int(numbers)


def average_processes(values: Tensor) -> Tensor:
    """The mean of the processes' tensors, without a graph; equal to the bit in each of them."""
    if count_processes() == 1:
        return values
    total = values.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total / count_processes()


def find_unequal(values: Tensor) -> list[int]:
    """The positions at which the processes' rows of whole numbers [N] int64 are not the same."""
    if count_processes() == 1:
        return []
    both = torch.stack([values, ~values])  # ~ turns the order around without an overflow
    distributed.all_reduce(both, distributed.ReduceOp.MAX)
    most, least = both[0], ~both[1]
    return torch.nonzero(most != least).flatten().tolist()


# -- a batch and its rows ---------------------------------------------------------------------------------------


def require_even_shares(batch_size: int) -> None:
    """Raise UserError for a joint batch that cannot be divided into equal shares."""
    count = count_processes()
    if batch_size % count:
        fitting = f"{batch_size // count * count} or " if batch_size > count else ""
        raise UserError(
            f"trainer.batch_size={batch_size} cannot be divided among {count} processes: it is the size of the joint "
            f"batch, of which each takes an equal share. Set it to {fitting}{-(-batch_size // count) * count}, or "
            "start another number of processes"
        )


@contextmanager
def divided_batch(sharing: int) -> Iterator[None]:
    """Say that within the block this many processes compute equal shares of a batch; 1: each computes all of it."""
    token = _sharing.set(sharing)
    try:
        yield
    finally:
        _sharing.reset(token)


def divided_if_even(size: int) -> AbstractContextManager[None]:
    """Keep batches divided within the block where `size` images can be; else each process computes all of them."""
    return divided_batch(count_sharing() if size % count_sharing() == 0 else 1)


def count_sharing() -> int:
    """How many processes share the batch that is being computed."""
    return _sharing.get()


def take_rows(joint: Tensor, axis: int = 0) -> Tensor:
    """This process's share of the images that lie along `axis` of a tensor of the joint batch."""
    sharing = count_sharing()
    if sharing == 1:
        return joint
    size = joint.shape[axis] // sharing
    return joint.narrow(axis, find_rank().number * size, size)


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum over the processes that share the batch; differentiable any number of times."""
    return values if count_sharing() == 1 else _SumOverProcesses.apply(values)


class _SumOverProcesses(Function):
    """Every process's result depends on every process's values: the derivative is the same sum, of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        found: Tensor = _SumOverProcesses.apply(gradients[0])
        return found


def join_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a tensor of the joint batch, of which a share has this shape."""
    images, *rest = shape
    return (images * count_sharing(), *rest)
