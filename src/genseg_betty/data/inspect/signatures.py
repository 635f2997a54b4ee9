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
from genseg_betty.data.inspect.alignment import shrink
from genseg_betty.data.intensities import LUMA, PERCENTILES

SIDE = 64  # pixels a side of the thumbnail
LARGE = 8 * SIDE  # pixels along the shorter side from which a JPEG is decoded at a fraction of its size
JPEG = (".jpg", ".jpeg")


def signature(image: np.ndarray) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] intensities -> [SIDE * SIDE] uint8: a gray thumbnail.

    Of a volume, the means of four slabs along D, two by two.
    """
    if image.ndim == 3:
        thumbnail = shrink(_gray(image)[None], SIDE)[0]
    else:
        slabs = torch.stack([_gray(slab.mean(axis=0)) for slab in _slabs(image)])
        thumbnail = joined(shrink(slabs, SIDE // 2))
    low, high = np.percentile(thumbnail, PERCENTILES)
    stretched = (thumbnail.numpy() - low) / max(high - low, 1e-6)
    return np.rint(stretched.clip(0, 1) * 255).astype(np.uint8).ravel()


def file_signature(path: Path, image: np.ndarray | None = None) -> np.ndarray:
    """`signature` of a file, of which `image` may be known already. Raises ImageError.

    A large JPEG is decoded anew all the same: quickly, and to the same thumbnail whoever asks.
    """
    drafted = _drafted(path) if path.name.lower().endswith(JPEG) else None
    if drafted is not None:
        return signature(drafted)
    return signature(read_image(path) if image is None else image)


def joined(slabs: Tensor) -> Tensor:
    """[..., 4, s, s] -> [..., 2 s, 2 s]: four pictures two by two in one."""
    quarters = slabs.unflatten(-3, (2, 2)).transpose(-3, -2)
    return quarters.flatten(-4, -3).flatten(-2, -1)


def parted(picture: Tensor) -> Tensor:
    """[..., 2 s, 2 s] -> [..., 4, s, s]: the inverse of `joined`."""
    quarters = picture.unflatten(-2, (2, -1)).unflatten(-1, (2, -1))
    return quarters.transpose(-3, -2).flatten(-4, -3)


def _slabs(volume: np.ndarray) -> list[np.ndarray]:
    """Four parts of [D, H, W, C] along D, cut alike from either end: a volume in reverse has the same in reverse."""
    edges = [len(volume) * quarter / 4 for quarter in range(5)]
    pairs = itertools.pairwise(edges)
    return [volume[math.floor(start) : math.ceil(end)] for start, end in pairs]


def _drafted(path: Path) -> np.ndarray | None:
    """A large gray or colour JPEG, [H, W, C], at an eighth to a half of its size; None for all else."""
    try:
        with Image.open(path, formats=["JPEG"]) as picture:
            if picture.mode not in ("L", "RGB") or min(picture.size) < LARGE:
                return None
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                require_few_scans(content)
            picture.draft(picture.mode, (LARGE // 2, LARGE // 2))
            pixels = np.asarray(picture, dtype=np.float32)
    except Exception:  # a damaged file makes Pillow raise a dozen types; `read_image` tells its fault
        return None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _gray(image: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    if pixels.shape[-1] < 3:
        return pixels[..., 0]
    return (pixels[..., :3] * torch.tensor(LUMA)).sum(dim=-1)
