"""NumPy files (.npy, .npz of one array). Nothing pickled is ever loaded: a pickle can run code."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from genseg_betty.data.formats.common import (
    CHANNELS,
    Header,
    ImageError,
    as_image,
    bounded,
    describe_damage,
    whole_numbers,
)

EXTENSIONS = (".npy", ".npz")
EXPECTED = "a NumPy array of numbers (.npy, or .npz with one array)"
WITH_ALPHA = 4  # channels
NUMBERS = "biufc"  # kinds of NumPy's types
START = 12  # bytes of a file that hold its version and the length of its header
MAX_SHOWN = 5  # names of arrays in one message
MAX_HEADER = 10_000  # bytes; NumPy refuses longer ones as well, but reads them first, however long
PACKED_BY_NUMPY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of the others, zipfile unpacks all at once


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32: a last axis of 1, 3 or 4 is channels (a fourth, alpha, is dropped)."""
    values = _read_array(path)
    if np.iscomplexobj(values):
        raise ImageError("unreadable", "holds complex numbers; expected real intensities")
    if not _has_channels(values.shape):
        values = values[..., None]
    image = as_image(values)
    if image.shape[-1] == WITH_ALPHA:
        return image[..., :3]
    return image


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers; a last axis of length 1 is dropped."""
    values = _read_array(path)
    if values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    return whole_numbers(values)


def read_header(path: Path) -> Header:
    """The shape, from the header alone; NumPy files know no spacing."""
    with _open_array(path) as file:
        shape, _ = _read_claims(file)
    spatial = shape[:-1] if _has_channels(shape) else shape
    return Header(spatial)


def bit_depth(path: Path) -> int | None:
    """8 for arrays of bytes; None for all others, whose range is not that of their type."""
    with _open_array(path) as file:
        _, dtype = _read_claims(file)
    return 8 if dtype == np.uint8 else None


def _read_array(path: Path) -> np.ndarray:
    with _open_array(path) as file:
        _read_claims(file)
    with _open_array(path) as file:
        return npy.read_array(file, allow_pickle=False)


def _read_claims(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type that the header states, checked. Raises ImageError, and what NumPy's parser raises."""
    _require_short_header(file)
    version = npy.read_magic(file)
    read_fields = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_fields(file)
    if dtype.kind not in NUMBERS:
        code = "unsafe" if dtype.hasobject else "unreadable"
        raise ImageError(code, f"holds {dtype}; expected numbers")
    bounded(shape, dtype.itemsize)
    count = len(shape)
    is_volume_with_channels = count == 4 and _has_channels(shape)
    if count not in (2, 3) and not is_volume_with_channels:
        message = f"holds {count} axes; expected [H, W], [H, W, C], [D, H, W] or [D, H, W, C]"
        raise ImageError("unreadable", message)
    return shape, dtype


def _require_short_header(file: IO[bytes]) -> None:
    """Raise ImageError for a header that is too long to be read, and go back to the start of the file."""
    start = file.read(START)
    is_first_version = start[6:7] == b"\1"
    end_of_length = 10 if is_first_version else START
    length = int.from_bytes(start[8:end_of_length], "little")
    if start.startswith(npy.MAGIC_PREFIX) and length > MAX_HEADER:
        raise ImageError("unreadable", f"has a header of {length} bytes; expected at most {MAX_HEADER}")
    file.seek(0)


def _has_channels(shape: tuple[int, ...]) -> bool:
    """Whether the last axis is channels."""
    if len(shape) < 3:
        return False
    return shape[-1] in CHANNELS or shape[-1] == WITH_ALPHA


@contextmanager
def _open_array(path: Path) -> Iterator[IO[bytes]]:
    """The file of the array, unpacked; whatever goes wrong while it is read becomes an ImageError."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(path) as archive, _open_only_member(archive) as file:
                yield file
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in zipfile, zlib, NumPy's parser or its reader
        raise describe_damage(path, error, EXPECTED) from error


def _open_only_member(archive: zipfile.ZipFile) -> IO[bytes]:
    """The one array of an archive. Raises ImageError."""
    names = archive.namelist()
    if len(names) != 1:
        shown = ", ".join(names[:MAX_SHOWN]) or "none"
        raise ImageError("unreadable", f"holds {len(names)} arrays ({shown}); expected one")
    member = archive.infolist()[0]
    if member.compress_type not in PACKED_BY_NUMPY:
        message = "is packed by bzip2 or LZMA; expected an archive that NumPy wrote, save it again"
        raise ImageError("unsafe", message)
    return archive.open(names[0])
