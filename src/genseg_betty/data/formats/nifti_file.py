"""A NIfTI file opened by nibabel: its header checked and mended, its values not read yet."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import ImageError, bounded, describe_damage

if TYPE_CHECKING:
    from nibabel import Nifti1Header, Nifti1Image

EXPECTED = "a NIfTI file (.nii, .nii.gz)"
CIFTI = range(3000, 3100)  # intent codes: such files end in .nii as well
MAX_OFFSET = 2**26  # bytes before the values, which are unpacked to come to them
SCANNER = 1  # the code of a place in the scanner's coordinates
QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
MAX_EXCESS = 1e-3  # by which the square of a qform's rotation may be longer than 1, from rounding; ITK allows any


def open_nifti(path: Path) -> tuple["Nifti1Image", "Nifti1Header"]:
    """The lazy image, and its header as the file has it, before nibabel mends it. Raises ImageError.

    The image is a Nifti1Image or a Nifti2Image, which is derived from that. `nibabel.load` is not called: it also reads
    what follows a header, extensions of any number and length.
    """
    from nibabel.arrayproxy import ArrayProxy

    try:
        start = _read_start(path)
        kind = _find_version(start)
        header_bytes = start[: kind.header_class.sizeof_hdr]
        stored = kind.header_class(header_bytes, check=False)
        header = stored.copy()
        _mend_header(header, stored)
        offset = header.get_data_offset()
        intent = int(header["intent_code"])
        image = kind(ArrayProxy(str(path), header), None, header)
    except Exception as error:
        raise describe_damage(path, error, EXPECTED) from error

    # What the header claims is bounded before any value is read.
    if intent in CIFTI:
        raise ImageError("unreadable", "holds a Cifti2Image; expected an image or a volume")
    itemsize = header.get_data_dtype().itemsize
    bounded(image.shape, itemsize)
    if offset < header.sizeof_hdr:
        raise ImageError("unreadable", f"begins its values at byte {offset}, within its header; save it anew")
    if offset > MAX_OFFSET:
        message = f"begins its values at byte {offset}; expected one up to {MAX_OFFSET}"
        raise ImageError("unsafe", f"{message}, save it without extensions")
    return image, stored


def read_stored_values(path: Path, image: "Nifti1Image") -> np.ndarray:
    """The values after scl_slope and scl_inter, their axes as NIfTI has them. Raises ImageError."""
    try:
        return np.asanyarray(image.dataobj)
    except Exception as error:  # a damaged file fails in gzip, zlib, mmap or nibabel
        raise describe_damage(path, error, EXPECTED) from error


def _read_start(path: Path) -> bytes:
    """As many bytes of the file, unpacked, as the longer header has."""
    import nibabel
    from nibabel.openers import ImageOpener

    with ImageOpener(str(path)) as file:
        return file.read(nibabel.Nifti2Header.sizeof_hdr)


def _find_version(start: bytes) -> type["Nifti1Image"]:
    """The class of an image of NIfTI 1 or 2: a header begins with its own length, in either byte order."""
    import nibabel

    stated = start[:4]
    lengths = (int.from_bytes(stated, "little"), int.from_bytes(stated, "big"))
    is_second = nibabel.Nifti2Header.sizeof_hdr in lengths
    return nibabel.Nifti2Image if is_second else nibabel.Nifti1Image


def _mend_header(header: "Nifti1Header", stored: "Nifti1Header") -> None:
    """Mend what nibabel mends of a header, and what it refuses or drops although it has a meaning.

    nibabel logs what it mends without the name of the file, so its messages are dropped. Raises HeaderDataError.
    """
    silent = logging.Logger("silent", logging.CRITICAL)
    header.check_fix(silent)
    for code in ("sform_code", "qform_code"):
        states_place = int(stored[code]) > 0  # any code above 0 does
        if states_place and int(header[code]) == 0:
            header[code] = SCANNER
    _shorten_rotation(header)


def _shorten_rotation(header: "Nifti1Header") -> None:
    """Bring a qform's rotation to length 1 where rounding has made it longer than nibabel allows."""
    parts = [float(header[name]) for name in QUATERNION]
    length = math.hypot(*parts)
    excess = length**2 - 1
    if header.quaternion_threshold <= excess <= MAX_EXCESS:
        for name in QUATERNION:
            header[name] = header[name] / length
