"""A level whose segmenter learns from labelled images, as every method's does, and from unlabelled ones beside them.

A method writes `training_step`, whose batch is a `MixedBatch`. It takes the labelled pairs first, so that they are
moved by the same draws as those of the supervised methods.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genseg_betty.augment import Augmentation
from genseg_betty.backbones.pairs import MeanOfTwo, NetworkPair
from genseg_betty.data.batches import Batch
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.levels.segmentation import SegmenterLevel
from genseg_betty.levels.stage import Networks, Trial, take_pairs


class SemiSupervisedLevel(SegmenterLevel):
    """One segmenter that sees labelled and unlabelled images.

    Args:
        augment: moves both, as the Combine baseline moves its pairs; None: as they are.
    """

    def __init__(self, *args: Any, augment: Augmentation | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.augment = augment

    def take_labelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images [B, C, *] and masks [B, *], moved together."""
        return take_pairs(batch, self.augment)

    def take_unlabelled(self, batch: MixedBatch) -> Tensor:
        """Images [U, C, *], moved by draws of their own."""
        if self.augment is None:
            return batch.unlabelled
        blank = torch.zeros_like(batch.unlabelled[:, 0], dtype=torch.int64)  # in place of the masks, which nobody reads
        moved, _ = self.augment.pair(batch.unlabelled, blank)
        return moved

    def dry_step(self) -> Trial:
        def pass_labelled_and_unlabelled(networks: Networks, image: Tensor, condition: Tensor) -> Any:
            return networks[0](image), networks[0](image)

        return Trial([self.module], pass_labelled_and_unlabelled)


class PairLevel(SemiSupervisedLevel):
    """Two segmenters of different structure in one level, `module.first` and `module.second`: one loss, one optimizer.

    Attributes:
        predicts_with_both: whether the mean of both is validated, tested and kept; else the first one alone is.
    """

    module: NetworkPair
    predicts_with_both: ClassVar[bool] = False

    def predictor(self) -> nn.Module:
        """The averaged first segmenter, or the mean of both averaged ones, in evaluation mode."""
        pair = self.average.module.eval()
        assert isinstance(pair, NetworkPair)
        return MeanOfTwo(pair.first, pair.second).eval() if self.predicts_with_both else pair.first
