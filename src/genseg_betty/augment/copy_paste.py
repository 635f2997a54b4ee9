"""Copy-paste: the objects of another image of the batch are pasted onto an image, and onto its mask.

Ghiasi et al., Simple Copy-Paste Is a Strong Data Augmentation Method for Instance Segmentation, CVPR 2021. All of the
foreground of the other image is an object. It keeps its place in the frame: both images have been moved before, each
by a draw of its own. A batch of one image has no other, and nothing is pasted: so it is in `genseg generate`, which
draws its pairs one by one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genseg_betty.augment.smoothing import blur_image

EDGE = 1.0  # pixels: the standard deviation of the blur that makes the edge of an object soft
MOST_OUTSIDE = 0.5  # share of the pasted image outside of its objects, at most: the label there is that of the other


@dataclass(frozen=True, kw_only=True)
class CopyPaste:
    """Pastes objects at random.

    Args:
        probability: the share of images that get the objects of another one.
    """

    probability: float

    def find_faults(self) -> list[str]:
        """A line if the probability is out of range."""
        if 0 <= self.probability <= 1:
            return []
        return [f"copy_paste={self.probability}: expected a share of the images, from 0 to 1"]

    def draw_donors(self, count: int) -> Tensor:
        """Draw the number of the image that each of `count` images gets objects of, [count] int64; its own: of none."""
        # Everything follows from one seed, which torch's generator of the CPU gives.
        random = np.random.RandomState(int(torch.randint(2**31, ())))
        donors = np.arange(count)
        for index in range(count):
            is_chosen = random.rand() < self.probability
            distance = random.randint(1, max(count, 2))
            if is_chosen:
                donors[index] = (index + distance) % count
        return torch.from_numpy(donors)


def paste_labels(mask: Tensor, donors: Tensor) -> Tensor:
    """Mask [B, *] of class indices -> the same with the objects of the masks that `donors` [B] names."""
    objects = mask.index_select(0, donors)
    return torch.where(objects > 0, objects, mask)


def paste_pixels(image: Tensor, mask: Tensor, donors: Tensor) -> Tensor:
    """Image [B, C, *] -> the same with the objects in mask [B, *] of the images that `donors` [B] names.

    Within an object all of it is the donor's. Around it the donor's share falls smoothly from a half to nothing.
    """
    inside = mask.index_select(0, donors)[:, None] > 0
    dims = mask.ndim - 1
    deviations = torch.full((len(mask), 1, dims), EDGE, device=mask.device, dtype=torch.float64)
    around = blur_image(inside.to(image.dtype), deviations).clamp_max(MOST_OUTSIDE)
    share = torch.where(inside, 1.0, around)
    return torch.lerp(image, image.index_select(0, donors), share)
