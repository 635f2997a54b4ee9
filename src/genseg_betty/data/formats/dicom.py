"""DICOM files and series, by pydicom.

Intensities are those after the modality's rescale (CT: Hounsfield units), without any window of display, and
MONOCHROME1, where large values are dark, is inverted. A folder of slices is one volume, and so is a file whose frames
are described one by one (enhanced objects), both in the order of their positions; other frames stay as they come.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image, labels
from genseg_betty.data.formats.dicom_file import open_dicom, read_number, read_sizes, tell_damage
from genseg_betty.data.formats.dicom_folder import EXTENSIONS, find_slices, holds_series, require_slices
from genseg_betty.data.formats.dicom_pixels import read_intensities
from genseg_betty.data.formats.dicom_place import Stack, has_frame_groups, read_planes, stack_planes
from genseg_betty.data.formats.dicom_series import (
    is_volume,
    read_series_header,
    read_series_image,
    read_series_mask,
)
from genseg_betty.data.formats.dicom_start import begins_as_dicom
from genseg_betty.data.formats.dicom_stored import read_stored

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "EXTENSIONS",
    "find_slices",
    "holds_series",
    "holds_volumes",
    "is_named_otherwise",
    "read_header",
    "read_image",
    "read_mask",
]


def is_named_otherwise(path: Path) -> bool:
    """Whether a file of whatever name is DICOM by its content."""
    try:
        return path.is_file() and begins_as_dicom(path)
    except OSError:
        return False


def holds_volumes(folder: Path) -> bool:
    """Whether a folder holds several DICOM files, each of several frames: volumes by themselves, and no series."""
    try:
        paths = require_slices(folder)
        return len(paths) > 1 and all(is_volume(path) for path in paths)
    except (ImageError, OSError):
        return False


def read_image(path: Path) -> np.ndarray:
    """[H, W, C], of a folder or several frames [D, H, W, C], float32."""
    with tell_damage(path):
        paths, of_slices = _find_files(path)
        if of_slices:
            return read_series_image(paths)
        data = open_dicom(paths[0])
        return _put_in_order(as_image(read_intensities(data)), data)


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers, as stored."""
    with tell_damage(path):
        paths, of_slices = _find_files(path)
        if of_slices:
            return read_series_mask(paths)
        data = open_dicom(paths[0])
        return _put_in_order(labels(read_stored(data)), data)


def read_header(path: Path) -> Header:
    """Shape, spacing in mm, and place of volumes that state it."""
    with tell_damage(path):
        paths, of_slices = _find_files(path)
        if of_slices:
            return read_series_header(paths)
        data = open_dicom(paths[0], pixels=False)
        frames, rows, columns = read_sizes(data)
        if frames == 1:
            return Header((rows, columns), read_planes(data)[0].spacing)
        stack = _stack_frames(data)
        return Header((frames, rows, columns), stack.spacing, stack.affine)


def _find_files(path: Path) -> tuple[list[Path], bool]:
    """The files at a path, and whether they are slices: a folder may hold one file that is a volume by itself."""
    paths = require_slices(path) if path.is_dir() else [path]
    alone = len(paths) == 1 and is_volume(paths[0])
    return paths, path.is_dir() and not alone


def _stack_frames(data: "Dataset") -> Stack:
    """The frames of one file in order, as they come where the file does not describe them one by one."""
    if has_frame_groups(data):
        return stack_planes(read_planes(data))
    sides = read_planes(data)[0].spacing
    between = read_number(data, "SpacingBetweenSlices")
    spacing = (abs(between), *sides) if between and sides else None
    frames = read_sizes(data)[0]
    return Stack(list(range(frames)), spacing)


def _put_in_order(values: np.ndarray, data: "Dataset") -> np.ndarray:
    """The frames of an array in the order of their places, an image as it is."""
    frames = read_sizes(data)[0]
    if frames == 1:
        return values
    order = _stack_frames(data).order
    return values if order == sorted(order) else values[order]
