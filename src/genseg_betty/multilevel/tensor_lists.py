"""Many small tensors handled by few operators: each of them costs a GPU as much as a pass over a small image."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

SMALL = 2**16
"""Numbers up to which tensors are joined; a copy of larger ones would cost more than it saves."""

CHUNK = 2**22
"""Numbers that are handled together at most where copies are made on the way: those stay small beside all weights."""

Kind = tuple[torch.dtype, torch.device]


def split_into_chunks(
    tensors: Sequence[Tensor], limit: float = math.inf, in_order: bool = False
) -> Iterator[list[int]]:
    """The positions of tensors of one type and device, for which torch has operators on lists.

    Args:
        tensors: what is split.
        limit: the most numbers that a chunk holds; a larger tensor is alone.
        in_order: yield only tensors that follow each other in a chunk, and the chunks in their order.
    """
    chunks: dict[Kind, list[int]] = {}
    sizes: dict[Kind, int] = {}
    for place, tensor in enumerate(tensors):
        kind = (tensor.dtype, tensor.device)
        if in_order and kind not in chunks:
            yield from chunks.values()
            chunks.clear()
        if kind in chunks and sizes[kind] + tensor.numel() > limit:
            yield chunks.pop(kind)
        if kind not in chunks:
            chunks[kind] = []
            sizes[kind] = 0
        chunks[kind].append(place)
        sizes[kind] += tensor.numel()
    yield from chunks.values()


def clone_together(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A copy of each, with its strides and without its graph."""
    copies = [torch.empty_like(tensor, requires_grad=False) for tensor in tensors]
    with torch.no_grad():
        for places in split_into_chunks(tensors):
            targets = [copies[place] for place in places]
            sources = [tensors[place] for place in places]
            torch._foreach_copy_(targets, sources)
    return copies


@torch.no_grad()
def restore_unless(kept: Tensor, tensors: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Write `before` over the tensors where `kept`, a bool without dimensions, is false.

    As `data`, which autograd does not take for a change: where `kept` is true there is none, and a recorded graph that
    holds the tensors is still to be walked.
    """
    small = [place for place, tensor in enumerate(tensors) if tensor.numel() <= SMALL]
    for places in split_into_chunks([tensors[place] for place in small]):
        now = [tensors[small[place]].data for place in places]
        old = [before[small[place]] for place in places]
        sizes = [tensor.numel() for tensor in now]
        chosen = torch.where(kept, _join_flat(now), _join_flat(old))
        parts = chosen.split(sizes)
        shaped = [part.view_as(tensor) for part, tensor in zip(parts, now, strict=True)]
        torch._foreach_copy_(now, shaped)
    for tensor, value in zip(tensors, before, strict=True):
        if tensor.numel() > SMALL:
            tensor.data.copy_(torch.where(kept, tensor, value))


def _join_flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
