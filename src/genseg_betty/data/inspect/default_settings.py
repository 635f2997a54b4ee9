"""The defaults that follow from what a dataset's images are like: sizes of images and patches, and of a batch."""

import math
from collections.abc import Sequence

import numpy as np

from genseg_betty.data.inspect.case_facts import CaseFacts

# Pixels of a default side of an image.
LONGEST = 256
STEP = 32
LEAST = 64
# Voxels of a default side of a volume, or of a patch of it.
PATCH = 128
PATCH_STEP = 16
LEAST_PATCH = 32
UNLIKE = 4  # times as bright as another: intensities of such images are of no common unit
NEARLY_SQUARE = 1.15  # ratio of the sides up to which an image is taken as a square
PIXELS_OF_A_BATCH = 4 * 256 * 256
LARGEST_BATCH = 4
LEAST_BATCH = 2


def needs_per_image_normalisation(facts: Sequence[CaseFacts]) -> bool:
    """Whether images are so unlike in brightness that each has to be brought to a scale by itself, as MRI may be.

    Asked of training cases alone: what a validation image is like must not decide how training images are read.
    """
    if all(fact.eight_bit for fact in facts):
        return False
    bright = [fact.intensities[3] for fact in facts]
    darkest = min(bright)
    return 0 < UNLIKE * darkest < max(bright)


def default_image_size(sides: Sequence[int]) -> tuple[int, ...]:
    """The network's input for images of these sides: their proportions, in steps that networks can halve.

    Multiples of 32 within 64..256, a square where the sides are nearly equal.
    """
    longest = max(sides)
    scale = min(1.0, LONGEST / longest)
    size = []
    for side in sides:
        steps = round(side * scale / STEP)
        size.append(max(LEAST, steps * STEP))
    if longest <= NEARLY_SQUARE * min(sides):
        size = [max(size)] * len(size)
    return tuple(size)


def fitting_patch(facts: Sequence[CaseFacts], spacing: Sequence[float] | None) -> tuple[int, ...]:
    """`default_patch` of volumes that are brought to a spacing in mm; None leaves them as they are."""
    grids = [_resample_shape(fact, spacing) for fact in facts]
    largest = [max(sides) for sides in zip(*grids, strict=True)]
    return default_patch(largest)


def _resample_shape(fact: CaseFacts, spacing: Sequence[float] | None) -> list[float]:
    """The sides of a volume once it is brought to a spacing; as they are where it states none of its own."""
    if not (spacing and fact.spacing):
        return list(fact.shape)
    sides = []
    for side, own, wanted in zip(fact.shape, fact.spacing, spacing, strict=True):
        sides.append(side * own / wanted)
    return sides


def default_patch(sides: Sequence[float]) -> tuple[int, ...]:
    """What volumes up to these sides fit into, in multiples of 16 voxels within 32..128; of larger ones a patch."""
    patch = []
    for side in sides:
        steps = math.ceil(side / PATCH_STEP)
        fitting = max(LEAST_PATCH, steps * PATCH_STEP)
        patch.append(min(PATCH, fitting))
    return tuple(patch)


def default_batch_size(image_size: Sequence[int]) -> int:
    """4 up to 256 x 256 pixels, fewer of what is larger, at least 2."""
    pixels = int(np.prod(image_size))
    fitting = PIXELS_OF_A_BATCH // pixels
    return max(LEAST_BATCH, min(LARGEST_BATCH, fitting))
