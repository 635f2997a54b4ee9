"""The exponential average of a network's weights, which is validated, tested and kept."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from genseg_betty.multilevel.tensor_lists import CHUNK, split_into_chunks


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
        has_begun = (self.n_averaged > 0).double()
        share = (1.0 - self.decay * has_begun) * sound
        averages = _list_tensors(self.module)
        weights = _list_tensors(module)
        for places in split_into_chunks(averages, CHUNK):
            mine = [averages[place] for place in places]
            its = [weights[place] for place in places]
            is_number = mine[0].is_floating_point()
            _move_towards(mine, its, share if is_number else sound)
        self.n_averaged += sound


def _list_tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _move_towards(mine: list[Tensor], its: list[Tensor], share: Tensor) -> None:
    """Move each tensor of `mine` towards that of `its` by `share` of the way, a number without dimensions."""
    first = mine[0]
    share = share.to(first.dtype)
    if first.is_floating_point() and lerps_lists(first.device):
        shares = [share] * len(mine)
        torch._foreach_lerp_(mine, its, shares)
    elif first.dtype == torch.bool:
        chosen = [torch.where(share, new, old) for old, new in zip(mine, its, strict=True)]
        torch._foreach_copy_(mine, chosen)
    else:
        # By name, as `torch._foreach_mul` would ask the device for the share. The sum is exact for the shares 0 and 1,
        # for integers too.
        moved = torch.ops.aten._foreach_mul.Tensor(its, share)
        torch.ops.aten._foreach_mul_.Tensor(mine, 1 - share)
        torch._foreach_add_(mine, moved)


def lerps_lists(device: torch.device) -> bool:
    """Whether a lerp of lists with one share for all, a tensor, takes no longer there than with a share for each."""
    return device.type == "cpu"
