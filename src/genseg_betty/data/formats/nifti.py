"""NIfTI volumes and images, by nibabel.

Axes are returned as stored, slowest first: NIfTI's (x, y, z) becomes [D, H, W] = [z, y, x]. A volume of one slice
is an image. Where it lies is said by its sform, or where there is none by its qform, as nibabel has it.
"""

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import (
    CHANNELS,
    Header,
    ImageError,
    as_image,
    bounded,
    describe_damage,
    labels,
)
from genseg_betty.data.formats.place import are_alike, is_proper, lie_together, spacing_in_words, spacing_of

if TYPE_CHECKING:
    from nibabel import Nifti1Header, Nifti1Image

EXTENSIONS = (".nii", ".nii.gz")
MILLIMETRES = {1: 1000.0, 3: 0.001}  # by the code of the unit: metres and micrometres; others are taken for mm
UNIT = 7  # the bits of xyzt_units that hold it
CIFTI = range(3000, 3100)  # intent codes: such files end in .nii as well
MAX_OFFSET = 2**26  # bytes before the values, which are unpacked to come to them
LONGEST = 2**15 - 1  # voxels along an axis that NIfTI-1 can state
SCANNER = 1  # the code of a place in the scanner's coordinates
QUATERNION = 1e-3  # by which the square of a qform's rotation may be longer than 1, from rounding; ITK allows any
EXPECTED = "a NIfTI file (.nii, .nii.gz)"


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32 after the file's own scaling (CT: Hounsfield units)."""
    return as_image(_values(path))


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers."""
    return labels(_values(path))


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    image, stored = _load(path)
    shape, _ = _shape_and_channels(image)
    unit = MILLIMETRES.get(int(stored["xyzt_units"]) & UNIT, 1.0)
    sform, qform = _forms(image.header, unit)
    affine = qform if sform is None else sform

    steps = [unit * float(step) for step in image.header["pixdim"][1 : 1 + len(shape)]]
    stated = tuple(reversed(steps))
    spacing = stated if affine is None else spacing_of(affine, stated)
    doubts = _doubts_of_forms(image.header, sform, qform)
    odd_steps = _doubts_of_steps(unit * stored["pixdim"], spacing, sform is not None)
    doubts += odd_steps or _doubts_of_places(sform, qform, shape)  # a qform has the steps of pixdim
    return Header(shape, spacing, affine, " and ".join(doubts))


def _forms(header: "Nifti1Header", unit: float) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The sform and the qform in mm; None where one is not stated, or its axes do not span space."""
    found: list[np.ndarray | None] = []
    for code, read in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
        affine = np.full((4, 4), np.nan)
        if int(header[code]) > 0:
            with suppress(ValueError):  # a quaternion that is no rotation
                affine = np.array(read(), dtype=np.float64)
        affine[:3] *= unit
        found.append(affine if is_proper(affine) else None)
    return found[0], found[1]


def _doubts_of_forms(header: "Nifti1Header", sform: np.ndarray | None, qform: np.ndarray | None) -> list[str]:
    """Which of the two places that a header may state are none."""
    doubts = []
    if sform is None and int(header["sform_code"]) > 0:
        doubts.append("an sform whose axes span no space, which is passed over")
    if qform is None and int(header["qform_code"]) > 0:
        doubts.append("a qform whose axes span no space, which is passed over")
    return doubts


def _doubts_of_places(sform: np.ndarray | None, qform: np.ndarray | None, shape: tuple[int, ...]) -> list[str]:
    """Whether the two places of a header are one."""
    if sform is None or qform is None:
        return []
    if lie_together(Header(shape, None, qform), Header(shape, None, sform)):
        return []
    return ["a place by the qform and another by the sform, which counts"]


def _doubts_of_steps(pixdim: np.ndarray, spacing: Sequence[float], by_sform: bool) -> list[str]:
    """In which way the steps of a header as it is stored are not the spacing that counts."""
    stated = [float(step) for step in pixdim[len(spacing) : 0 : -1]]
    if are_alike(stated, spacing):
        return []
    found, taken = spacing_in_words(stated), spacing_in_words(spacing)
    if by_sform:
        return [f"voxels of {found} mm by pixdim and of {taken} mm by the sform, which counts"]
    return [f"voxels of {found} mm by pixdim, which are taken for {taken} mm"]


def write_image(path: Path, image: np.ndarray, affine: np.ndarray) -> None:
    """Write intensities [D, H, W], or [D, H, W, 3] in colour, where the affine says."""
    import nibabel

    axes = (2, 1, 0, 3)[: image.ndim]
    volume = nibabel.Nifti1Image(np.ascontiguousarray(image.transpose(axes)), affine)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, path)


def write_mask(path: Path, mask: np.ndarray, affine: np.ndarray, like: Path | None = None) -> None:
    """Write [D, H, W] labels where the affine says, or with the header of `like` where that is a NIfTI-1 file."""
    import nibabel

    values = np.asarray(mask)
    kind = np.uint8 if values.max(initial=0) <= 255 else np.uint16
    stored = np.ascontiguousarray(values.T.astype(kind))
    header = None if like is None else _load(like)[0].header
    if type(header) is nibabel.Nifti1Header:
        sform, qform = _forms(header, 1.0)
        if sform is None:
            header["sform_code"] = 0
        if qform is None:
            header["qform_code"] = 0
        image = nibabel.Nifti1Image(stored, None, header)
    else:
        of_size = nibabel.Nifti1Image if max(stored.shape) <= LONGEST else nibabel.Nifti2Image
        image = of_size(stored, affine)
        image.header.set_xyzt_units("mm")
    image.header.set_data_dtype(stored.dtype)
    image.header.set_slope_inter(1, 0)
    nibabel.save(image, path)


def _values(path: Path) -> np.ndarray:
    """[..., C] as stored, after scl_slope and scl_inter."""
    image, _ = _load(path)
    shape, channels = _shape_and_channels(image)
    try:
        values = np.asanyarray(image.dataobj)
    except Exception as error:  # a damaged file fails in gzip, zlib, mmap or nibabel
        raise describe_damage(path, error, EXPECTED) from error
    if values.dtype.names:  # RGB24 and RGBA32 are records
        values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
    if np.iscomplexobj(values):
        raise ImageError("unreadable", "holds complex numbers; expected real intensities")
    values = values.reshape((*shape[::-1], channels))  # drops axes of length 1, never reorders
    return np.moveaxis(values.T, 0, -1)  # (x, y, z, channel) -> [z, y, x, channel]


def _shape_and_channels(image: "Nifti1Image") -> tuple[tuple[int, ...], int]:
    """(H, W) or (D, H, W), and the number of channels. Raises ImageError."""
    stored = tuple(int(side) for side in image.shape)
    spatial = (*stored, 1, 1)[:3]
    rest = [side for side in stored[3:] if side != 1]
    channels = rest[0] if rest else 1
    if len(rest) > 1 or channels not in CHANNELS:
        sides = " x ".join(map(str, stored))
        message = f"holds {sides} values; expected an image or a volume of 1 or 3 channels"
        raise ImageError("unreadable", f"{message}, save each volume as a file of its own")
    if image.get_data_dtype().names:
        channels = 3
    if spatial[2] == 1:
        spatial = spatial[:2]
    return spatial[::-1], channels


def _load(path: Path) -> tuple["Nifti1Image", "Nifti1Header"]:
    """The lazy image, and its header as the file has it, before nibabel mends it. Raises ImageError.

    Of NIfTI 1 or 2, which nibabel derives from it. `nibabel.load` is not asked: it reads what follows a header as well,
    extensions of any number and length.
    """
    import nibabel
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.openers import ImageOpener

    try:
        with ImageOpener(str(path)) as file:
            start = file.read(nibabel.Nifti2Header.sizeof_hdr)
        lengths = [int.from_bytes(start[:4], order) for order in ("little", "big")]
        two = nibabel.Nifti2Header.sizeof_hdr in lengths
        kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
        stored = kind.header_class(start[: kind.header_class.sizeof_hdr], check=False)
        header = stored.copy()
        _mend(header, stored)
        offset, intent = header.get_data_offset(), int(header["intent_code"])
        image = kind(ArrayProxy(str(path), header), None, header)
    except Exception as error:
        raise describe_damage(path, error, EXPECTED) from error
    if intent in CIFTI:
        raise ImageError("unreadable", "holds a Cifti2Image; expected an image or a volume")
    bounded(image.shape, header.get_data_dtype().itemsize)
    if offset < header.sizeof_hdr:
        raise ImageError("unreadable", f"begins its values at byte {offset}, within its header; save it anew")
    if offset > MAX_OFFSET:
        message = f"begins its values at byte {offset}; expected one up to {MAX_OFFSET}"
        raise ImageError("unsafe", f"{message}, save it without extensions")
    return image, stored


def _mend(header: "Nifti1Header", stored: "Nifti1Header") -> None:
    """Mend what nibabel does of a header, and what it refuses or drops although it can be meant.

    nibabel tells what it mends without a name of the file, so that it is not listened to. Raises HeaderDataError.
    """
    header.check_fix(logging.Logger("silent", logging.CRITICAL))
    for code in ("sform_code", "qform_code"):  # any above 0 states a place
        if int(stored[code]) > 0 == int(header[code]):
            header[code] = SCANNER
    parts = ("quatern_b", "quatern_c", "quatern_d")
    length = math.hypot(*(float(header[part]) for part in parts))
    if header.quaternion_threshold <= length**2 - 1 <= QUATERNION:
        for part in parts:
            header[part] = header[part] / length
