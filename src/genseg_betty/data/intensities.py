"""What is known of an image's intensities: colour or gray, 8-bit or not, and the range that most of them lie in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genseg_betty.errors import UserError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to gray
PERCENTILES = (0.5, 99.5)
SAMPLED = 2**18  # values of one image from which percentiles are taken, evenly spread; all, up to as many


@dataclass(frozen=True)
class Measured:
    """What a number of images hold."""

    gray: bool  # whether none carries colour
    eight_bit: bool  # whether all values are whole numbers within 0..255
    values: list[np.ndarray]  # some of each image, from which percentiles are taken


def measure_images(images: Iterable[np.ndarray]) -> Measured:
    """Measure images [..., C], one at a time."""
    gray = True
    eight_bit = True
    values = []
    for image in images:
        gray = gray and is_gray(image)
        eight_bit = eight_bit and is_eight_bit(image)
        values.append(sample_values(image))
    return Measured(gray, eight_bit, values)


def is_gray(image: np.ndarray) -> bool:
    """Whether [..., C] carries no colour: one channel, or equal ones."""
    if image.shape[-1] == 1:
        return True
    first = image[..., :1]
    return bool((image == first).all())


def is_eight_bit(image: np.ndarray) -> bool:
    """Whether all values are whole numbers within 0..255."""
    is_inside = image.min() >= 0 and image.max() <= 255
    if not is_inside:
        return False
    whole = image.astype(np.uint8)
    return bool((image == whole).all())


def sample_values(image: np.ndarray) -> np.ndarray:
    """At least SAMPLED values of an image, evenly spread, or all of them where they are fewer."""
    step = image.size // SAMPLED | 1  # odd, so that it does not walk down one column
    return image.ravel()[::step]


def find_percentiles(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of all values; the second is above the first even where all are equal."""
    low, high = np.percentile(np.concatenate(values), PERCENTILES)
    if high > low:
        return float(low), float(high)
    return float(low), float(low) + 1.0


def match_channels(pixels: Tensor, channels: int) -> Tensor:
    """Bring pixels [*, C], C from 1 to 4, to [channels, *].

    Alpha, the second or fourth channel, is dropped; gray is repeated, colour becomes luma.
    """
    if pixels.shape[-1] in (2, 4):
        pixels = pixels[..., :-1]
    if pixels.shape[-1] > channels:
        weighted = pixels * torch.tensor(LUMA)
        pixels = weighted.sum(dim=-1, keepdim=True)
    pixels = pixels.movedim(-1, 0)
    sides = pixels.shape[1:]
    return pixels.expand(channels, *sides)


def take_pixels(array: np.ndarray, dims: int) -> Tensor:
    """An image or volume as float32 with its channels last. Raises UserError for what is none."""
    pixels = torch.from_numpy(np.array(array, dtype=np.float32))
    if pixels.ndim == dims:
        pixels = pixels[..., None]
    has_axes = pixels.ndim == dims + 1 and 0 not in pixels.shape
    if not has_axes or pixels.shape[-1] not in (1, 2, 3, 4):
        kind, expected = "a volume", "[D, H, W], [D, H, W, 1] or [D, H, W, 3]"
        if dims == 2:
            kind, expected = "an image", "[H, W], [H, W, 1] or [H, W, 3]"
        raise UserError(f"found {kind} of shape {array.shape}; expected {expected}")
    if not torch.isfinite(pixels).all():
        raise UserError("the image holds NaN or infinite intensities; expected finite numbers")
    return pixels


def normalise_pixels(pixels: Tensor, channels: int, window: tuple[float, float]) -> Tensor:
    """Intensities [*, C] as [channels, *] in [-1, 1]; those of the window's ends become -1 and 1."""
    low, high = window
    planes = match_channels(pixels, channels)
    return ((planes - low) / (high - low) * 2 - 1).clamp(-1, 1)
