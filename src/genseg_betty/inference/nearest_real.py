"""How far a synthetic image is from the nearest real one, so that copies of patients are found.

The distance is 1 - r, r the correlation of the images' detail: both are brought to 64 pixels a side and gray, what
changes slower than 2 pixels is taken out, each neighbourhood is brought to like contrast, and what a camera frames in
black or white is left out. So it is near 0 for one picture in two files, whatever its brightness, and about 1 for
pictures that have nothing in common; two chests that differ share little detail, although they look alike.

Each real image is compared as it is, and that of the mask's own case moved as the mask was as well: a generator that
has learned its training images by heart draws it along with the mask. The likeliest are laid over the synthetic image
by a small shift and stretch. Found are whole pictures. Not found: one object copied into another picture, a picture
turned or bent otherwise than its mask, what is smaller than a 64th of a side, and of volumes larger than the
generator's images other parts than the one that the mask was taken from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genseg_betty.data.inspect.alignment import (
    IDENTITY,
    align_thumbnails,
    correlate_pairs,
    find_contrast_within,
    warp_images,
)
from genseg_betty.data.inspect.blank_frames import LEAST_CONTENT, find_content
from genseg_betty.data.inspect.signatures import SIDE, join_slabs
from genseg_betty.data.intensities import LUMA
from genseg_betty.inference.mask_moves import MaskMove

COPY = 0.15
"""Below this distance two images are one picture: `data check` finds near duplicates by the same correlation, 0.85."""
WHITE = 255  # of a thumbnail
BLUR = 2.0  # pixels of the thumbnail
CANDIDATES = 3  # the likeliest, which are laid over the image
STEPS = 6  # of that
SLABS = 4  # that a volume is looked at in, two by two in one picture
SLAB_DEPTH = 4  # slices of each


@dataclass(frozen=True)
class Nearest:
    """The nearest real image: its position, the distance in [0, 2], and whether it was moved as the mask was."""

    index: int
    distance: float
    is_moved: bool


@dataclass(frozen=True)
class Thumbnails:
    """Small gray images [N, *] of values 0 to 255, and where they have content: 1, 0 in a frame."""

    values: Tensor
    content: Tensor

    @property
    def planes(self) -> "Thumbnails":
        """Pictures [N, SIDE, SIDE]: images as they are, of volumes the means of four slabs, two by two."""
        if self.values.ndim == 3:
            return self
        slabs = self.values.unflatten(1, (SLABS, SLAB_DEPTH))
        content = self.content.unflatten(1, (SLABS, SLAB_DEPTH))
        return Thumbnails(join_slabs(slabs.mean(2)), join_slabs(content.amin(2)))


def make_thumbnails(images: Sequence[Tensor]) -> Thumbnails:
    """Thumbnails of images [C, *] in [-1, 1], C 1 or 3, all of one number of axes."""
    values = torch.stack([_shrink_image(image) for image in images])
    content = find_content(values) if values.ndim == 3 else torch.ones_like(values)
    return Thumbnails(values, content)


def make_moved_thumbnail(image: Tensor, move: MaskMove) -> Thumbnails:
    """The thumbnail of an image [C, *] in [-1, 1], moved as a mask was; outside of the old frame is no content."""
    moved = move.move_image(image)
    inside = move.move_values(torch.ones_like(image[None, :1]), "bilinear")[0] * 2 - 1
    found = make_thumbnails([moved])
    is_inside = make_thumbnails([inside]).values > 0.99 * WHITE
    return Thumbnails(found.values, found.content * is_inside)


@torch.inference_mode()
def find_nearest(image: Tensor, real: Thumbnails, source: int = 0, moved: Thumbnails | None = None) -> Nearest:
    """The nearest of the real images to one [C, *] in [-1, 1].

    Args:
        source: the position of the case whose mask the image was made for.
        moved: the thumbnail of that case's image, moved as the mask was; None where the move is not known.
    """
    own = make_thumbnails([image]).planes
    others = real.planes
    if moved is not None:
        of_source = moved.planes
        values = torch.cat([others.values, of_source.values])
        others = Thumbnails(values, torch.cat([others.content, of_source.content]))
    scores = _correlate_details(own, others, alignable=image.ndim == 3)
    best = int(scores.argmax())
    is_moved = best == len(real.values)
    distance = round(1 - float(scores[best]), 4)
    return Nearest(source if is_moved else best, max(0.0, distance), is_moved)


def _shrink_image(image: Tensor) -> Tensor:
    """[C, H, W] -> [SIDE, SIDE], [C, D, H, W] -> [16, SIDE / 2, SIDE / 2], gray, 0 to 255."""
    levels = (image.float().clamp(-1, 1) + 1) * (WHITE / 2)
    gray = levels[0]
    if len(levels) == 3:
        gray = torch.einsum("c...,c->...", levels, torch.tensor(LUMA))
    if gray.ndim == 2:
        return _shrink_plane(gray)
    small = (SLABS * SLAB_DEPTH, SIDE // 2, SIDE // 2)
    return torch.nn.functional.adaptive_avg_pool3d(gray[None], small)[0]


def _shrink_plane(gray: Tensor) -> Tensor:
    resized = torch.nn.functional.interpolate(
        gray[None, None], (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0, 0]


def _correlate_details(own: Thumbnails, others: Thumbnails, alignable: bool) -> Tensor:
    """The correlation [N] of one picture with each of the others, in their detail."""
    count = len(others.values)
    both = own.content * others.content
    fixed = find_contrast_within(own.values.expand(count, -1, -1), both, BLUR)
    moving = find_contrast_within(others.values, both, BLUR)
    scores = correlate_pairs(fixed, moving, both)
    scores[both.mean((1, 2)) < LEAST_CONTENT] = -1.0  # too little to judge by
    if not alignable:
        return scores

    # Only the likeliest are laid over the image. What one of the two lacks is 0 in the detail of both.
    likeliest = scores.topk(min(CANDIDATES, count)).indices
    first, second = fixed[likeliest], moving[likeliest]
    poses = torch.tensor(IDENTITY).expand(len(likeliest), -1)
    _, poses = align_thumbnails(first, second, poses, STEPS)
    moved, inside = warp_images(second, poses)
    seen, _ = warp_images(both[likeliest], poses)
    both = both[likeliest] * (seen > 0.99) * inside
    aligned = correlate_pairs(first, moved, both)
    enough = both.mean((1, 2)) >= LEAST_CONTENT
    scores[likeliest] = torch.where(enough, torch.maximum(scores[likeliest], aligned), scores[likeliest])
    return scores
