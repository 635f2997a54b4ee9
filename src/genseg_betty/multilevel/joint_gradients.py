"""What the processes of a training hand each other of their gradients, and whether they still hold the same weights."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from genseg_betty.joint_batch import average_processes, find_unequal
from genseg_betty.multilevel.tensor_lists import CHUNK, split_into_chunks
from genseg_betty.ranks import count_processes

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a number -> the whole numbers that its bits are read as."""


def average_gradients(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """The mean of the processes' gradients, many small ones in one message; those of a single process as they are."""
    if count_processes() == 1:
        return gradients
    averaged = list(gradients)
    for places in split_into_chunks(gradients, CHUNK):
        parts = [gradients[place] for place in places]
        sizes = [part.numel() for part in parts]
        joined = torch.cat([part.detach().reshape(-1) for part in parts])
        means = average_processes(joined).split(sizes)
        for place, mean, part in zip(places, means, parts, strict=True):
            averaged[place] = mean.view(part.shape)
    return averaged


def sum_bits(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of the tensors' bits, read as whole numbers: an int64 that one changed bit changes."""
    total = torch.zeros((), dtype=torch.int64)
    for tensor in tensors:
        whole = tensor.detach().contiguous().view(BITS[tensor.element_size()])
        total += whole.sum(dtype=torch.int64).cpu()
    return total


def find_unlike(groups: dict[str, list[Tensor]]) -> list[str]:
    """The names of the groups of tensors that are not the same, to the bit, in all processes."""
    if count_processes() == 1:
        return []
    names = list(groups)
    sums = torch.stack([sum_bits(tensors) for tensors in groups.values()])
    return [names[place] for place in find_unequal(sums)]


def average_grads_of(parameters: Sequence[nn.Parameter]) -> None:
    """Put the mean of the processes' gradients in the place of each parameter's own."""
    learning = []
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None:
            learning.append(parameter)
            gradients.append(parameter.grad)
    for parameter, mean in zip(learning, average_gradients(gradients), strict=True):
        parameter.grad = mean
