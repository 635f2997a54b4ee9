"""The exponential average of a network's weights, which is validated, tested and kept."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

CHUNK = 2**22
"""Numbers of which copies are made at once at most, on devices that need copies."""

Pairs = list[tuple[Tensor, Tensor]]


class Average(AveragedModel):
    """torch's averaged model, buffers included, that follows only where a step was made, and asks no device for that.

    Args:
        decay: share of the average that a step leaves, 0 <= decay < 1; 0: the weights themselves.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def follow(self, module: nn.Module, sound: Tensor) -> None:
        """Move towards the weights of `module`, at first onto them; `sound`: a bool without dimensions."""
        share = (1.0 - self.decay * (self.n_averaged > 0).double()) * sound
        for pairs in _chunk(zip(_tensors(self.module), _tensors(module), strict=True)):
            _approach(pairs, share if pairs[0][0].is_floating_point() else sound)
        self.n_averaged += sound


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _chunk(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Pairs]:
    """Pairs of one type and device together, for which torch has operators on lists."""
    kinds: defaultdict[tuple[torch.dtype, torch.device], Pairs] = defaultdict(list)
    for mine, its in pairs:
        chunk = kinds[mine.dtype, mine.device]
        if chunk and sum(held.numel() for held, _ in chunk) + mine.numel() > CHUNK:
            yield kinds.pop((mine.dtype, mine.device))
        kinds[mine.dtype, mine.device].append((mine, its))
    yield from kinds.values()


def _approach(pairs: Pairs, share: Tensor) -> None:
    """Move the first of each pair towards the second, by a share of the way that is a number without dimensions."""
    mine, its = (list(part) for part in zip(*pairs, strict=True))
    share = share.to(mine[0].dtype)
    if mine[0].is_floating_point() and lerps_lists(mine[0].device):
        torch._foreach_lerp_(mine, its, [share] * len(mine))
    elif mine[0].dtype == torch.bool:
        torch._foreach_copy_(mine, [torch.where(share, new, old) for old, new in pairs])
    else:
        # By name, as `torch._foreach_mul` would ask the device for the share. The sum is exact for the shares 0 and 1,
        # for integers too.
        moved = torch.ops.aten._foreach_mul.Tensor(its, share)
        torch.ops.aten._foreach_mul_.Tensor(mine, 1 - share)
        torch._foreach_add_(mine, moved)


def lerps_lists(device: torch.device) -> bool:
    """Whether a lerp of lists with one share for all, a tensor, takes no longer there than with a share for each."""
    return device.type == "cpu"
