"""Test-time augmentation: the mean of the probabilities that a network gives an image and its mirror images."""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def average_over_flips(infer: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Logits [1, O, *] whose probabilities are the mean over all mirror images of [1, C, *]: 4 of an image, 8 of a
    volume.

    `infer` gives logits of an image. A single output stays one, whose sigmoid is the mean.
    """
    total: Tensor | None = None
    count = 0
    for axes in _list_flips(image.ndim - 2):
        logits = infer(image.flip(axes)).flip(axes)
        shares = _log_probabilities(logits)
        total = shares if total is None else torch.logaddexp(total, shares)
        count += 1
    assert total is not None
    if total.shape[1] > logits.shape[1]:  # of a single output: log(p / (1 - p))
        return total[:, 1:] - total[:, :1]
    return total - math.log(count)


def _list_flips(dims: int) -> Iterator[list[int]]:
    """The axes of [1, C, *] along which each mirror image is flipped; none, to begin with."""
    axes = range(2, 2 + dims)
    for count in range(dims + 1):
        for chosen in itertools.combinations(axes, count):
            yield list(chosen)


def _log_probabilities(logits: Tensor) -> Tensor:
    """Logarithms [1, classes, *] of the probabilities; a single output is that of the second of two classes."""
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    return F.log_softmax(logits, dim=1)
