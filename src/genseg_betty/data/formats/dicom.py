"""DICOM files and series, by pydicom.

Intensities are those after the modality's rescale (CT: Hounsfield units), without any window of display, and
MONOCHROME1, where large values are dark, is inverted. A folder of slices is one volume, and so is a file whose frames
are described one by one (enhanced objects), both in the order of their positions; other frames stay as they come.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image, labels
from genseg_betty.data.formats.dicom_file import is_volume, open_dicom, tell_damage
from genseg_betty.data.formats.dicom_folder import EXTENSIONS, find_slices, holds_series, require_slices
from genseg_betty.data.formats.dicom_header import read_number, read_sizes
from genseg_betty.data.formats.dicom_pixels import read_intensities
from genseg_betty.data.formats.dicom_place import has_frame_groups, read_planes
from genseg_betty.data.formats.dicom_series import read_series_header, read_series_image, read_series_mask
from genseg_betty.data.formats.dicom_stack import Stack, stack_planes
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
        if len(paths) == 1:
            return False
        return all(is_volume(path) for path in paths)
    except (ImageError, OSError):
        return False


def read_image(path: Path) -> np.ndarray:
    """[H, W, C], of a folder or several frames [D, H, W, C], float32."""
    with tell_damage(path):
        paths, of_slices = _find_files(path)
        if of_slices:
            return read_series_image(paths)
        data = open_dicom(paths[0])
        image = as_image(read_intensities(data))
        return _put_in_order(image, data)


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers, as stored."""
    with tell_damage(path):
        paths, of_slices = _find_files(path)
        if of_slices:
            return read_series_mask(paths)
        data = open_dicom(paths[0])
        mask = labels(read_stored(data))
        return _put_in_order(mask, data)


def read_header(path: Path) -> Header:
    """Shape, spacing in mm, and place of volumes that state it."""
    with tell_damage(path):
        paths, of_slices = _find_files(path)
        if of_slices:
            return read_series_header(paths)
        data = open_dicom(paths[0], pixels=False)
        frames, rows, columns = read_sizes(data)
        if frames == 1:
            plane = read_planes(data)[0]
            return Header((rows, columns), plane.spacing)
        stack = _stack_frames(data)
        return Header((frames, rows, columns), stack.spacing, stack.affine)


def _find_files(path: Path) -> tuple[list[Path], bool]:
    """The files at a path, and whether they are slices: a folder may hold one file that is a volume by itself."""
    is_folder = path.is_dir()
    paths = require_slices(path) if is_folder else [path]
    # The header of a lone file is read before its pixels, so that what claims too much is refused by its header.
    is_one_volume = len(paths) == 1 and is_volume(paths[0])
    return paths, is_folder and not is_one_volume


def _stack_frames(data: "Dataset") -> Stack:
    """The frames of one file in order, as they come where the file does not describe them one by one."""
    if has_frame_groups(data):
        return stack_planes(read_planes(data))
    sides = read_planes(data)[0].spacing
    between = read_number(data, "SpacingBetweenSlices")
    frames, _, _ = read_sizes(data)
    order = list(range(frames))
    if not between or not sides:
        return Stack(order)
    spacing = (abs(between), *sides)
    return Stack(order, spacing)


def _put_in_order(values: np.ndarray, data: "Dataset") -> np.ndarray:
    """The frames of an array in the order of their places, an image as it is."""
    frames, _, _ = read_sizes(data)
    if frames == 1:
        return values
    order = _stack_frames(data).order
    if order == sorted(order):
        return values
    return values[order]
