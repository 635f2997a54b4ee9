"""What stands for an image in the search for copies: a gray thumbnail."""

import itertools
import math
import mmap
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genseg_betty.data.formats import read_image
from genseg_betty.data.formats.jpeg import require_few_scans
from genseg_betty.data.inspect.alignment import shrink_images
from genseg_betty.data.intensities import LUMA, PERCENTILES

SIDE = 64  # pixels a side of the thumbnail
LARGE = 8 * SIDE  # pixels along the shorter side from which a JPEG is decoded at a fraction of its size
JPEG = (".jpg", ".jpeg")
DRAFT = (LARGE // 2, LARGE // 2)  # pixels that the decoded picture has at least
MODES = ("L", "RGB")  # of a JPEG that is decoded at a fraction of its size: gray and colour


def make_signature(image: np.ndarray) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] intensities -> [SIDE * SIDE] uint8: a gray thumbnail.

    Of a volume, the means of four slabs along D, two by two.
    """
    thumbnail = _make_thumbnail(image)

    # The contrast is stretched: a copy may be brighter or flatter.
    low, high = np.percentile(thumbnail, PERCENTILES)
    span = max(high - low, 1e-6)
    shares = (thumbnail.numpy() - low) / span
    shares = shares.clip(0, 1)
    pixels = np.rint(shares * 255).astype(np.uint8)
    return pixels.ravel()


def read_image_signature(path: Path, image: np.ndarray | None = None) -> np.ndarray:
    """The signature of a file, of which `image` may be known already. Raises ImageError.

    A large JPEG is decoded anew all the same: quickly, and to the same thumbnail whoever asks.
    """
    if path.name.lower().endswith(JPEG):
        drafted = _draft_jpeg(path)
        if drafted is not None:
            return make_signature(drafted)
    if image is None:
        image = read_image(path)
    return make_signature(image)


def join_slabs(slabs: Tensor) -> Tensor:
    """[..., 4, s, s] -> [..., 2 s, 2 s]: four pictures two by two in one."""
    quarters = slabs.unflatten(-3, (2, 2))
    rows = quarters.transpose(-3, -2)
    joined = rows.flatten(-4, -3)
    return joined.flatten(-2, -1)


def part_slabs(picture: Tensor) -> Tensor:
    """[..., 2 s, 2 s] -> [..., 4, s, s]: the inverse of `join_slabs`."""
    halves = picture.unflatten(-2, (2, -1))
    rows = halves.unflatten(-1, (2, -1))
    quarters = rows.transpose(-3, -2)
    return quarters.flatten(-4, -3)


def _make_thumbnail(image: np.ndarray) -> Tensor:
    """A gray picture [SIDE, SIDE] of an image or a volume."""
    if image.ndim == 4:
        return _shrink_volume(image)
    gray = _make_gray(image).unsqueeze(0)
    return shrink_images(gray, SIDE).squeeze(0)


def _shrink_volume(volume: np.ndarray) -> Tensor:
    """The means of four slabs, two by two in one picture."""
    means = []
    for slab in _cut_slabs(volume):
        mean = slab.mean(axis=0)
        means.append(_make_gray(mean))
    slabs = torch.stack(means)
    shrunk = shrink_images(slabs, SIDE // 2)
    return join_slabs(shrunk)


def _cut_slabs(volume: np.ndarray) -> list[np.ndarray]:
    """Four parts of [D, H, W, C] along D, cut alike from either end: a volume in reverse has the same in reverse."""
    depth = len(volume)
    edges = [depth * quarter / 4 for quarter in range(5)]
    slabs = []
    for start, end in itertools.pairwise(edges):
        slab = volume[math.floor(start) : math.ceil(end)]
        slabs.append(slab)
    return slabs


def _draft_jpeg(path: Path) -> np.ndarray | None:
    """A large gray or colour JPEG, [H, W, C], at an eighth to a half of its size; None for all else."""
    try:
        with Image.open(path, formats=["JPEG"]) as picture:
            if picture.mode not in MODES or min(picture.size) < LARGE:
                return None
            _require_few_scans_of(path)
            picture.draft(picture.mode, DRAFT)
            pixels = np.asarray(picture, dtype=np.float32)
    except Exception:  # a damaged file makes Pillow raise a dozen types; `read_image` tells its fault
        return None
    if pixels.ndim == 2:
        return pixels[:, :, None]
    return pixels


def _require_few_scans_of(path: Path) -> None:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        require_few_scans(content)


def _make_gray(image: np.ndarray) -> Tensor:
    """[..., C] -> [...]: the luma of colours, the first channel of what has fewer than three."""
    contiguous = np.ascontiguousarray(image, dtype=np.float32)
    pixels = torch.from_numpy(contiguous)
    if pixels.shape[-1] < 3:
        return pixels[..., 0]
    colours = pixels[..., :3]
    weighted = colours * torch.tensor(LUMA)
    return weighted.sum(dim=-1)
