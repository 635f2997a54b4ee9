"""Mutual correction: two networks of different structure, of which the one that fails in a batch learns from the other.

Wang et al., MCF: Mutual Correction Framework for Semi-Supervised Medical Image Segmentation, CVPR 2023; the losses and
weights are those of the authors' code, which is for binary masks of volumes. Both networks see one batch, labelled
images first. For each:

    CE(p, y) + Dice(p, y) + w · MSE(p, y) where the two networks choose other classes

and on unlabelled images, for the network whose Dice loss on the labelled ones is higher in this batch:

    λ(t) · MSE(p, q)        q = sharpened probabilities of the other one        λ(t) = λ_max · exp(-5 (1 - t)²)

The network that wins has no such term, and gets no gradient from it. t is the share of the training that is done: 40
units of 150 steps there, all steps here, without stages. CE and Dice are means over the batch; of several classes Dice
and the first MSE are means over the foreground ones.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from genseg_betty.consistency import (
    find_class_logits,
    measure_corrections,
    measure_foreground_dice,
    measure_rectification,
    sharpen_probabilities,
)
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.semisupervised.level import PairLevel
from genseg_betty.semisupervised.ramps import ramp_up


class MutualCorrection(PairLevel):
    """The two networks and their losses, added. The mean of both predicts.

    Args:
        consistency_weight: λ_max.
        correction_weight: w.
        temperature: of the sharpening, T: p^(1/T) / Σ p^(1/T).
    """

    predicts_with_both: ClassVar[bool] = True

    def __init__(
        self, *args: Any, consistency_weight: float, correction_weight: float, temperature: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.consistency_weight = consistency_weight
        self.correction_weight = correction_weight
        self.temperature = temperature

    def training_step(self, batch: MixedBatch) -> Tensor:
        image, mask = self.take_labelled(batch)
        unlabelled = self.take_unlabelled(batch)
        first, second = self(torch.cat([image, unlabelled]))
        count = len(image)

        # Each network is corrected where the other one chooses another class.
        labelled = self.measure_supervised(first[:count], second[:count], mask)
        labelled = labelled + self.measure_supervised(second[:count], first[:count], mask)

        # Both candidates are computed, so that a captured step may choose either.
        first_wins = measure_foreground_dice(first[:count], mask) < measure_foreground_dice(second[:count], mask)
        first_taught = self.teach_loser(first[count:], second[count:])
        second_taught = self.teach_loser(second[count:], first[count:])
        taught = torch.where(first_wins, second_taught, first_taught)
        return labelled + self.consistency_weight * ramp_up(batch.progress) * taught

    def measure_supervised(self, logits: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """CE + Dice + w MSE of a network on labelled images, beside the logits of the other one."""
        entropy = functional.cross_entropy(find_class_logits(logits), mask)
        dice = measure_foreground_dice(logits, mask)
        return entropy + dice + self.correction_weight * measure_corrections(logits, others, mask)

    def teach_loser(self, logits: Tensor, winners: Tensor) -> Tensor:
        """MSE of the loser's probabilities against the winner's sharpened ones, which get no gradient."""
        target = sharpen_probabilities(winners.detach(), self.temperature)
        return measure_rectification(logits, target)
