"""MetaImage (.mha, .mhd with its .raw or .zraw), by NumPy.

A header names the file that holds its values. Only a name beside the header is followed: another path would be
read as an image whatever lies there. ITK's own reader is not asked: it takes "Key : value" for "Key = value" and so
reads other sizes and files than those that are checked here, and gives what lies in memory where values are missing.
Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from genseg_betty.data.formats.common import CHANNELS, Header, ImageError, as_image, bounded, describe_damage, labels
from genseg_betty.data.formats.detached import require_beside
from genseg_betty.data.formats.place import LPS_TO_RAS, affine_from_axes, spacing_of

EXTENSIONS = (".mha", ".mhd")
EXPECTED = "a MetaImage file (.mha, or .mhd beside its .raw)"
HEADER_BYTES = 65536
TYPES = {
    **{"CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4"},
    **{"ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8"},
}
MATRIX = ("TransformMatrix", "Rotation", "Orientation")  # three names of one thing each; of several ITK takes the first
ORIGIN = ("Origin", "Offset", "Position")
MILLIMETRES = {"um": 0.001, "cm": 10.0}  # of DistanceUnits; others are taken for mm
BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")  # of both ITK takes the first
HERE = ("LOCAL", "Local", "local")  # the values follow the header
BLOCK = 2**20  # bytes of a compressed file that are unpacked at a time


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32."""
    return as_image(_values(path))


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers."""
    return labels(_values(path))


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    return _header(path, _keys(path)[0])


def _header(path: Path, keys: dict[str, str]) -> Header:
    try:
        sides = tuple(int(side) for side in keys["DimSize"].split())
        count = int(keys.get("NDims", len(sides)))
        if count != len(sides):
            raise ValueError(f"{len(sides)} sizes for {count} dimensions")
        unit = MILLIMETRES.get(keys.get("DistanceUnits", "mm").lower(), 1.0)
        given = _numbers(keys, ("ElementSpacing", "ElementSize"), count)
        spacing = (unit,) * count if given is None else tuple(unit * step for step in given)
        affine = _affine(keys, spacing, unit)
    except (KeyError, ValueError) as error:
        raise describe_damage(path, error, EXPECTED) from error
    bounded((*sides, _channels(keys)), _type(keys).itemsize)
    if count not in (2, 3):
        raise ImageError("unreadable", f"has {count} dimensions; expected 2 or 3")
    _require_known_channels(keys)
    if len(sides) == 3 and sides[2] == 1:
        sides, spacing = sides[:2], spacing[:2]
    if affine is None:
        return Header(sides[::-1], spacing[::-1])
    return Header(sides[::-1], spacing_of(affine, spacing[::-1]), affine)


def _affine(keys: dict[str, str], spacing: tuple[float, ...], unit: float) -> np.ndarray | None:
    """The place, as ITK has it: a row of the matrix is the direction of an axis, in LPS. None where none is stated.

    `spacing` is in mm, the origin in units of so many mm. Raises ValueError.
    """
    count = len(spacing)
    matrix = _numbers(keys, MATRIX, count * count)
    origin = _numbers(keys, ORIGIN, count)
    if count not in (2, 3) or (matrix is None and origin is None):
        return None
    directions = np.eye(count) if matrix is None else np.array(matrix).reshape(count, count)
    start = [unit * place for place in origin or [0.0] * count]
    steps = directions * np.array(spacing)[:, None]
    return LPS_TO_RAS @ affine_from_axes(steps, start)


def _numbers(keys: dict[str, str], names: tuple[str, ...], count: int) -> list[float] | None:
    """The numbers of the first of these keys that is stated; None where none is. Raises ValueError."""
    for name in names:
        if keys.get(name):
            found = [float(number) for number in keys[name].split()]
            if len(found) != count:
                raise ValueError(f"{name} has {len(found)} numbers, not {count}")
            return found
    return None


def _require_known_channels(keys: dict[str, str]) -> None:
    if _channels(keys) not in CHANNELS:
        raise ImageError("unreadable", f"holds {_channels(keys)} channels; expected 1 or 3, keep one of them")


def data_files(path: Path) -> list[Path]:
    """The file beside the header that holds the values; none where they follow the header."""
    name = _keys(path)[0]["ElementDataFile"]
    return [] if name in HERE else [path.parent / name]


def _values(path: Path) -> np.ndarray:
    """[..., C] as stored."""
    keys, start = _keys(path)
    shape = (*_header(path, keys).shape, _channels(keys))
    dtype = _type(keys)
    length = math.prod(shape) * dtype.itemsize
    source = (data_files(path) or [path])[0]
    try:
        skipped = int(keys.get("HeaderSize", 0))
        with source.open("rb") as file:
            if skipped < 0:  # the values are at the end
                file.seek(-length, os.SEEK_END)
            else:
                file.seek(start if source == path else skipped)
            packed = _is_true(keys, "CompressedData")
            content: bytes | bytearray = _unpacked(file, length) if packed else file.read(length)
    except (OSError, ValueError, zlib.error) as error:
        raise describe_damage(path, error, EXPECTED) from error
    if len(content) < length:
        raise ImageError("unreadable", f"holds {len(content)} bytes of values; expected {length}, it is cut off")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _unpacked(file: IO[bytes], length: int) -> bytearray:
    """So many bytes of a zlib or gzip stream, however much it holds."""
    unpacker = zlib.decompressobj(wbits=47)
    content = bytearray()
    while len(content) < length and not unpacker.eof and (block := unpacker.unconsumed_tail or file.read(BLOCK)):
        content += unpacker.decompress(block, length - len(content))
    return content


def _type(keys: dict[str, str]) -> np.dtype:
    name = keys.get("ElementType", "none").removeprefix("MET_").removesuffix("_ARRAY")
    if name not in TYPES:
        raise ImageError("unreadable", f"holds values of the type {name}; expected one of {', '.join(TYPES)}")
    if not _is_true(keys, "BinaryData", "True"):
        raise ImageError("unreadable", "holds its values as text; expected binary values (BinaryData = True)")
    order = next((name for name in BYTE_ORDER if name in keys), BYTE_ORDER[0])
    high_first = _is_true(keys, order)
    return np.dtype(TYPES[name]).newbyteorder(">" if high_first else "<")


def _is_true(keys: dict[str, str], name: str, default: str = "False") -> bool:
    return keys.get(name, default)[:1] in ("T", "t", "1")


def _channels(keys: dict[str, str]) -> int:
    text = keys.get("ElementNumberOfChannels", "1")
    return int(text) if text.isdigit() else 0


def _keys(path: Path) -> tuple[dict[str, str], int]:
    """The header's lines, and where they end; its data file is checked."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise describe_damage(path, error, EXPECTED) from error
    keys: dict[str, str] = {}
    end = 0
    for line in head.split(b"\n"):
        end += len(line) + 1
        key, separator, value = line.decode("latin-1").partition("=")
        if not separator:
            break
        keys[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            _check_data_file(path, keys["ElementDataFile"])
            return keys, end
    raise ImageError("unreadable", f"has no line ElementDataFile; expected {EXPECTED}")


def _check_data_file(path: Path, name: str) -> None:
    if name in HERE:
        return
    require_beside(path, name, "LOCAL or the name of one file beside it")
