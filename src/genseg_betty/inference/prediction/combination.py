"""The logits of one or several networks become one mask, at the size of the image and in little memory.

Each Run's logits have the size of its network. They are brought to the image's size a part at a time, and of a part
only what is asked for is kept: a picture of 10,000 x 10,000 pixels takes no more than its mask and one part.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genseg_betty.data.preprocessing import decide_classes
from genseg_betty.data.resampling import list_parts, resize_part

EIGHT_BIT = 255
SMALLEST = 1e-12  # probability whose logarithm is taken


@dataclass
class Combined:
    """One image's prediction, at its size [*].

    Attributes:
        labels: class indices, uint8 (uint16 of more than 256 classes).
        counts: pixels of each class.
        confidence: mean probability of each class over the pixels that are given it; None where there are none.
        probabilities: float16 [classes, *], the mean over the networks, if asked for.
        uncertainty: uint8 [*], if asked for: the entropy of these, 0 for certain, 255 for all classes alike.
    """

    labels: np.ndarray
    counts: list[int]
    confidence: list[float | None]
    probabilities: np.ndarray | None = None
    uncertainty: np.ndarray | None = None


def combine_logits(
    members: Sequence[Tensor],
    shape: Sequence[int],
    classes: int,
    probabilities: bool = False,
    uncertainty: bool = False,
) -> Combined:
    """Combine the logits [O, *grid] of each network, whose grids may differ, to a prediction of `shape`.

    A single network decides by its logits, several by the mean of their probabilities.
    """
    small = np.uint8 if classes <= EIGHT_BIT + 1 else np.uint16
    result = Combined(labels=np.empty(shape, small), counts=[], confidence=[])
    if probabilities:
        result.probabilities = np.empty((classes, *shape), np.float16)
    if uncertainty:
        result.uncertainty = np.empty(shape, np.uint8)

    counts = torch.zeros(classes, dtype=torch.int64)
    sums = torch.zeros(classes, dtype=torch.float64)
    for start, stop in list_parts(classes, shape):
        resized = [resize_part(logits, shape, start, stop) for logits in members]
        chances = _average_probabilities(resized)
        labels = decide_classes(resized[0]) if len(resized) == 1 else chances.argmax(dim=0)
        winning = chances.gather(0, labels[None]).flatten().double()
        flat = labels.flatten()
        counts += torch.bincount(flat, minlength=classes)
        sums += torch.bincount(flat, weights=winning, minlength=classes)
        result.labels[start:stop] = labels.numpy()
        if result.probabilities is not None:
            result.probabilities[:, start:stop] = chances.numpy()
        if result.uncertainty is not None:
            result.uncertainty[start:stop] = _measure_entropy(chances).numpy()
    result.counts = counts.tolist()
    result.confidence = _divide_sums(sums.tolist(), result.counts)
    return result


def to_probabilities(logits: Tensor) -> Tensor:
    """Logits [O, *] -> probabilities [classes, *]; a single output is that of the second of two classes."""
    if len(logits) == 1:
        return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)])
    return torch.softmax(logits, dim=0)


def _average_probabilities(members: Sequence[Tensor]) -> Tensor:
    total = to_probabilities(members[0])
    for logits in members[1:]:
        total = total + to_probabilities(logits)
    return total / len(members)


def _measure_entropy(chances: Tensor) -> Tensor:
    """The entropy of [classes, *] as uint8 [*]: 0 where one class is certain, 255 where all are alike."""
    logarithms = chances.clamp(min=SMALLEST).log()
    entropy = -(chances * logarithms).sum(dim=0) / math.log(len(chances))
    return (entropy.clamp(0, 1) * EIGHT_BIT).round().byte()


def _divide_sums(sums: Sequence[float], counts: Sequence[int]) -> list[float | None]:
    means = []
    for total, count in zip(sums, counts, strict=True):
        means.append(total / count if count else None)
    return means
