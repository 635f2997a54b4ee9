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
MAX_HEADER = 10_000  # bytes; NumPy refuses longer ones as well, but reads them first, however long
PACKED_BY_NUMPY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of the others, zipfile unpacks all at once


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32: a last axis of 1, 3 or 4 is channels (a fourth, alpha, is dropped)."""
    values = _values(path)
    if np.iscomplexobj(values):
        raise ImageError("unreadable", "holds complex numbers; expected real intensities")
    image = as_image(values if _has_channels(values.shape) else values[..., None])
    return image[..., :3] if image.shape[-1] == WITH_ALPHA else image


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers; a last axis of length 1 is dropped."""
    values = _values(path)
    if values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    return whole_numbers(values)


def read_header(path: Path) -> Header:
    """The shape, from the header alone; NumPy files know no spacing."""
    with _opened(path) as file:
        shape, _ = _claimed(file)
    return Header(shape[:-1] if _has_channels(shape) else shape)


def bit_depth(path: Path) -> int | None:
    """8 for arrays of bytes; None for all others, whose range is not that of their type."""
    with _opened(path) as file:
        _, kind = _claimed(file)
    return 8 if kind == np.uint8 else None


def _values(path: Path) -> np.ndarray:
    with _opened(path) as file:
        _claimed(file)
    with _opened(path) as file:
        return npy.read_array(file, allow_pickle=False)


def _claimed(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    start = file.read(12)
    end_of_length = 10 if start[6:7] == b"\1" else 12  # by the version of the format
    length = int.from_bytes(start[8:end_of_length], "little")
    if start.startswith(npy.MAGIC_PREFIX) and length > MAX_HEADER:
        raise ImageError("unreadable", f"has a header of {length} bytes; expected at most {MAX_HEADER}")
    file.seek(0)
    version = npy.read_magic(file)
    read_fields = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_fields(file)
    if dtype.kind not in "biufc":
        raise ImageError("unsafe" if dtype.hasobject else "unreadable", f"holds {dtype}; expected numbers")
    bounded(shape, dtype.itemsize)
    if len(shape) not in (2, 3) and not (len(shape) == 4 and _has_channels(shape)):
        raise ImageError(
            "unreadable", f"holds {len(shape)} axes; expected [H, W], [H, W, C], [D, H, W] or [D, H, W, C]"
        )
    return shape, dtype


def _has_channels(shape: tuple[int, ...]) -> bool:
    return len(shape) > 2 and shape[-1] in (*CHANNELS, WITH_ALPHA)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                shown = ", ".join(names[:5]) or "none"
                raise ImageError("unreadable", f"holds {len(names)} arrays ({shown}); expected one")
            if archive.infolist()[0].compress_type not in PACKED_BY_NUMPY:
                message = "is packed by bzip2 or LZMA; expected an archive that NumPy wrote, save it again"
                raise ImageError("unsafe", message)
            with archive.open(names[0]) as file:
                yield file
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in zipfile, zlib, NumPy's parser or its reader
        raise describe_damage(path, error, EXPECTED) from error
