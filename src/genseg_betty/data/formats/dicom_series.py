"""A folder of DICOM slices as one volume: each slice is read, or the folder is refused with what is at fault."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image, bounded, labels
from genseg_betty.data.formats.dicom_file import (
    count_channels,
    open_dicom,
    read_interpretation,
    read_sizes,
    tell_damage,
)
from genseg_betty.data.formats.dicom_folder import find_slices
from genseg_betty.data.formats.dicom_pixels import (
    TURNED,
    UNCHANGED,
    measure_reach,
    read_intensities,
    stated_rescale,
)
from genseg_betty.data.formats.dicom_place import Plane, Stack, read_planes, stack_planes
from genseg_betty.data.formats.dicom_stored import read_stored
from genseg_betty.faults import list_first

if TYPE_CHECKING:
    from pydicom import Dataset

LOOKED_AT = 3  # slices of a subfolder that are opened to learn whether they belong to the series


@dataclass(frozen=True, eq=False)
class Series:
    """The slices of one volume in order, with the headers that they have."""

    paths: list[Path]
    headers: list["Dataset"]
    stack: Stack

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return (len(self.paths), *read_sizes(self.headers[0])[1:])


def read_series_image(paths: Sequence[Path]) -> np.ndarray:
    """[D, H, W, C] float32. Raises ImageError."""
    series = open_series(paths)
    _require_rescale_of_all_or_none(series)
    turn = _find_common_turn(series.headers)
    out = np.empty((*series.shape, count_channels(series.headers[0])), np.float32)
    for index, path in enumerate(series.paths):
        with _name_slice_at_fault(path):
            out[index] = as_image(read_intensities(open_dicom(path), turn))
    return out


def read_series_mask(paths: Sequence[Path]) -> np.ndarray:
    """[D, H, W] integers, as stored. Raises ImageError."""
    masks = []
    for path in open_series(paths).paths:
        with _name_slice_at_fault(path):
            masks.append(labels(read_stored(open_dicom(path))))
    return np.stack(masks)


def read_series_header(paths: Sequence[Path]) -> Header:
    """Shape, spacing and place. Raises ImageError."""
    series = open_series(paths)
    return Header(series.shape, series.stack.spacing, series.stack.affine)


def is_volume(path: Path) -> bool:
    """Whether a DICOM file is a volume of several frames by itself. Raises ImageError."""
    with tell_damage(path):
        frames, _, _ = read_sizes(open_dicom(path, pixels=False))
    return frames > 1


def open_series(paths: Sequence[Path]) -> Series:
    """Slices in the order of their places. Raises ImageError for anything but one series."""
    headers, places = _open_headers(paths)
    names = [path.name for path in paths]
    all_sizes = [read_sizes(data) for data in headers]
    several = [name for name, (frames, _, _) in zip(names, all_sizes, strict=True) if frames > 1]
    if several:
        message = f"holds {len(several)} files of several frames ({list_first(several)}) among {len(paths)}"
        expected = "expected single slices: such a file is a volume by itself, give it a folder of its own or name it"
        raise ImageError("unreadable", f"{message}; {expected}")
    series = [str(data.get("SeriesInstanceUID") or "") for data in headers]
    _require_one("series", series, names)
    shapes = [
        (rows, columns, count_channels(data)) for (_, rows, columns), data in zip(all_sizes, headers, strict=True)
    ]
    _require_one("sizes of slices", shapes, names)
    _require_one("ways to show gray", [read_interpretation(data) == TURNED for data in headers], names)
    _require_nothing_below(paths, series[0])
    bounded((len(paths), *shapes[0]))
    stack = stack_planes(places)
    in_order = [paths[index] for index in stack.order]
    return Series(in_order, [headers[index] for index in stack.order], stack)


def _open_headers(paths: Sequence[Path]) -> tuple[list["Dataset"], list[Plane]]:
    """The headers of files, and where the first frame of each lies. Raises ImageError for all that are at fault."""
    headers, places, faults = [], [], []
    for path in paths:
        try:
            with tell_damage(path):
                headers.append(open_dicom(path, pixels=False))
                places.append(read_planes(headers[-1], path.name)[0])
        except ImageError as error:
            faults.append((path.name, error))
    if faults:
        names, first = [name for name, _ in faults], faults[0][1]
        message = f"holds {len(faults)} of {len(paths)} DICOM files that cannot be used ({list_first(names)})"
        raise ImageError(first.code, f"{message}: {names[0]} {first}")
    return headers, places


@contextmanager
def _name_slice_at_fault(path: Path) -> Iterator[None]:
    """Name the slice that is at fault."""
    try:
        with tell_damage(path):
            yield
    except ImageError as error:
        raise ImageError(error.code, f"holds {path.name}, which {error}") from error


def _find_common_turn(headers: Sequence["Dataset"]) -> float | None:
    """What intensities of MONOCHROME1 are subtracted from in all slices; None where large values are bright.

    Slices whose rescales differ reach different intensities; turned round, they must stay comparable.
    """
    if read_interpretation(headers[0]) != TURNED:
        return None
    lowest, highest = zip(*map(measure_reach, headers), strict=True)
    return float(min(lowest) + max(highest))


def _require_one(what: str, values: Sequence[Hashable], names: Sequence[str]) -> None:
    """Raise ImageError for files that differ in what one series has in common; each kind is told by its first file."""
    alike: dict[Hashable, list[str]] = defaultdict(list)
    for value, name in zip(values, names, strict=True):
        alike[value].append(name)
    if len(alike) == 1:
        return
    found = list_first([f"{len(own)} as {own[0]}" for own in alike.values()])
    message = f"holds {len(alike)} {what} in {len(names)} files ({found})"
    raise ImageError("unreadable", f"{message}; expected one, give each series a folder of its own")


def _require_nothing_below(paths: Sequence[Path], series: str) -> None:
    """Raise ImageError where subfolders hold further slices of the series."""
    known = {path.resolve() for path in paths}  # a slice may be a link to a file in a subfolder
    found = [folder.name for folder in _list_subfolders(paths[0].parent) if _holds_more(folder, series, known)]
    if found:
        message = f"holds {len(paths)} slices, and more of the same series in folders below it ({list_first(found)})"
        raise ImageError("unreadable", f"{message}; expected the whole series in one folder, move them together")


def _list_subfolders(folder: Path) -> list[Path]:
    below = sorted(folder.rglob("*"))
    return [path for path in below if path.is_dir() and not path.name.startswith(".")]


def _holds_more(folder: Path, series: str, known: Collection[Path]) -> bool:
    """Whether one of the first few slices of a folder, beyond those that are known, belongs to the series."""
    more = [path for path in find_slices(folder) if path.resolve() not in known]
    for path in more[:LOOKED_AT]:
        with suppress(ImageError):
            if series and open_dicom(path, pixels=False).get("SeriesInstanceUID") == series:
                return True
    return False


def _require_rescale_of_all_or_none(series: Series) -> None:
    """Raise ImageError where some slices state no rescale and others do: their intensities have two meanings."""
    stated = []
    for path, data in zip(series.paths, series.headers, strict=True):
        with _name_slice_at_fault(path):
            stated.append(stated_rescale(data))
    without = [path.name for path, rescale in zip(series.paths, stated, strict=True) if rescale is None]
    if without and {*stated} - {None, UNCHANGED}:
        message = f"holds {len(without)} of {len(stated)} slices that state no rescale, as the others do"
        raise ImageError("unreadable", f"{message} ({list_first(without)}); expected it in each, mend their headers")
