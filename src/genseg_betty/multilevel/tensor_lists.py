"""Many small tensors handled by few operators: each of them costs a GPU as much as a pass over a small image."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

SMALL = 2**16
"""Numbers up to which tensors are joined; a copy of larger ones would cost more than it saves."""


def clone_together(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A copy of each, with its strides and without its graph."""
    copies = [torch.empty_like(tensor, requires_grad=False) for tensor in tensors]
    with torch.no_grad():
        for places in _split_by_type(tensors):
            torch._foreach_copy_([copies[place] for place in places], [tensors[place] for place in places])
    return copies


@torch.no_grad()
def restore_unless(kept: Tensor, tensors: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Write `before` over the tensors where `kept`, a bool without dimensions, is false.

    As `data`, which autograd does not take for a change: where `kept` is true there is none, and a recorded graph that
    holds the tensors is still to be walked.
    """
    small = [place for place, tensor in enumerate(tensors) if tensor.numel() <= SMALL]
    for places in _split_by_type([tensors[place] for place in small]):
        now = [tensors[small[place]].data for place in places]
        old = [before[small[place]] for place in places]
        chosen = torch.where(kept, _join(now), _join(old)).split([tensor.numel() for tensor in now])
        torch._foreach_copy_(now, [part.view_as(tensor) for part, tensor in zip(chosen, now, strict=True)])
    for tensor, value in zip(tensors, before, strict=True):
        if tensor.numel() > SMALL:
            tensor.data.copy_(torch.where(kept, tensor, value))


def _join(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _split_by_type(tensors: Sequence[Tensor]) -> Iterator[list[int]]:
    """The positions of tensors of one type and device, for which torch has operators on lists."""
    groups = defaultdict(list)
    for place, tensor in enumerate(tensors):
        groups[tensor.dtype, tensor.device].append(place)
    yield from groups.values()
