"""DICOM files and series, by pydicom.

Intensities are those after the modality's rescale (CT: Hounsfield units), without any window of display, and
MONOCHROME1, where large values are dark, is inverted. A folder of slices is one volume, and so is a file whose frames
are described one by one (enhanced objects), both in the order of their positions; other frames stay as they come.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, as_image, labels
from genseg_betty.data.formats.dicom_file import damage_told, number, open_dicom, sizes
from genseg_betty.data.formats.dicom_pixels import read_intensities, read_stored
from genseg_betty.data.formats.dicom_place import Stack, has_frame_groups, planes, stack_planes
from genseg_betty.data.formats.dicom_series import (
    EXTENSIONS,
    holds_series,
    is_single_volume,
    read_series_header,
    read_series_image,
    read_series_mask,
    require_slices,
    slices,
)

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["EXTENSIONS", "holds_series", "read_header", "read_image", "read_mask", "slices"]


def read_image(path: Path) -> np.ndarray:
    """[H, W, C], of a folder or several frames [D, H, W, C], float32."""
    with damage_told(path):
        paths, of_slices = _files(path)
        if of_slices:
            return read_series_image(paths)
        data = open_dicom(paths[0])
        return _in_order(as_image(read_intensities(data)), data)


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers, as stored."""
    with damage_told(path):
        paths, of_slices = _files(path)
        if of_slices:
            return read_series_mask(paths)
        data = open_dicom(paths[0])
        return _in_order(labels(read_stored(data)), data)


def read_header(path: Path) -> Header:
    """Shape, spacing in mm, and place of volumes that state it."""
    with damage_told(path):
        paths, of_slices = _files(path)
        if of_slices:
            return read_series_header(paths)
        data = open_dicom(paths[0], pixels=False)
        frames, rows, columns = sizes(data)
        if frames == 1:
            return Header((rows, columns), planes(data)[0].spacing)
        stack = _stack(data)
        return Header((frames, rows, columns), stack.spacing, stack.affine)


def _files(path: Path) -> tuple[list[Path], bool]:
    """The files at a path, and whether they are slices: a folder may hold one file that is a volume by itself."""
    paths = require_slices(path) if path.is_dir() else [path]
    return paths, path.is_dir() and not is_single_volume(paths)


def _stack(data: "Dataset") -> Stack:
    """The frames of one file in order, as they come where the file does not describe them one by one."""
    if has_frame_groups(data):
        return stack_planes(planes(data))
    sides = planes(data)[0].spacing
    between = number(data, "SpacingBetweenSlices")
    return Stack(list(range(sizes(data)[0])), (abs(between), *sides) if between and sides else None)


def _in_order(values: np.ndarray, data: "Dataset") -> np.ndarray:
    frames = sizes(data)[0]
    order = _stack(data).order if frames > 1 else []
    return values if order == list(range(frames)) or frames == 1 else values[order]
