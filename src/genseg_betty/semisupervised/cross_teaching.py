"""Cross teaching: two networks of different structure, each learns from the other's labels of unlabelled images.

Luo et al., Semi-Supervised Medical Image Segmentation via Cross Teaching between CNN and Transformer, MIDL 2022; the
losses and weights are those of the authors' code. Both networks see one batch, labelled images first. For each:

    (CE(p, y) + Dice(p, y)) / 2 + λ(t) Dice(p, ŷ)        λ(t) = λ_max · exp(-5 (1 - t)²)

where ŷ is what the other network takes for the most probable class of each unlabelled pixel, without a gradient, and t
the share of the training that is done: 200 units of 150 steps there, all steps here, without stages.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genseg_betty.consistency import find_class_logits, find_pseudo_labels, measure_dice_losses
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.semisupervised.level import PairLevel
from genseg_betty.semisupervised.ramps import ramp_up


def measure_labelled(logits: Tensor, mask: Tensor) -> Tensor:
    """(CE + Dice) / 2 of logits [B, O, *] and masks [B, *]; of one output the classes have 1 - p and p, CE is BCE.

    Dice is that of the authors: squares in the denominator, a mean over all classes, the background too.
    """
    entropy = functional.cross_entropy(find_class_logits(logits), mask)
    return (entropy + measure_dice_losses(logits, mask).mean()) / 2


def measure_cross_teaching(logits: Tensor, others: Tensor) -> Tensor:
    """Dice of logits [U, O, *] against the labels of the other network's logits, which get no gradient from it."""
    labels, _ = find_pseudo_labels(others)
    return measure_dice_losses(logits, labels).mean()


class CrossTeaching(PairLevel):
    """The two networks and their losses, added.

    Args:
        consistency_weight: λ_max.
    """

    def __init__(self, *args: Any, consistency_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.consistency_weight = consistency_weight

    def training_step(self, batch: MixedBatch) -> Tensor:
        image, mask = self.take_labelled(batch)
        unlabelled = self.take_unlabelled(batch)
        first, second = self(torch.cat([image, unlabelled]))
        count = len(image)
        labelled = measure_labelled(first[:count], mask) + measure_labelled(second[:count], mask)
        first_taught = measure_cross_teaching(first[count:], second[count:])
        second_taught = measure_cross_teaching(second[count:], first[count:])
        weight = self.consistency_weight * ramp_up(batch.progress)
        return labelled + weight * (first_taught + second_taught)
