"""NIfTI volumes and images, by nibabel.

Axes are returned as stored, slowest first: NIfTI's (x, y, z) becomes [D, H, W] = [z, y, x]. A volume of one slice
is an image. Where it lies is said by its sform, or where there is none by its qform, as nibabel has it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import (
    CHANNELS,
    Header,
    ImageError,
    as_image,
    bounded,
    damaged,
    labels,
)
from genseg_betty.data.formats.place import are_alike, is_proper, spacing_of

if TYPE_CHECKING:
    from nibabel import Nifti1Image

EXTENSIONS = (".nii", ".nii.gz")
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
CIFTI = range(3000, 3100)  # intent codes: such files end in .nii as well
MAX_OFFSET = 2**26  # bytes before the values, which are unpacked to come to them
EXPECTED = "a NIfTI file (.nii, .nii.gz)"


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32 after the file's own scaling (CT: Hounsfield units)."""
    return as_image(_values(path))


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers."""
    return labels(_values(path))


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    image, shape, _, stated = _opened(path)
    try:
        affine = _affine(image)
    except Exception as error:  # nibabel says so of a quaternion that is no rotation
        raise damaged(path, error, EXPECTED) from error
    spacing = stated if affine is None else spacing_of(affine, stated)
    return Header(shape, spacing, affine, _doubt(image, stated, spacing))


def _affine(image: "Nifti1Image") -> np.ndarray | None:
    """In mm, of the sform, else the qform; one whose axes do not span space counts as none."""
    header = image.header
    unit = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    for code, read in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
        if int(header[code]) > 0:
            affine = np.diag([unit, unit, unit, 1.0]) @ np.asarray(read(), dtype=np.float64)
            if is_proper(affine):
                return affine
    return None


def _doubt(image: "Nifti1Image", stated: Sequence[float], spacing: Sequence[float]) -> str:
    if int(image.header["sform_code"]) > 0 and not is_proper(np.asarray(image.header.get_sform())):
        return "an sform whose axes span no space, which is passed over"
    if are_alike(spacing, stated):
        return ""
    sizes = (" x ".join(f"{step:.4g}" for step in reversed(steps)) for steps in (stated, spacing))
    return "voxels of {} mm by pixdim and of {} mm by the sform, which counts".format(*sizes)


def write_image(path: Path, image: np.ndarray, affine: np.ndarray) -> None:
    """Write intensities [D, H, W], or [D, H, W, 3] in colour, where the affine says."""
    import nibabel

    axes = (2, 1, 0, 3)[: image.ndim]
    volume = nibabel.Nifti1Image(np.ascontiguousarray(image.transpose(axes)), affine)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, path)


def write_mask(path: Path, mask: np.ndarray, affine: np.ndarray, like: Path | None = None) -> None:
    """Write [D, H, W] or [H, W] labels where the affine says, or with affine and header of the NIfTI file `like`."""
    import nibabel

    values = np.asarray(mask)
    stored = np.ascontiguousarray(values.T.astype(np.uint8 if values.max(initial=0) <= 255 else np.uint16))
    header = None
    if like is not None:
        source = _loaded(like)
        header, affine = source.header.copy(), source.affine
        stored = stored.reshape(_three(source.shape) if stored.ndim == 2 else stored.shape)
    image = nibabel.Nifti1Image(stored, affine, header)
    if like is None:
        image.header.set_xyzt_units("mm")
    image.header.set_data_dtype(stored.dtype)
    image.header.set_slope_inter(1, 0)
    nibabel.save(image, path)


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1)[:3]


def _values(path: Path) -> np.ndarray:
    """[..., C] as stored, after scl_slope and scl_inter."""
    image, shape, channels, _ = _opened(path)
    try:
        values = np.asanyarray(image.dataobj)
    except Exception as error:  # a damaged file fails in gzip, zlib, mmap or nibabel
        raise damaged(path, error, EXPECTED) from error
    if values.dtype.names:  # RGB24 and RGBA32 are records
        values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
    if np.iscomplexobj(values):
        raise ImageError("unreadable", "holds complex numbers; expected real intensities")
    values = values.reshape((*shape[::-1], channels))  # drops axes of length 1, never reorders
    return np.moveaxis(values.T, 0, -1)  # (x, y, z, channel) -> [z, y, x, channel]


def _opened(path: Path) -> tuple["Nifti1Image", tuple[int, ...], int, tuple[float, ...]]:
    """The lazy image, its shape (H, W) or (D, H, W), its number of channels and its spacing."""
    image = _loaded(path)
    try:
        stored = tuple(int(side) for side in image.shape)
        zooms = tuple(float(zoom) for zoom in image.header.get_zooms())
        unit = MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    except Exception as error:
        raise damaged(path, error, EXPECTED) from error
    bounded(stored, image.get_data_dtype().itemsize)
    spatial = _three(stored)
    rest = [side for side in stored[3:] if side != 1]
    channels = rest[0] if rest else 1
    if len(rest) > 1 or channels not in CHANNELS:
        sides = " x ".join(map(str, stored))
        message = f"holds {sides} values; expected an image or a volume of 1 or 3 channels"
        raise ImageError("unreadable", message)
    if image.get_data_dtype().names:
        channels = 3
    spacing = tuple(zoom * unit for zoom in (*zooms, 1.0, 1.0)[:3])
    if spatial[2] == 1:
        spatial, spacing = spatial[:2], spacing[:2]
    return image, spatial[::-1], channels, spacing[::-1]


def _loaded(path: Path) -> "Nifti1Image":
    """Of NIfTI 1 or 2, which nibabel derives from it. Raises ImageError.

    `nibabel.load` is not asked: it reads what follows a header as well, extensions of any number and length.
    """
    import nibabel
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.openers import ImageOpener

    try:
        with ImageOpener(str(path)) as file:
            start = file.read(nibabel.Nifti2Header.sizeof_hdr)
        length = start[:4]
        two = nibabel.Nifti2Header.sizeof_hdr in (int.from_bytes(length, "little"), int.from_bytes(length, "big"))
        kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
        header = kind.header_class(start[: kind.header_class.sizeof_hdr])
        offset, intent = header.get_data_offset(), int(header["intent_code"])
        image = kind(ArrayProxy(str(path), header), header.get_best_affine(), header)
    except Exception as error:
        raise damaged(path, error, EXPECTED) from error
    if intent in CIFTI:
        raise ImageError("unreadable", "holds a Cifti2Image; expected an image or a volume")
    if offset > MAX_OFFSET:
        message = f"begins its values at byte {offset}; expected one up to {MAX_OFFSET}"
        raise ImageError("unsafe", f"{message}, save it without extensions")
    return image
