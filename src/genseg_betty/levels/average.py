"""The exponential average of a network's weights, which is validated, tested and kept."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


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
        dtype = next(self.module.parameters()).dtype
        share = ((1.0 - self.decay * (self.n_averaged > 0).double()) * sound).to(dtype)
        for mine, its in zip(_tensors(self.module), _tensors(module), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, share.to(mine.dtype))
            else:
                mine.copy_(torch.where(sound, its, mine))
        self.n_averaged += sound


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
