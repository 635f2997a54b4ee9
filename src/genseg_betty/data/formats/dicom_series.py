"""A folder of DICOM slices as one volume. No slice is left out in silence: each is read, or the folder is refused.

Files are known by their content, whatever their names. Passed over are other files, hidden ones, and the index of a
medium. A link is followed within the folder alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import Header, ImageError, as_image, bounded, labels
from genseg_betty.data.formats.dicom_file import (
    channels,
    damage_told,
    interpretation,
    listed,
    open_dicom,
    sizes,
)
from genseg_betty.data.formats.dicom_pixels import reach, read_intensities, read_stored
from genseg_betty.data.formats.dicom_place import Plane, Stack, planes, stack_planes
from genseg_betty.data.formats.dicom_start import begins_as_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

EXTENSIONS = (".dcm", ".dicom", ".ima")
PACKED = (".gz", ".bz2", ".xz", ".zip")
INDEX = "DICOMDIR"  # lists the files of a medium, and begins as they do
LOOKED_AT = 3  # files of each other suffix that are opened to learn whether a folder holds a series
TEXT = 512  # bytes of a file that tell text from data


class Kind(Enum):
    """What a file of a folder is to the series in it."""

    SLICE = "slice"
    OUTSIDE = "a link that leads out of the folder"
    BROKEN = "named as DICOM, and none"
    OTHER = "no part of the series"


@dataclass(frozen=True, eq=False)
class Series:
    """The slices of one volume in order, with the headers that they have."""

    paths: list[Path]
    headers: list["Dataset"]
    stack: Stack

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return (len(self.paths), *sizes(self.headers[0])[1:])


def holds_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files itself, not only further folders."""
    looked_at: Counter[str] = Counter()
    try:
        paths, home = sorted(folder.iterdir()), folder.resolve()
    except (OSError, RuntimeError):
        return False
    for path in paths:
        suffix = path.suffix.lower()
        looked_at[suffix] += 1
        if _is_named_as_slice(path) or looked_at[suffix] <= LOOKED_AT:
            kind = _kind(path, home)
            if kind is Kind.SLICE or (kind is Kind.OUTSIDE and suffix in EXTENSIONS):
                return True
    return False


def slices(folder: Path) -> list[Path]:
    """The DICOM files of a folder, by name."""
    return _sort_out(folder)[Kind.SLICE]


def read_series_image(paths: Sequence[Path]) -> np.ndarray:
    """[D, H, W, C] float32. Raises ImageError."""
    series = open_series(paths)
    # Slices whose rescales differ reach different intensities; turned round, they must stay comparable.
    reaches = [reach(one) for one in series.headers if interpretation(one) == "MONOCHROME1"]
    turn = min(low for low, _ in reaches) + max(high for _, high in reaches) if reaches else None
    out = np.empty((*series.shape, channels(series.headers[0])), np.float32)
    for index, path in enumerate(series.paths):
        with _naming(path):
            out[index] = as_image(read_intensities(open_dicom(path), turn))
    return out


def read_series_mask(paths: Sequence[Path]) -> np.ndarray:
    """[D, H, W] integers, as stored. Raises ImageError."""
    masks = []
    for path in open_series(paths).paths:
        with _naming(path):
            masks.append(labels(read_stored(open_dicom(path))))
    return np.stack(masks)


def read_series_header(paths: Sequence[Path]) -> Header:
    """Shape, spacing and place. Raises ImageError."""
    series = open_series(paths)
    return Header(series.shape, series.stack.spacing, series.stack.affine)


def is_single_volume(paths: Sequence[Path]) -> bool:
    """Whether the only DICOM file of a folder is a volume of several frames by itself. Raises ImageError."""
    return len(paths) == 1 and sizes(open_dicom(paths[0], pixels=False))[0] > 1


def open_series(paths: Sequence[Path]) -> Series:
    """Slices in the order of their places. Raises ImageError for anything but one series."""
    headers, places = _open_headers(paths)
    several = [path.name for path, data in zip(paths, headers, strict=True) if sizes(data)[0] > 1]
    if several:
        message = f"holds {len(several)} files of several frames ({listed(several)}) among {len(paths)}"
        expected = "expected single slices: such a file is a volume by itself, give it a folder of its own or name it"
        raise ImageError("unreadable", f"{message}; {expected}")
    series = {str(data.get("SeriesInstanceUID") or "") for data in headers}
    shapes = {(*sizes(data)[1:], channels(data)) for data in headers}
    if len(series) > 1 or len(shapes) > 1:
        message = f"holds {len(series)} series and slices of {len(shapes)} sizes; expected one of each"
        raise ImageError("unreadable", f"{message}, give each series a folder of its own")
    bounded((len(paths), *next(iter(shapes))))
    stack = stack_planes(places)
    return Series([paths[index] for index in stack.order], [headers[index] for index in stack.order], stack)


def require_slices(folder: Path) -> list[Path]:
    """The DICOM files of a folder. Raises ImageError for none, and for files that may be slices and cannot be read."""
    found = {kind: [path.name for path in paths] for kind, paths in _sort_out(folder).items()}
    if outside := found[Kind.OUTSIDE]:
        message = f"holds {len(outside)} links that lead out of it or nowhere ({listed(outside)})"
        raise ImageError("unsafe", f"{message}; expected the slices themselves, copy them in (cp -L)")
    if broken := found[Kind.BROKEN]:
        message = f"holds {len(broken)} files that are named as DICOM and do not begin as DICOM does ({listed(broken)})"
        raise ImageError("unreadable", f"{message}; expected slices alone: copy them anew, unpack or remove them")
    if not found[Kind.SLICE]:
        raise ImageError("unreadable", "is a folder without DICOM files; expected the slices of one series")
    return [folder / name for name in found[Kind.SLICE]]


def _open_headers(paths: Sequence[Path]) -> tuple[list["Dataset"], list[Plane]]:
    """The headers of files, and where the first frame of each lies. Raises ImageError for all that are at fault."""
    headers, places, faults = [], [], []
    for path in paths:
        try:
            with damage_told(path):
                headers.append(open_dicom(path, pixels=False))
                places.append(planes(headers[-1], path.name)[0])
        except ImageError as error:
            faults.append((path.name, error))
    if faults:
        names, first = [name for name, _ in faults], faults[0][1]
        message = f"holds {len(faults)} of {len(paths)} DICOM files that cannot be used ({listed(names)})"
        raise ImageError(first.code, f"{message}: {names[0]} {first}")
    return headers, places


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the slice that is at fault."""
    try:
        with damage_told(path):
            yield
    except ImageError as error:
        raise ImageError(error.code, f"holds {path.name}, which {error}") from error


def _sort_out(folder: Path) -> dict[Kind, list[Path]]:
    """The files of a folder by what they are, each in the order of names. Raises OSError."""
    home = folder.resolve()
    found: dict[Kind, list[Path]] = {kind: [] for kind in Kind}
    paths = sorted(folder.iterdir())
    files = {home / path.name for path in paths if not path.is_symlink()}
    for path in paths:
        kind = _kind(path, home)
        if kind is Kind.SLICE and path.is_symlink() and path.resolve() in files:
            kind = Kind.OTHER  # a second name of a slice that is there
        found[kind].append(path)
    return found


def _kind(path: Path, home: Path) -> Kind:
    if path.name.startswith(".") or path.name.upper() == INDEX:
        return Kind.OTHER
    named = _is_named_as_slice(path)
    if path.is_symlink() and not _leads_into(path, home):
        return Kind.OUTSIDE if named else Kind.OTHER
    if not path.is_file():
        return Kind.OTHER
    try:
        if begins_as_dicom(path):
            return Kind.SLICE
        return Kind.BROKEN if named and not _is_litter(path) else Kind.OTHER
    except OSError:
        return Kind.BROKEN if named else Kind.OTHER


def _leads_into(link: Path, home: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(home)
    except (OSError, RuntimeError):
        return False


def _is_named_as_slice(path: Path) -> bool:
    """By an extension, packed or not; or without one: UIDs are names, and what follows the last dot is a number."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    packed = len(endings) == 2 and endings[0] in EXTENSIONS and endings[1] in PACKED
    suffix = path.suffix.lower()
    return packed or suffix in EXTENSIONS or not suffix or suffix[1:].isdigit()


def _is_litter(path: Path) -> bool:
    """Whether a file without extension is text, as README and LICENSE are."""
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    with path.open("rb") as file:
        start = file.read(TEXT)
    return bool(start) and 0 not in start
