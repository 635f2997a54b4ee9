"""A test case as a picture: its image, small, with the outlines of its true mask and of the predicted one."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genseg_betty.data.loading import DataBundle
from genseg_betty.inference.predictor import Predictor
from genseg_betty.samples import outline_masks

LONGEST = 256  # pixels of a picture's longer side
COLOURS = 3


def draw_case(data: DataBundle, predictor: Predictor, test_set: str, case_id: str) -> np.ndarray:
    """Predict a case of a test set once more and draw it, uint8 [H, W, 3]. Of a volume the slice with the most truth.

    Raises UserError for a case that cannot be read.
    """
    dataset, cases = data.test[test_set]
    (case,) = [case for case in cases if case.id == case_id]
    sample = dataset.load(case)
    assert sample.mask is not None  # a Case is a labelled image
    scale = dataset.scale([case])
    image = predictor.preprocessing.in_units_of_training(sample.image, scale)
    prediction = predictor(image, sample.spacing, sample.affine)
    return draw_overlay(sample.image, sample.mask, prediction)


def draw_overlay(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Image [H, W, C] or [D, H, W, C] and masks of its size -> uint8 [H, W, 3]."""
    if truth.ndim == 3:
        foreground = (truth > 0).sum(axis=(1, 2))
        chosen = int(foreground.argmax())
        image, truth, prediction = image[chosen], truth[chosen], prediction[chosen]
    pixels = torch.from_numpy(_stretch_values(image)).movedim(-1, 0)
    size = _find_size(*truth.shape)
    small = F.interpolate(pixels[None], size=size, mode="area")[0]
    return outline_masks(small, _shrink_mask(truth, size), _shrink_mask(prediction, size))


def _stretch_values(image: np.ndarray) -> np.ndarray:
    """The values of an image, gray or in colour, from its darkest to its brightest one as -1 to 1."""
    shown = image[..., :COLOURS] if image.shape[-1] >= COLOURS else image[..., :1]
    low, high = float(shown.min()), float(shown.max())
    span = max(high - low, 1e-6)
    return ((shown - low) / span * 2 - 1).astype(np.float32)


def _find_size(height: int, width: int) -> tuple[int, int]:
    """The size of the picture; an image that is small already keeps its own."""
    factor = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """The mask at another size, of the class that lies nearest."""
    classes = torch.from_numpy(mask.astype(np.float32))
    return F.interpolate(classes[None, None], size=size, mode="nearest")[0, 0].long()
