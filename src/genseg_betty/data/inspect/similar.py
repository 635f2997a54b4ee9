"""Near duplicates: the same picture in two files, mirrored, turned, trimmed, resized, brightened or saved as JPEG.

All pairs are compared on 16 pixels a side in all eight positions (mirrored or not, turned by 0, 90, 180 or 270
degrees; of volumes the slices in reverse too), whole and trimmed, after what all images of the dataset share is taken
out. The most unusual pairs are laid over each other (stretch and shift) and compared in their detail at 64 pixels, at
last without the blank frame that one camera gives all its images.

Measured, with every pair found looked at: NLM-SZ (400 images), NLM-MC (69) and hippocampus (208 volumes) none, ISIC
(1200) 9, one of them upside down and none of two lesions, FUSeg (400) 3, BUID (149) 17, CVC-ClinicDB (400) 27, all of
one video each. Of 60 altered copies in each 2D set, in all eight positions, half or 1.6 times the size and JPEG of
quality 60 or 90, all were found untrimmed and trimmed by 3 % at every edge, 58 to 60 by 5 %, 57 to 60 by 6 % at two
edges that meet, 25 to 59 by 10 % there. 1200 images take 2 s on one core, 5000 half a minute, 20 000 two and a half.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genseg_betty.data.inspect.alignment import align_thumbnails, find_local_contrast, shrink_images
from genseg_betty.data.inspect.blank_frames import agree_within_frames
from genseg_betty.data.inspect.candidates import Hypothesis, find_candidates
from genseg_betty.data.inspect.positions import list_turns
from genseg_betty.data.inspect.signatures import SIDE

BLOCK_VALUES = 2**24  # cosines in memory at a time: 64 MiB
BATCH = 64  # pairs aligned at a time: what a processor's cache holds


@dataclass(frozen=True)
class _Comparison:
    """One look at pairs laid over each other, finer than the one before.

    Attributes:
        side: pixels a side.
        blur: of the detail, pixels.
        steps: of alignment.
        least: the correlation that leads to the next look.
    """

    side: int
    blur: float
    steps: int
    least: float


COMPARISONS = (
    _Comparison(side=32, blur=4.0, steps=6, least=0.9),
    _Comparison(side=64, blur=2.0, steps=0, least=0.65),
    _Comparison(side=64, blur=2.0, steps=6, least=0.85),
)


@torch.inference_mode()
def find_near_duplicates(
    signatures: np.ndarray,
    apart: Sequence[Sequence[str]] = (),
    block_values: int = BLOCK_VALUES,
    volumes: bool = False,
) -> list[tuple[int, int]]:
    """Pairs (i < j), sorted, of images that are almost certainly the same picture.

    `signatures` is [N, SIDE * SIDE] uint8. Each sequence in `apart` has N labels, such as the images' groups: only
    pairs that differ in every one are looked at. At most `block_values` pairs are in memory at a time. `volumes` says
    that each signature is four slabs, which are turned one by one.
    """
    if len(signatures) < 2:
        return []
    pictures = signatures.reshape(-1, SIDE, SIDE)
    thumbnails = torch.from_numpy(pictures)
    labels = [_number_labels(own) for own in apart]
    candidates = find_candidates(thumbnails, labels, block_values, volumes)

    # A pair may have been found in several positions; it is told once.
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(candidates), BATCH):
        batch = candidates[start : start + BATCH]
        for place in _find_same_pictures(thumbnails, batch, volumes):
            found = batch[place]
            first, second = sorted([found.i, found.j])
            pairs.add((first, second))
    return sorted(pairs)


def _number_labels(labels: Sequence[str]) -> Tensor:
    """Equal labels as equal numbers."""
    _, numbers = np.unique(np.asarray(labels), return_inverse=True)
    return torch.from_numpy(numbers)


def _find_same_pictures(thumbnails: Tensor, batch: Sequence[Hypothesis], volumes: bool) -> list[int]:
    """The places in a batch of the pairs of which one image laid over the other agrees with it down to its detail."""
    turns = list_turns(volumes)
    turned = [turns[one.position](thumbnails[one.j]) for one in batch]
    moving = torch.stack(turned).float()
    fixed = thumbnails[[one.i for one in batch]].float()
    pose = torch.tensor([one.pose for one in batch])

    # Each look is finer than the one before, and only at the pairs that agreed in all before it.
    alive = torch.arange(len(batch))
    for comparison in COMPARISONS:
        if not len(alive):
            return []
        first = _prepare_detail(fixed[alive], comparison)
        second = _prepare_detail(moving[alive], comparison)
        score, pose = align_thumbnails(first, second, pose, comparison.steps)
        agrees = score > comparison.least
        alive = alive[agrees]
        pose = pose[agrees]
    if len(alive):
        agrees = agree_within_frames(fixed[alive], moving[alive], pose)
        alive = alive[agrees]
    places: list[int] = alive.tolist()
    return places


def _prepare_detail(images: Tensor, comparison: _Comparison) -> Tensor:
    small = shrink_images(images, comparison.side)
    return find_local_contrast(small, comparison.blur)
