"""NRRD (.nrrd, or .nhdr beside its data), the header by pynrrd.

Axes are returned slowest first; one that is no axis of space (colour) comes last. pynrrd's reader of values is not
asked: it unpacks whatever there is, and follows a header to any file.
Format: https://teem.sourceforge.net/nrrd/format.html
"""

import bz2
import gzip
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from genseg_betty.data.formats.common import CHANNELS, Header, ImageError, as_image, bounded, describe_damage, labels
from genseg_betty.data.formats.detached import require_beside
from genseg_betty.data.formats.place import affine_from_axes

EXTENSIONS = (".nrrd", ".nhdr")
EXPECTED = "an NRRD file (.nrrd, or .nhdr beside its data)"
IN_ONE_FILE = "values in the file itself, or in one beside it that it names"
LISTED = re.compile(rb"data ?file:\s*LIST\b")
HEADER_BYTES = 2**20  # 3D Slicer writes several lines for each segment
MAX_SKIP = 2**26  # bytes or lines before the values
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
# What leads from a space to RAS. ITK takes one that is not named, or is that of a scanner, for LPS, and so do we.
RAS, LAS, LPS = (1, 1, 1), (-1, 1, 1), (-1, -1, 1)
TO_RAS = {
    **dict.fromkeys(("right-anterior-superior", "ras", "rast"), RAS),
    **dict.fromkeys(("left-anterior-superior", "las", "last"), LAS),
    **dict.fromkeys(("left-posterior-superior", "lps", "lpst"), LPS),
    **dict.fromkeys(("", "scanner-xyz", "3d-right-handed", "3d-left-handed"), LPS),
}
MILLIMETRES = {"m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001, "micron": 0.001, "microns": 0.001}
SPATIAL = ("domain", "space", "none", "???")  # kinds of axes; the last two say nothing


@dataclass(frozen=True)
class _Head:
    """What a header says, checked."""

    header: Header
    sizes: tuple[int, ...]  # of all axes, the fastest first
    colour: int | None  # the axis among `sizes` that holds the channels
    dtype: np.dtype
    fields: Mapping[str, Any]
    start: int  # of values that follow the header

    @property
    def data_name(self) -> str | None:
        """The file of the values; None where they follow the header."""
        return _either(self.fields, "data file", "datafile")


def read_image(path: Path) -> np.ndarray:
    """[H, W, C] or [D, H, W, C] float32."""
    return as_image(_values(path))


def read_mask(path: Path) -> np.ndarray:
    """[H, W] or [D, H, W] integers."""
    return labels(_values(path))


def read_header(path: Path) -> Header:
    """Shape, spacing in mm and place, from the header alone."""
    return _head(path).header


def data_files(path: Path) -> list[Path]:
    """The file beside the header that holds the values; none where they follow the header."""
    name = _head(path).data_name
    return [] if name is None else [path.parent / name]


def _head(path: Path) -> _Head:
    fields, start = _fields(path)
    try:
        head = _checked(fields, start)
    except ImageError:
        raise
    except Exception as error:  # fields that are missing, of another length, or no numbers
        raise describe_damage(path, error, EXPECTED) from error
    if head.data_name is not None:
        require_beside(path, head.data_name, IN_ONE_FILE)
    return head


def _checked(fields: Mapping[str, Any], start: int) -> _Head:
    """Raises ImageError, and KeyError, ValueError, IndexError or TypeError for fields that do not fit each other."""
    sizes = tuple(int(side) for side in fields["sizes"])
    count = int(fields["dimension"])
    directions = fields.get("space directions")
    if directions is not None and np.shape(directions)[1:] == (0,):  # "none" for every axis
        directions = None
    kinds = [kind.lower() for kind in fields.get("kinds", ["none"] * len(sizes))]
    if not len(sizes) == len(kinds) == count or (directions is not None and len(directions) != count):
        raise ValueError(f"other numbers of sizes, kinds or directions than its {count} dimensions")
    dtype = _type(fields)
    bounded(sizes, dtype.itemsize)
    if directions is None:
        spatial = [kind in SPATIAL for kind in kinds]
    else:  # those without a direction are not of space
        spatial = [bool(np.isfinite(direction).all()) for direction in directions]
    others = [axis for axis in range(count) if not spatial[axis] and sizes[axis] > 1]
    axes = [axis for axis in range(count) if spatial[axis]]
    if directions is not None:
        kinds = [kind if has else f"{kind}, without a direction" for kind, has in zip(kinds, spatial, strict=True)]
    _require_known_axes(sizes, axes, others, kinds)
    header = _header(fields, sizes, axes, directions)
    return _Head(header, sizes, others[0] if others else None, dtype, fields, start)


def _fields(path: Path) -> tuple[dict[str, Any], int]:
    """The header's fields, and where it ends."""
    import nrrd

    lines: list[bytes] = []
    start = 0
    try:
        with path.open("rb") as file:
            while start < HEADER_BYTES and (line := file.readline(HEADER_BYTES)):
                lines.append(line)
                start += len(line)
                if LISTED.match(line):
                    raise ImageError("unsafe", f"keeps its values in 'LIST'; expected {IN_ONE_FILE}")
                if not line.strip():
                    break
        if start >= HEADER_BYTES:
            raise ImageError("unreadable", f"has no header that ends within {HEADER_BYTES} bytes; expected {EXPECTED}")
        with np.errstate(invalid="ignore"):  # a size that is no number is refused later
            return nrrd.read_header(lines), start
    except ImageError:
        raise
    except Exception as error:  # pynrrd raises what its parsers raise
        raise describe_damage(path, error, EXPECTED) from error


def _type(fields: Mapping[str, Any]) -> np.dtype:
    """Raises ValueError, or KeyError for a header that states none."""
    kind = next((kind for kind, names in TYPES.items() if fields["type"] in names), None)
    if kind is None:
        raise ValueError(f"values of the type {fields['type']}")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", ""), "")
    if not order and kind[1] != "1":
        raise ValueError("a field endian of little or big is expected")
    return np.dtype(order + kind)


def _require_known_axes(sizes: tuple[int, ...], axes: list[int], others: list[int], kinds: list[str]) -> None:
    channels = sizes[others[0]] if others else 1
    in_time = any(kinds[axis].startswith("time") for axis in others)
    if len(axes) not in (2, 3) or len(others) > 1 or channels not in CHANNELS or in_time:
        named = ", ".join(f"{size} ({kind})" for size, kind in zip(sizes, kinds, strict=True))
        message = f"has axes of {named} values; expected 2 or 3 axes of space, and at most one of 1 or 3 channels"
        raise ImageError("unreadable", message)


def _header(fields: Mapping[str, Any], sizes: tuple[int, ...], axes: list[int], directions: Any) -> Header:
    """The spatial shape; its place where there are directions, else the spacing alone."""
    shape = tuple(sizes[axis] for axis in reversed(axes))
    affine, spacing = None, _spacings(fields, axes)
    if directions is not None:
        affine = _affine(fields, np.array([directions[axis] for axis in axes], dtype=np.float64))
        lengths = np.linalg.norm(affine[:3, : len(axes)], axis=0)
        spacing = tuple(float(length) for length in reversed(lengths))
    if len(shape) == 3 and shape[0] == 1:
        shape, spacing = shape[1:], spacing[1:] if spacing else None
    return Header(shape, spacing, affine)


def _affine(fields: Mapping[str, Any], steps: np.ndarray) -> np.ndarray:
    """From the steps along the axes, whatever the space is called, to mm in RAS."""
    space = fields.get("space", "").lower().removesuffix("-time")
    if space not in TO_RAS:
        raise ValueError(f"the space {fields['space']}, which NRRD does not know")
    to_ras = np.diag([*TO_RAS[space], 1.0])

    units = fields.get("space units") or ["mm"]
    scale = MILLIMETRES.get(units[0].lower(), 1.0)
    steps = scale * steps[:, :3]
    origin = scale * np.nan_to_num(fields.get("space origin", np.zeros(steps.shape[1])))[:3]
    if len(origin) != steps.shape[1]:
        raise ValueError(f"an origin of {len(origin)} numbers")
    return to_ras @ affine_from_axes(steps, origin)


def _spacings(fields: Mapping[str, Any], axes: list[int]) -> tuple[float, ...] | None:
    """In mm; None where an axis of space has none."""
    given, units = fields.get("spacings"), fields.get("units", [])
    if given is None or len(given) <= max(axes) or not np.isfinite([given[axis] for axis in axes]).all():
        return None
    scales = [MILLIMETRES.get(unit.lower(), 1.0) for unit in units]
    scales += [1.0] * (len(given) - len(scales))
    return tuple(scales[axis] * float(given[axis]) for axis in reversed(axes))


def _values(path: Path) -> np.ndarray:
    """[..., C] as stored."""
    head = _head(path)
    length = math.prod(head.sizes) * head.dtype.itemsize
    source = path if head.data_name is None else path.parent / head.data_name
    try:
        with source.open("rb") as file:
            file.seek(head.start if source == path else 0)
            content = _content(file, head.fields, length)
    except ImageError:
        raise
    except Exception as error:  # a damaged file fails in gzip, zlib, bz2 or at its end
        raise describe_damage(path, error, EXPECTED) from error
    if len(content) < length:
        raise ImageError("unreadable", f"holds {len(content)} bytes of values; expected {length}, it is cut off")
    values = np.frombuffer(content, head.dtype).astype(head.dtype.newbyteorder("="), copy=False)
    values = values.reshape(head.sizes[::-1])
    if head.colour is None:
        return values.reshape((*head.header.shape, 1))
    values = np.moveaxis(values, len(head.sizes) - 1 - head.colour, -1)
    return values.reshape((*head.header.shape, values.shape[-1]))


def _content(file: IO[bytes], fields: Mapping[str, Any], length: int) -> bytes:
    """So many bytes of values, however many there are. Raises ImageError, and as gzip and bz2 do."""
    lines, skipped = _either(fields, "line skip", "lineskip") or 0, _either(fields, "byte skip", "byteskip") or 0
    packing = fields.get("encoding", "").lower()
    if not (0 <= lines <= MAX_SKIP and -1 <= skipped <= MAX_SKIP):
        raise ImageError("unsafe", f"skips {lines} lines and {skipped} bytes; expected 0 to {MAX_SKIP} of each")
    for _ in range(lines):
        if not file.readline(HEADER_BYTES):
            break
    if packing == "raw":
        from_end = skipped == -1  # the values are the last of the file
        file.seek(-length if from_end else skipped, os.SEEK_END if from_end else os.SEEK_CUR)
        return file.read(length)
    if packing not in ("gzip", "gz", "bzip2", "bz2") or skipped < 0:
        found = packing or "it does not say what"
        raise ImageError("unreadable", f"keeps its values as {found}; expected raw, gzip or bzip2, save it anew")
    with gzip.GzipFile(fileobj=file) if packing.startswith("g") else bz2.BZ2File(file) as unpacked:
        unpacked.seek(skipped)
        return unpacked.read(length)


def _either(fields: Mapping[str, Any], name: str, other: str) -> Any:
    """A field that may be written in two ways."""
    return fields.get(name, fields.get(other))
