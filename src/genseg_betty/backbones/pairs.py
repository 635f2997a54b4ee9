"""Two segmenters of different structure that learn beside each other, and one that answers with the mean of both."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.errors import UserError


class NetworkPair(nn.Module):
    """Two segmenters side by side: [B, C, *] -> the logits [B, O, *] of each.

    Args:
        first: the backbone that the config names.
        second: one of another structure.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(image), self.second(image)


class MeanOfTwo(nn.Module):
    """A segmenter whose probabilities are the mean of those of two: [B, C, *] -> logits [B, O, *].

    Its weights are called as those of a `NetworkPair`.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, image: Tensor) -> Tensor:
        return average_logits(self.first(image), self.second(image))


def average_logits(one: Tensor, other: Tensor) -> Tensor:
    """Logits [B, O, *] whose sigmoid (one output) or softmax (several) is the mean of those of two.

    It is computed in logarithms, so that no probability is rounded to 0.
    """
    one, other = one.float(), other.float()
    if one.shape[1] == 1:
        foreground = torch.logaddexp(functional.logsigmoid(one), functional.logsigmoid(other))
        background = torch.logaddexp(functional.logsigmoid(-one), functional.logsigmoid(-other))
        return foreground - background
    summed = torch.logaddexp(one.log_softmax(dim=1), other.log_softmax(dim=1))
    return summed - math.log(2)


def require_different(first: nn.Module, second: nn.Module, name: str) -> None:
    """Raise UserError for two networks of one structure, whatever their widths: they would make the same mistakes."""
    kinds = [[type(module) for module in network.modules()] for network in (first, second)]
    if kinds[0] == kinds[1]:
        raise UserError(
            f"method.second_backbone={name} has the structure of the first network; expected one of another, such as "
            "swinunet beside unet, or unet beside swinunet"
        )
