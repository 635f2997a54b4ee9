"""The blank frame that one camera gives all its images, and whether two pictures agree without it.

The round edge of a fundus photograph outweighs all vessels in it.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from genseg_betty.data.inspect.alignment import correlate_pairs, find_contrast_within, warp_images

BLANK = 8  # of a thumbnail's 0 to 255: what is as near to black or white counts as blank at the border
MARGIN = 2  # pixels around a frame that its edge colours
LEAST_CONTENT = 0.2  # share of the picture that must be left
BLUR = 2.0  # of the detail, pixels
LEAST_CORRELATION = 0.7  # of the detail


def agree_within_frames(fixed: Tensor, moving: Tensor, pose: Tensor) -> Tensor:
    """For each aligned pair of thumbnails [N, s, s], whether the pictures agree in their detail within the frames.

    Where the frames leave too little the answer is yes: there is nothing but their edge to judge by, and the pair
    was judged by that before.
    """
    count = len(fixed)
    thumbnails = torch.cat([fixed, moving])
    content = find_content(thumbnails)
    details = find_contrast_within(thumbnails, content, BLUR)
    moved, _ = warp_images(details[count:], pose)
    seen, inside = warp_images(content[count:], pose)

    # Both pictures show something only where neither has its frame.
    is_seen = seen > 0.99
    both = content[:count] * is_seen * inside
    agreeing = correlate_pairs(details[:count], moved, both) > LEAST_CORRELATION
    too_little = both.mean((1, 2)) < LEAST_CONTENT
    return agreeing | too_little


def find_content(thumbnails: Tensor) -> Tensor:
    """[N, s, s], 1 but where black or white reaches in from the border, and MARGIN pixels around that."""
    black = thumbnails < BLANK
    white = thumbnails > 255 - BLANK
    blank = (black | white).numpy()
    frames = np.stack([_find_frame(one) for one in blank])
    return torch.from_numpy(~frames).float()


def _find_frame(blank: np.ndarray) -> np.ndarray:
    """The blank regions of [s, s] that touch the border, widened by MARGIN."""
    regions, _ = ndimage.label(blank)
    edges = (
        regions[0],
        regions[-1],
        regions[:, 0],
        regions[:, -1],
    )
    border = np.concatenate(edges)
    frame = np.isin(regions, border[border > 0])
    if not frame.any():
        return frame
    return ndimage.binary_dilation(frame, iterations=MARGIN)
