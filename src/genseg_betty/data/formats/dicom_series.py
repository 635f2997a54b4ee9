"""A folder of DICOM slices as one volume: each slice is read, or the folder is refused with what is at fault."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image, bounded, labels
from genseg_betty.data.formats.dicom_file import open_dicom, tell_damage
from genseg_betty.data.formats.dicom_header import INVERTED, count_channels, read_interpretation, read_sizes
from genseg_betty.data.formats.dicom_one_series import (
    require_nothing_below,
    require_one,
    require_rescale_of_all_or_none,
    require_single_frames,
)
from genseg_betty.data.formats.dicom_pixels import measure_reach, read_intensities, read_stated_rescale
from genseg_betty.data.formats.dicom_place import Plane, read_planes
from genseg_betty.data.formats.dicom_stack import Stack, stack_planes
from genseg_betty.data.formats.dicom_stored import read_stored
from genseg_betty.faults import list_first

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, eq=False)
class SliceSeries:
    """The slices of one volume in order, with the headers that they have."""

    paths: list[Path]
    headers: list["Dataset"]
    stack: Stack

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        _, rows, columns = read_sizes(self.headers[0])
        return len(self.paths), rows, columns


def read_series_image(paths: Sequence[Path]) -> np.ndarray:
    """[D, H, W, C] float32. Raises ImageError."""
    series = open_series(paths)
    _require_rescales(series)
    inversion_sum = _find_common_inversion_sum(series.headers)
    channels = count_channels(series.headers[0])
    image = np.empty((*series.shape, channels), np.float32)
    for index, path in enumerate(series.paths):
        with _name_slice_at_fault(path):
            intensities = read_intensities(open_dicom(path), inversion_sum)
            image[index] = as_image(intensities)
    return image


def read_series_mask(paths: Sequence[Path]) -> np.ndarray:
    """[D, H, W] integers, as stored. Raises ImageError."""
    masks = []
    for path in open_series(paths).paths:
        with _name_slice_at_fault(path):
            stored = read_stored(open_dicom(path))
            masks.append(labels(stored))
    return np.stack(masks)


def read_series_header(paths: Sequence[Path]) -> Header:
    """Shape, spacing and place. Raises ImageError."""
    series = open_series(paths)
    stack = series.stack
    return Header(series.shape, stack.spacing, stack.affine)


def open_series(paths: Sequence[Path]) -> SliceSeries:
    """Slices in the order of their places. Raises ImageError for anything but one series."""
    headers, planes = _open_headers(paths)
    names = [path.name for path in paths]
    all_sizes = [read_sizes(header) for header in headers]
    require_single_frames(names, [frames for frames, _, _ in all_sizes])

    # All slices of a series have these in common.
    identifiers = [_read_identifier(header) for header in headers]
    require_one("series", identifiers, names)
    shapes = []
    for header, (_, rows, columns) in zip(headers, all_sizes, strict=True):
        shapes.append((rows, columns, count_channels(header)))
    require_one("sizes of slices", shapes, names)
    are_inverted = [read_interpretation(header) == INVERTED for header in headers]
    require_one("ways to show gray", are_inverted, names)

    require_nothing_below(paths, identifiers[0])
    bounded((len(paths), *shapes[0]))
    stack = stack_planes(planes)
    return SliceSeries(
        paths=[paths[index] for index in stack.order],
        headers=[headers[index] for index in stack.order],
        stack=stack,
    )


def _read_identifier(header: "Dataset") -> str:
    """The UID of the series, empty where the file states none."""
    stated = header.get("SeriesInstanceUID") or ""
    return str(stated)


def _open_headers(paths: Sequence[Path]) -> tuple[list["Dataset"], list[Plane]]:
    """The headers of files, and where the first frame of each lies. Raises ImageError for all that are at fault."""
    headers, planes = [], []
    faults: dict[str, ImageError] = {}
    for path in paths:
        try:
            with tell_damage(path):
                header = open_dicom(path, pixels=False)
                first_plane = read_planes(header, path.name)[0]
        except ImageError as error:
            faults[path.name] = error
            continue
        headers.append(header)
        planes.append(first_plane)
    if faults:
        names = list(faults)
        first = names[0]
        fault = faults[first]
        raise ImageError(
            fault.code,
            f"holds {len(faults)} of {len(paths)} DICOM files that cannot be used ({list_first(names)}): "
            f"{first} {fault}",
        )
    return headers, planes


@contextmanager
def _name_slice_at_fault(path: Path) -> Iterator[None]:
    """Raise ImageError that names the slice, for whatever the reading of it raises."""
    try:
        with tell_damage(path):
            yield
    except ImageError as error:
        raise ImageError(error.code, f"holds {path.name}, which {error}") from error


def _find_common_inversion_sum(headers: Sequence["Dataset"]) -> float | None:
    """What intensities of MONOCHROME1 are subtracted from in all slices; None where large values are bright.

    Slices whose rescales differ reach different intensities; inverted, they must stay comparable.
    """
    if read_interpretation(headers[0]) != INVERTED:
        return None
    reaches = [measure_reach(header) for header in headers]
    lowest = min(low for low, _ in reaches)
    highest = max(high for _, high in reaches)
    return float(lowest + highest)


def _require_rescales(series: SliceSeries) -> None:
    """Raise ImageError where some slices state no rescale and others do."""
    stated = []
    for path, header in zip(series.paths, series.headers, strict=True):
        with _name_slice_at_fault(path):
            stated.append(read_stated_rescale(header))
    names = [path.name for path in series.paths]
    require_rescale_of_all_or_none(stated, names)
