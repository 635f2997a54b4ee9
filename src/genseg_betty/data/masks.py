"""A mask file becomes the class indices of its image's pixels: read, compared in size, decoded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import ImageError, mismatch, read_colours, read_mask
from genseg_betty.data.formats.common import CHANNELS
from genseg_betty.data.labels import LabelMap

MAX_STRETCH = 1  # percent by which the aspect of a scaled mask may differ from that of its image


def read_indices(path: Path, labels: LabelMap, size: Sequence[int] | None, scaled: bool) -> tuple[np.ndarray, bool]:
    """A mask file -> int64 class indices of `size` (the file's own if None); whether the mask is blurred.

    `size` is that of the image, (H, W) or (D, H, W). A mask of another size is brought there by nearest neighbour
    where it is `scaled` and has the image's aspect. Raises ImageError: `size_mismatch`, or as the readers and
    `LabelMap.decode`.
    """
    values = read_colours(path) if labels.in_colour else read_mask(path)
    if size is not None:
        require_fitting(values.shape, size, scaled)
    indices, blurred = labels.decode(values)
    if size is not None and indices.shape != tuple(size):
        indices = _nearest(indices, size)
    return indices, blurred


def require_fitting(mask: Sequence[int], image: Sequence[int], scaled: bool) -> None:
    """Raise ImageError (`size_mismatch`) unless a mask of one size belongs on an image of the other."""
    if tuple(mask) == tuple(image):
        return
    flat = len(mask) == len(image) == 2
    own, other = (mask[0] * image[1], mask[1] * image[0]) if flat else (0, 0)
    alike = flat and 100 * abs(own - other) <= MAX_STRETCH * other
    if alike and scaled:
        return
    hint = ""
    if len(image) == len(mask) + 1 and tuple(image[1:]) == tuple(mask) and image[0] in CHANNELS:
        hint = f"; an array of {image[0]} channels is expected as [height, width, {image[0]}], channels last"
    elif alike:
        hint = "; where masks are published scaled, dataset.scaled_masks=true does so"
    elif scaled and flat:
        hint = "; dataset.scaled_masks does so where the proportions are equal"
    raise ImageError("size_mismatch", mismatch(mask, image) + hint)


def _nearest(indices: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """[h, w] -> [H, W]: each pixel takes the value at its centre."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, indices.shape, strict=True))
    return indices[np.ix_(rows, columns)]
