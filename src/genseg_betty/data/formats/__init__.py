"""Image, mask and volume files to arrays: one reader, one axis order.

An image is [H, W, C], a volume [D, H, W, C], float32 in file units; C is 1 (gray) or 3 (colour). A mask is [H, W] or
[D, H, W] integers. The extension of a file decides which module reads it; a file that begins as another kind does is
refused, and the message names that kind. Each module trusts nothing that a file says: sizes are bounded before memory
is taken, no code is run, and nothing outside the dataset's folder is opened.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from genseg_betty.data.formats import arrays, content, dicom, metaimage, nifti, nrrd, pictures, raw
from genseg_betty.data.formats.colours import pack, unpack
from genseg_betty.data.formats.common import Header, ImageError, as_image, labels
from genseg_betty.data.formats.dicom import holds_series, holds_volumes
from genseg_betty.data.formats.pictures import write_mask
from genseg_betty.data.formats.place import affine_from_orientation, is_proper, mismatch, spacing_in_words

__all__ = [
    "EXTENSIONS",
    "Header",
    "ImageError",
    "bit_depth",
    "content_digest",
    "content_files",
    "holds_series",
    "holds_volumes",
    "is_image_file",
    "mismatch",
    "pack",
    "read_colours",
    "read_header",
    "read_image",
    "read_mask",
    "split_name",
    "unpack",
    "write_mask",
    "write_volume",
    "write_volume_map",
]

READERS: tuple[ModuleType, ...] = (pictures, nifti, metaimage, nrrd, dicom, arrays, raw)
OF_STORED_VALUES: tuple[ModuleType, ...] = (nifti, metaimage, nrrd)  # read the same values for an image and for a mask
DETACHED: tuple[ModuleType, ...] = (metaimage, nrrd)  # a header may name the file of its values
EXTENSIONS = tuple(extension for reader in READERS for extension in reader.EXTENSIONS)
SEVERAL = b"genseg-betty: digests of several files\n"  # no image begins so: no file has the digest of a set of files


def split_name(name: str) -> tuple[str, str]:
    """Stem and extension of a path, ("dir/scan", ".nii.gz"); no extension where none is known."""
    lower = name.lower()
    fitting = [extension for extension in EXTENSIONS if lower.endswith(extension)]
    if not fitting:
        return name, ""
    longest = max(fitting, key=len)
    start = len(name) - len(longest)
    return name[:start], name[start:]


def is_image_file(path: Path) -> bool:
    """Whether a file can be read: by its extension, or as DICOM, which may have any name."""
    _, extension = split_name(path.name)
    return bool(extension) or dicom.is_named_otherwise(path)


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32. Raises ImageError (a UserError)."""
    with _enough_memory():
        reader = _find_reader(path)
        if reader in OF_STORED_VALUES:
            return as_image(reader.read_values(path))
        image: np.ndarray = reader.read_image(path)
    return image


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers, the values as the file holds them. Raises ImageError."""
    with _enough_memory():
        reader = _find_reader(path)
        if reader in OF_STORED_VALUES:
            return labels(reader.read_values(path))
        mask: np.ndarray = reader.read_mask(path)
    return mask


def read_colours(path: Path) -> np.ndarray:
    """[H, W] int32, the colours of a picture packed as `pack` does. Raises ImageError; other formats hold none."""
    if _find_reader(path) is not pictures:
        expected = ", ".join(pictures.EXTENSIONS)
        message = f"is no picture, so it holds values, not colours; expected one of {expected}"
        raise ImageError("unexpected_label", message)
    return pictures.read_colours(path)


def read_header(path: Path) -> Header:
    """Shape, spacing and place without reading the values. Raises ImageError."""
    header: Header = _find_reader(path).read_header(path)
    spacing = header.spacing
    if spacing is not None and not _is_possible(spacing):
        found = spacing_in_words(spacing)
        message = f"states voxels of {found} mm (x, y, z); expected sizes above 0, mend its header"
        raise ImageError("unreadable", message)
    if header.affine is not None and not is_proper(header.affine):
        message = "states axes that span no space, or a place that is no number; expected one, mend its header"
        raise ImageError("unreadable", message)
    return header


def bit_depth(path: Path) -> int | None:
    """Bits of one intensity, of pictures and of NumPy's bytes; None where intensities have a scale of their own."""
    reader = _find_reader(path)
    return reader.bit_depth(path) if reader in (pictures, arrays) else None


def content_digest(path: Path) -> bytes:
    """SHA-256 of an image's `content_files`. Raises OSError, ImageError.

    The digest of one file is that of its bytes alone: a series of one slice has the digest of its file.
    """
    digests = [_hash_file(file) for file in content_files(path)]
    if len(digests) == 1:
        return digests[0]
    content_of_all = SEVERAL + b"".join(digests)
    return hashlib.sha256(content_of_all).digest()


def content_files(path: Path) -> list[Path]:
    """The files that make an image: itself, a series' slices, a header and its data. Raises ImageError."""
    if path.is_dir():
        return dicom.find_slices(path)
    extension = split_name(path.name)[1].lower()
    for reader in DETACHED:
        if extension in reader.EXTENSIONS:
            name = reader.read_head(path).data_name
            return [path] if name is None else [path, path.parent / name]
    return [path]


def _hash_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def write_volume(path: Path, mask: np.ndarray, like: Path) -> None:
    """Write [D, H, W] labels as NIfTI, on the voxels and at the place of the image `like`. Raises ImageError.

    A MetaImage or NRRD file that states no place is taken to lie along LPS, as ITK has it; other files along RAS.
    """
    affine, source = _find_place(like)
    nifti.write_mask(path, mask, affine, source)


def write_volume_map(path: Path, values: np.ndarray, like: Path, slope: float = 1.0) -> None:
    """Write numbers [D, H, W] or [C, D, H, W], each of which stands for `slope` times itself, as `write_volume`."""
    affine, source = _find_place(like)
    nifti.write_map(path, values, slope, affine, source)


def _find_place(like: Path) -> tuple[np.ndarray, Path | None]:
    """The affine of a volume, and the file itself if it is NIfTI, whose header is kept."""
    header = read_header(like)
    reader = _find_reader(like)
    affine = header.affine
    if affine is None:
        orientation = "LPS" if reader in DETACHED else "RAS"
        spacing = header.spacing or (1.0, 1.0, 1.0)
        affine = affine_from_orientation(orientation, spacing)
    return affine, like if reader is nifti else None


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Raise ImageError where memory runs out: a file within the bounds may still be too large for a small machine."""
    try:
        yield
    except MemoryError as error:
        message = "does not fit into the memory that is left; expected a smaller file, scale it down or crop"
        raise ImageError("too_large", message) from error


def _is_possible(spacing: Sequence[float]) -> bool:
    """Whether all steps of a spacing are lengths above 0."""
    return all(math.isfinite(step) and step > 0 for step in spacing)


def _find_reader(path: Path) -> ModuleType:
    """The module that reads a file or a folder of slices. Raises ImageError."""
    if path.is_dir():
        return dicom
    if path.exists() and not path.is_file():
        raise ImageError("unsafe", "is a pipe or a device, which may never end; expected a file, copy it to one")
    extension = split_name(path.name)[1].lower()
    for reader in READERS:
        if extension in reader.EXTENSIONS:
            _require_named_rightly(path, extension, reader)
            return reader
    if dicom.is_named_otherwise(path):
        return dicom
    known = ", ".join(EXTENSIONS)
    raise ImageError("unreadable", f"has the extension {path.suffix!r}; expected one of {known}")


def _require_named_rightly(path: Path, extension: str, reader: ModuleType) -> None:
    """Raise ImageError (`unreadable`) for a file that holds something else than its name says."""
    found = content.recognise(path)
    if found is None or extension == found.extension:
        return
    if found.extension in reader.EXTENSIONS and not found.strict:
        return
    advice = found.advice or _advise_other_name(path, found.extension)
    raise ImageError("unreadable", f"is {found.name}; expected the {extension} file that its name says, {advice}")


def _advise_other_name(path: Path, extension: str) -> str:
    """What to do with a file whose content has another extension than its name."""
    if extension not in EXTENSIONS:
        return "convert it"
    stem, _ = split_name(path.name)
    return f"rename it to {stem}{extension}"
