"""CutMix: a rectangle of one image takes the place of the same rectangle of another (Yun et al., ICCV 2019).

The rectangles are drawn as UniMatch draws them for medical images: a share of the image's area and a ratio of height to
width, both uniform, and then a place where the rectangle lies within the image.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

AREAS = (0.02, 0.4)  # shares of the image
RATIOS = (0.3, 1 / 0.3)  # height to width, of a square image


@dataclass(frozen=True)
class CutMix:
    """Draws rectangles.

    Args:
        probability: the share of images that have one.
    """

    probability: float = 0.5

    def draw_boxes(self, count: int, height: int, width: int) -> Tensor:
        """Where each image's rectangle lies: bool [count, height, width].

        Everything follows from one seed, which torch's generator of the CPU gives.
        """
        seed = int(torch.randint(2**31, ()))
        random = np.random.RandomState(seed)
        boxes = torch.zeros(count, height, width, dtype=torch.bool)
        for box in boxes:
            if random.uniform() < self.probability:
                rows, columns = _draw_box(random, height, width)
                box[rows, columns] = True
        return boxes


def _draw_box(random: np.random.RandomState, height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of a rectangle; where the image is no square, it is stretched as the image is."""
    area = random.uniform(*AREAS)
    while True:
        ratio = random.uniform(*RATIOS)
        rows = int(math.sqrt(area * ratio) * height)
        columns = int(math.sqrt(area / ratio) * width)
        top = random.randint(height)
        left = random.randint(width)
        if top + rows <= height and left + columns <= width:
            return slice(top, top + rows), slice(left, left + columns)


def paste_boxes(values: Tensor, others: Tensor, boxes: Tensor) -> Tensor:
    """`others` within the boxes [B, H, W], `values` elsewhere: images [B, C, H, W], or labels [B, H, W]."""
    if values.ndim > boxes.ndim:
        boxes = boxes[:, None]
    return torch.where(boxes, others, values)
