"""DICOM files and series, by pydicom.

Intensities are those after the modality's rescale (CT: Hounsfield units). A window is applied where there is no
calibrated unit (not for CT and PET), and MONOCHROME1, where large values are dark, is inverted. A folder of slices
is one volume, in the order of the slices' positions.
"""

import io
import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from genseg_betty.data.formats.common import (
    Header,
    ImageError,
    as_image,
    bounded,
    damaged,
    labels,
    require_short,
)
from genseg_betty.data.formats.jpeg import require_few_scans

EXTENSIONS = (".dcm", ".dicom")
EXPECTED = "a DICOM image"
CALIBRATED = ("CT", "PT")
MAX_RLE = 2**24  # bytes of a run-length encoded frame, which may decode to 64 times as many
INDEX = "DICOMDIR"  # lists the files of a medium, and begins as they do
UNEVEN = 0.1  # relative difference of slice distances from which a slice is taken to be missing


def read_image(path: Path) -> np.ndarray:
    """[H, W, C], of a folder or several frames [D, H, W, C], float32."""
    if path.is_dir():
        return np.stack([as_image(_intensities(slice_)) for slice_, _ in _series(path)])
    return as_image(_intensities(path))


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers, as stored."""
    if path.is_dir():
        return np.stack([read_mask(slice_) for slice_, _ in _series(path)])
    return labels(_pixels(_opened(path), path))


def read_header(path: Path) -> Header:
    """Shape and spacing in mm."""
    if not path.is_dir():
        return _header(_opened(path, pixels=False))
    series = _series(path)
    first = _header(series[0][1])
    shape = (len(series), *first.shape)
    if first.spacing is None:
        return Header(shape)
    positions = [_position(data) for _, data in series]
    distance = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else None
    return Header(shape, (distance or _thickness(series[0][1]) or 1.0, *first.spacing))


def _header(data: Any) -> Header:
    rows, columns = int(data.Rows), int(data.Columns)
    frames = int(getattr(data, "NumberOfFrames", None) or 1)
    itemsize = max(1, int(getattr(data, "BitsAllocated", 8)) // 8)
    bounded((frames, rows, columns, _channels(data)), itemsize)
    given = getattr(data, "PixelSpacing", None) or getattr(data, "ImagerPixelSpacing", None)
    spacing = tuple(float(step) for step in given) if given else None
    if spacing and len(spacing) != 2:
        raise ImageError("unreadable", f"has {len(spacing)} pixel spacings; expected 2, of rows and columns")
    if frames == 1:
        return Header((rows, columns), spacing)
    between = getattr(data, "SpacingBetweenSlices", None) or _thickness(data)
    volume = (float(between), *spacing) if spacing and between else None
    return Header((frames, rows, columns), volume)


def _channels(data: Any) -> int:
    return int(getattr(data, "SamplesPerPixel", 1))


def _thickness(data: Any) -> float | None:
    given = getattr(data, "SliceThickness", None)
    return float(given) if given else None


def _opened(path: Path, pixels: bool = True) -> Any:
    import pydicom
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    try:
        require_short(path)
        syntax = getattr(pydicom.filereader.read_file_meta_info(path), "TransferSyntaxUID", None)
        if syntax == DeflatedExplicitVRLittleEndian:  # unpacked as a whole, however large
            raise ImageError("unsafe", "is a deflated DICOM file; expected another transfer syntax, convert it")
        data = pydicom.dcmread(path, stop_before_pixels=not pixels)
        _header(data), _position(data), _thickness(data)  # what they raise is told of this file
    except ImageError:
        raise
    except Exception as error:  # pydicom raises what its parsers raise
        raise damaged(path, error, EXPECTED) from error
    return data


def _pixels(data: Any, path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] stored values; colour as RGB."""
    header = _header(data)
    try:
        _check_frames(data, header.shape)
        data.pixel_array_options(allow_excess_frames=False)
        return np.asarray(data.pixel_array).reshape((*header.shape, -1))
    except ImageError:
        raise
    except Exception as error:
        raise damaged(path, error, f"{EXPECTED} whose compression is installed") from error


def _check_frames(data: Any, shape: tuple[int, ...]) -> None:
    """Raise ImageError for compressed frames that would decode to more than their header says."""
    from PIL import Image, UnidentifiedImageError
    from pydicom.encaps import generate_frames
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    options = as_pixel_options(data)
    count, offsets = options["number_of_frames"], options.get("extended_offsets")
    frames = generate_frames(data.PixelData, number_of_frames=count, extended_offsets=offsets)
    for frame in itertools.islice(frames, count):
        if syntax == RLELossless and len(frame) > MAX_RLE:
            message = f"holds {len(frame) / 1e6:.0f} MB of run-length encoded values in a frame; expected at most "
            raise ImageError("too_large", f"{message}{MAX_RLE / 1e6:.0f} MB, save it uncompressed")
        with suppress(UnidentifiedImageError), Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
            if picture.size != shape[:-3:-1]:
                found, expected = ("x".join(map(str, size)) for size in (picture.size, shape[:-3:-1]))
                raise ImageError("unreadable", f"holds a frame of {found} pixels; expected {expected}, as its header")
            if picture.format == "JPEG":
                require_few_scans(frame)


def _intensities(path: Path) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    data = _opened(path)
    values = _pixels(data, path)
    if values.shape[-1] > 1:
        return values[..., :3]
    try:
        values = apply_modality_lut(values, data)
        if getattr(data, "Modality", None) not in CALIBRATED:
            values = apply_voi_lut(values, data)
        if getattr(data, "PhotometricInterpretation", "") == "MONOCHROME1":
            low, high = _range(data)
            values = low + high - values
    except Exception as error:
        raise damaged(path, error, EXPECTED) from error
    return values


def _range(data: Any) -> tuple[float, float]:
    """The intensities that the stored values may reach, whatever this file holds: files stay comparable."""
    bits = int(data.BitsStored)
    stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(getattr(data, "RescaleSlope", 1)), float(getattr(data, "RescaleIntercept", 0))
    return stored[0] * slope + intercept, stored[1] * slope + intercept


def holds_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files itself, not only further folders."""
    try:
        return bool(slices(folder))
    except OSError:
        return False


def slices(folder: Path) -> list[Path]:
    """The DICOM files of a folder, by name: those with its extension or none that begin as DICOM does. No links."""
    return sorted(path for path in folder.iterdir() if not path.is_symlink() and path.is_file() and _is_dicom(path))


def _series(folder: Path) -> list[tuple[Path, Any]]:
    """The slices of a folder by position, with their headers. Raises ImageError for anything but one series."""
    found = [(path, _opened(path, pixels=False)) for path in slices(folder)]
    if not found:
        raise ImageError("unreadable", "is a folder without DICOM files; expected the slices of one series")
    series = {str(getattr(data, "SeriesInstanceUID", "")) for _, data in found}
    shapes = {_header(data).shape for _, data in found}
    if len(series) > 1 or len(shapes) > 1:
        message = f"holds {len(series)} series and slices of {len(shapes)} sizes; expected one of each"
        raise ImageError("unreadable", message)
    found.sort(key=lambda item: _position(item[1]))
    steps = np.diff([_position(data) for _, data in found])
    if len(steps) and (steps.min() <= 0 or steps.max() > (1 + UNEVEN) * np.median(steps)):
        message = f"has slices {steps.min():.3g} to {steps.max():.3g} mm apart; expected equal distances"
        raise ImageError("unreadable", f"{message}, one is missing or there twice")
    bounded((len(found), *next(iter(shapes)), _channels(found[0][1])))
    return found


def _is_dicom(path: Path) -> bool:
    if (
        path.name.startswith(".")
        or path.name.upper() == INDEX
        or (path.suffix.lower() not in EXTENSIONS and not _numbered(path.suffix))
    ):
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _numbered(suffix: str) -> bool:
    """Slices are often named by their UID, without an extension: what follows the last dot is a number."""
    return suffix[1:].isdigit() or not suffix


def _position(data: Any) -> float:
    """Where a slice lies along the normal of its plane, in mm."""
    place, plane = getattr(data, "ImagePositionPatient", None), getattr(data, "ImageOrientationPatient", None)
    if place is None or plane is None:
        return float(getattr(data, "InstanceNumber", 0) or 0)
    normal = np.cross([float(v) for v in plane[:3]], [float(v) for v in plane[3:]])
    return float(np.dot(normal, [float(v) for v in place]))
