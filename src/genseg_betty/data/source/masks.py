"""A mask file becomes the class indices of its image's pixels: read, matched by place and size, decoded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import Header, ImageError, mismatch, read_colours, read_header, read_mask
from genseg_betty.data.formats.common import CHANNELS
from genseg_betty.data.formats.place import NEAR, are_alike, in_words, lie_together, rescaled_header, spacing_in_words
from genseg_betty.data.formats.turns import Turn, turn_onto, turned, turned_header, turned_sides
from genseg_betty.data.source.labels import LabelMap

MAX_STRETCH = 1  # percent by which the aspect of a scaled mask may differ from that of its image


def read_indices(path: Path, labels: LabelMap, image: Header | None, scaled: bool) -> tuple[np.ndarray, bool]:
    """A mask file -> int64 class indices on the voxels of its image; whether the mask is blurred.

    Without the `image` the mask stays as stored. One that is stored in another orientation is turned. One of another
    size is brought to the image's by nearest neighbour where it is `scaled` and has the image's aspect. Raises
    ImageError as `fit_on_image`, the readers and `LabelMap.decode`.
    """
    values = read_colours(path) if labels.in_colour else read_mask(path)
    if image is None:
        return labels.decode(values)
    header = Header(values.shape)
    if image.spacing or image.affine is not None:
        header = replace(read_header(path), shape=values.shape)
    turn = fit_on_image(header, image, scaled)
    indices, blurred = labels.decode(turned(values, turn))
    if indices.shape != image.shape:
        indices = _resize_nearest(indices, image.shape)
    return indices, blurred


def fit_on_image(mask: Header, image: Header, scaled: bool) -> Turn | None:
    """What brings a mask to the orientation of its image; None where it is stored as the image is.

    Where one of them states no place, their sizes and spacings alone are compared. Raises ImageError: `size_mismatch`,
    and `spacing_mismatch` for other voxels and for a mask that lies elsewhere in space.
    """
    both_state_it = mask.affine is not None and image.affine is not None
    placed = both_state_it and len(mask.shape) == len(image.shape)
    turn = turn_onto(mask, image) if placed else None
    mask_sides = turned_sides(mask.shape, turn)
    if not _is_fitting(mask_sides, image.shape, scaled):
        require_fitting(mask.shape, image.shape, scaled)
        raise _describe_elsewhere(mask, image)  # it fits as it is stored, but not as it is said to lie
    on_image = rescaled_header(turned_header(mask, turn), image.shape)
    _require_same_spacing(on_image, image, mask)
    if not placed:
        return turn

    # A voxel of a scaled mask covers several of its image, so the two may lie further apart.
    coarser = 1.0
    for side, own in zip(image.shape, mask_sides, strict=True):
        coarser = max(coarser, side / own)
    if not lie_together(on_image, image, NEAR * coarser):
        raise _describe_elsewhere(mask, image)
    return turn


def _require_same_spacing(on_image: Header, image: Header, mask: Header) -> None:
    if not (on_image.spacing and image.spacing and mask.spacing):
        return
    if are_alike(on_image.spacing, image.spacing):
        return
    found = spacing_in_words(mask.spacing)
    expected = spacing_in_words(image.spacing)
    raise ImageError(
        "spacing_mismatch",
        f"its voxels are {found} mm (x, y, z) and those of its image {expected}; expected equal ones: one of the "
        "two was resampled or lost its header, so export them together again",
    )


def _describe_elsewhere(mask: Header, image: Header) -> ImageError:
    found = in_words(mask)
    expected = in_words(image)
    return ImageError(
        "spacing_mismatch",
        f"lies elsewhere in space than its image: {found}, the image {expected} (axes; first and last "
        "voxel, x to the right, y to the front, z up); expected one place up to half a voxel. If their voxels belong "
        "together one by one, copy the image's header (affine, origin and direction) to the mask; if not, resample it",
    )


def require_fitting(mask: Sequence[int], image: Sequence[int], scaled: bool) -> None:
    """Raise ImageError (`size_mismatch`) unless a mask of one size belongs on an image of the other."""
    if _is_fitting(mask, image, scaled):
        return
    flat = len(mask) == len(image) == 2
    first, *others = image
    hint = ""
    if first in CHANNELS and others == list(mask):
        hint = f"; an array of {first} channels is expected as [height, width, {first}], channels last"
    elif flat and _has_aspect(mask, image):
        hint = "; where masks are published scaled, dataset.scaled_masks=true does so"
    elif scaled and flat:
        hint = "; dataset.scaled_masks does so where the proportions are equal"
    raise ImageError("size_mismatch", mismatch(mask, image) + hint)


def _is_fitting(mask: Sequence[int], image: Sequence[int], scaled: bool) -> bool:
    """Whether two sizes are equal, or of one aspect where masks are `scaled`."""
    if tuple(mask) == tuple(image):
        return True
    flat = len(mask) == len(image) == 2
    return scaled and flat and _has_aspect(mask, image)


def _has_aspect(mask: Sequence[int], image: Sequence[int]) -> bool:
    own = mask[0] * image[1]
    other = mask[1] * image[0]
    return 100 * abs(own - other) <= MAX_STRETCH * other


def _resize_nearest(indices: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """[h, w] -> [H, W]: each pixel takes the value at its centre."""
    places = []
    for new, old in zip(size, indices.shape, strict=True):
        twice_the_centres = 2 * np.arange(new) + 1
        places.append(twice_the_centres * old // (2 * new))
    return indices[np.ix_(*places)]
