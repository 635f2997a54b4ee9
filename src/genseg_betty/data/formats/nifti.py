"""NIfTI volumes and images, by nibabel.

Axes are returned as stored, slowest first: NIfTI's (x, y, z) becomes [D, H, W] = [z, y, x]. A volume of one slice
is an image.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genseg_betty.data.formats.common import CHANNELS, Header, ImageError
from genseg_betty.data.formats.nifti_file import open_nifti, read_stored_values
from genseg_betty.data.formats.nifti_place import describe_place, read_forms

if TYPE_CHECKING:
    from nibabel import Nifti1Header, Nifti1Image

EXTENSIONS = (".nii", ".nii.gz")
LONGEST = 2**15 - 1  # voxels along an axis that NIfTI-1 can state


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    image, stored = open_nifti(path)
    shape, _ = _find_shape_and_channels(image)
    return describe_place(image.header, stored, shape)


def read_values(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] after the file's own scaling (CT: Hounsfield units)."""
    image, _ = open_nifti(path)
    shape, channels = _find_shape_and_channels(image)
    values = read_stored_values(path, image)
    names = values.dtype.names
    if names:  # RGB24 and RGBA32 are records
        colours = [values[name] for name in names[:3]]
        values = np.stack(colours, axis=-1)
    if np.iscomplexobj(values):
        raise ImageError("unreadable", "holds complex numbers; expected real intensities")
    sides = shape[::-1]
    values = values.reshape((*sides, channels))  # drops axes of length 1, never reorders
    return np.moveaxis(values.T, 0, -1)  # (x, y, z, channel) -> [z, y, x, channel]


def write_image(path: Path, image: np.ndarray, affine: np.ndarray) -> None:
    """Write intensities [D, H, W], or [D, H, W, 3] in colour, where the affine says."""
    import nibabel

    axes = (2, 1, 0, 3)[: image.ndim]
    fastest_first = image.transpose(axes)
    stored = np.ascontiguousarray(fastest_first)
    volume = nibabel.Nifti1Image(stored, affine)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, path)


def write_mask(path: Path, mask: np.ndarray, affine: np.ndarray, like: Path | None = None) -> None:
    """Write [D, H, W] labels where the affine says, or with the header of `like` where that is a NIfTI-1 file."""
    values = np.asarray(mask)
    fits_in_byte = values.max(initial=0) <= 255
    kind = np.uint8 if fits_in_byte else np.uint16
    _save_values(path, values.T.astype(kind), 1, affine, like)


def write_map(path: Path, values: np.ndarray, slope: float, affine: np.ndarray, like: Path | None = None) -> None:
    """Write numbers [D, H, W], or [C, D, H, W] as the fourth axis, of which each stands for `slope` times itself.

    They lie where `write_mask` puts a mask.
    """
    axes = (*range(values.ndim - 3, values.ndim), *range(values.ndim - 3))  # channels behind the others
    last_channels = values.transpose(axes)
    fastest_first = last_channels.transpose(2, 1, 0, *range(3, values.ndim))
    _save_values(path, fastest_first, slope, affine, like)


def _save_values(path: Path, values: np.ndarray, slope: float, affine: np.ndarray, like: Path | None) -> None:
    """Write values [W, H, D, *] as they are, with a header that scales them by `slope`."""
    import nibabel

    stored = np.ascontiguousarray(values)
    header = None if like is None else open_nifti(like)[0].header
    # A header of NIfTI-1 is kept as it is but for the values; others get a new one.
    if type(header) is nibabel.Nifti1Header:
        _drop_unusable_forms(header)
        image = nibabel.Nifti1Image(stored, None, header)
    else:
        longest = max(stored.shape)
        of_size = nibabel.Nifti1Image if longest <= LONGEST else nibabel.Nifti2Image
        image = of_size(stored, affine)
        image.header.set_xyzt_units("mm")
    image.header.set_data_dtype(stored.dtype)
    image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)


def _drop_unusable_forms(header: "Nifti1Header") -> None:
    """Have a header no longer state a place whose axes span no space."""
    forms = read_forms(header)
    if forms.sform is None:
        header["sform_code"] = 0
    if forms.qform is None:
        header["qform_code"] = 0


def _find_shape_and_channels(image: "Nifti1Image") -> tuple[tuple[int, ...], int]:
    """(H, W) or (D, H, W), and the number of channels. Raises ImageError."""
    stored = tuple(int(side) for side in image.shape)
    spatial = (*stored, 1, 1)[:3]
    others = stored[3:]
    rest = [side for side in others if side != 1]
    channels = rest[0] if rest else 1
    if len(rest) > 1 or channels not in CHANNELS:
        sides = " x ".join(map(str, stored))
        message = f"holds {sides} values; expected an image or a volume of 1 or 3 channels"
        raise ImageError("unreadable", f"{message}, save each volume as a file of its own")
    is_record_of_colours = bool(image.get_data_dtype().names)
    if is_record_of_colours:
        channels = 3
    if spatial[2] == 1:
        spatial = spatial[:2]
    return spatial[::-1], channels
