"""The masks that nnU-Net has written, where other methods have a Predictor: scored as theirs are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genseg_betty.data.formats import read_mask
from genseg_betty.data.formats.turns import turned, turned_sides, undone
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.inference.predictor import Predictor
from genseg_betty.nnunet.export import identify_image


class PredictedMasks(Predictor):
    """Looks masks up by the image that they were predicted for. There is no network of ours behind it.

    Args:
        masks: key of `identify_image` -> the file that nnU-Net has written.
    """

    def __init__(self, preprocessing: Preprocessing, masks: Mapping[str, Path]) -> None:
        super().__init__(nn.Identity(), preprocessing)
        self.masks = masks

    def __call__(
        self, image: np.ndarray, spacing: Sequence[float] | None = None, affine: np.ndarray | None = None
    ) -> np.ndarray:
        """Image [H, W, C] or [D, H, W, C] -> int64 class indices at its size, as nnU-Net has predicted them."""
        path = self.masks.get(identify_image(image, spacing, affine))
        if path is None:
            raise UserError(
                "nnU-Net has predicted the Run's validation and test images alone, and this is none of them. Predict "
                "others with nnUNetv2_predict."
            )
        self._require_spacing(spacing)
        turn = self.preprocessing.turn(self._spatial_size(image), affine)
        size = turned_sides(self._spatial_size(image), turn)
        return turned(self._fit_size(read_mask(path), size), undone(turn))

    def _fit_size(self, indices: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        """The mask at the size of the image: interpolated as the logits of other methods are, where it was resized."""
        if _list_sides(indices.shape) == _list_sides(size):
            return indices.reshape(size).astype(np.int64)
        classes = torch.from_numpy(indices.astype(np.int64))
        if self.num_classes == 2:
            return self.preprocessing.restore(classes[None] - 0.5, size)
        shares = F.one_hot(classes, self.num_classes).movedim(-1, 0)
        return self.preprocessing.restore(shares, size)


def _list_sides(shape: Sequence[int]) -> list[int]:
    """The sides of more than one voxel: a volume of one slice is read as an image."""
    return [side for side in shape if side > 1]
