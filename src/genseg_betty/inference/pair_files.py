"""Synthetic pairs as files: OUT/images/NNNN.png and OUT/masks/NNNN.png, of volumes NNNN.nii.gz."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from genseg_betty.data.formats import nifti, write_mask
from genseg_betty.data.formats.place import affine_from_orientation
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.files import whole_file

Pairs = Iterable[tuple[Tensor, np.ndarray]]
"""Image [C, *] in [-1, 1] and class indices [*] of each pair."""
FOLDERS = ("images", "masks")
FEWEST_DIGITS = 4  # of the number in a file's name


def write_folder_pairs(out: Path, pairs: Pairs, count: int, preprocessing: Preprocessing) -> None:
    """Write the pairs, at most `count`; raises UserError where they cannot be written."""
    find_stem = choose_stems(count)
    ending = "png" if preprocessing.spatial_dims == 2 else "nii.gz"
    for index, (image, mask) in enumerate(pairs):
        _write_pair(out, f"{find_stem(index)}.{ending}", image, mask, preprocessing)


def choose_stems(count: int) -> Callable[[int], str]:
    """A function from a pair's number to the stem of its files, such as 0012: as many digits as the highest needs."""
    highest = str(count - 1)
    digits = max(FEWEST_DIGITS, len(highest))
    return lambda index: f"{index:0{digits}d}"


def to_intensities(image: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Image [C, *] in [-1, 1] -> [*] or [*, 3] as a file holds it.

    Pictures: uint8, or, for gray training images of more than 8 bits, uint16 in their intensities. Volumes: float32 in
    the intensities of the training volumes, or 0 to 255 where these have no common ones.
    """
    unit_tensor = (image.clamp(-1, 1) + 1) / 2
    channels_last = unit_tensor.movedim(0, -1)
    unit = channels_last.squeeze(-1).numpy()
    low, high = preprocessing.intensity or (0.0, 255.0)
    if preprocessing.spatial_dims == 3:
        intensities = low + unit * (high - low)
        return intensities.astype(np.float32)
    if unit.ndim == 2 and high > 255:
        levels = np.round(low + unit * (high - low))
        return np.clip(levels, 0, 65535).astype(np.uint16)
    levels = np.round(unit * 255)
    return levels.astype(np.uint8)


def to_training_units(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """What `to_intensities` gives, in the intensities of the training files, whose window 8-bit pictures lack."""
    window = preprocessing.intensity
    if window is None or pixels.dtype != np.uint8:
        return pixels
    low, high = window
    return (low + pixels / 255 * (high - low)).astype(np.float32)


def keep_channels(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Intensities [*] or [*, 3] as [*, C]."""
    return pixels if pixels.ndim > preprocessing.spatial_dims else pixels[..., None]


def _write_pair(out: Path, name: str, image: Tensor, mask: np.ndarray, preprocessing: Preprocessing) -> None:
    """Write both files of a pair; raises UserError where they cannot be written."""
    pixels = to_intensities(image, preprocessing)
    values = preprocessing.to_file_values(mask)
    image_path, mask_path = (out / folder / name for folder in FOLDERS)
    try:
        for path in (image_path, mask_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # The outer file is renamed last: a mask never lies there without its image.
        with whole_file(mask_path, sync=False) as mask_file, whole_file(image_path, sync=False) as image_file:
            if preprocessing.spatial_dims == 3:
                spacing = preprocessing.spacing or (1.0, 1.0, 1.0)
                affine = affine_from_orientation(preprocessing.orientation or "RAS", spacing)
                nifti.write_image(image_file, pixels, affine)
                nifti.write_mask(mask_file, values, affine)
            else:
                Image.fromarray(pixels).save(image_file)
                write_mask(mask_file, values, preprocessing.colours)
    except OSError as error:
        raise UserError(f"Cannot write the pair {name} to {out}: {error.strerror or error}") from error
