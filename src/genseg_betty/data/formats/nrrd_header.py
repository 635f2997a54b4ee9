"""The header of an NRRD file, read by pynrrd and checked.

Format: https://teem.sourceforge.net/nrrd/format.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from genseg_betty.data.formats.common import CHANNELS, Header, ImageError, bounded, describe_damage
from genseg_betty.data.formats.detached import require_beside
from genseg_betty.data.formats.nrrd_place import describe_place, find_directions

EXPECTED = "an NRRD file (.nrrd, or .nhdr beside its data)"
IN_ONE_FILE = "values in the file itself, or in one beside it that it names"
LISTED = re.compile(rb"data ?file:\s*LIST\b")
HEADER_BYTES = 2**20  # 3D Slicer writes several lines for each segment
TYPES = {
    "signed char": "i1",
    "int8": "i1",
    "int8_t": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    "uint8": "u1",
    "uint8_t": "u1",
    "short": "i2",
    "short int": "i2",
    "signed short": "i2",
    "signed short int": "i2",
    "int16": "i2",
    "int16_t": "i2",
    "ushort": "u2",
    "unsigned short": "u2",
    "unsigned short int": "u2",
    "uint16": "u2",
    "uint16_t": "u2",
    "int": "i4",
    "signed int": "i4",
    "int32": "i4",
    "int32_t": "i4",
    "uint": "u4",
    "unsigned int": "u4",
    "uint32": "u4",
    "uint32_t": "u4",
    "longlong": "i8",
    "long long": "i8",
    "long long int": "i8",
    "signed long long": "i8",
    "signed long long int": "i8",
    "int64": "i8",
    "int64_t": "i8",
    "ulonglong": "u8",
    "unsigned long long": "u8",
    "unsigned long long int": "u8",
    "uint64": "u8",
    "uint64_t": "u8",
    "float": "f4",
    "double": "f8",
}
BYTE_ORDERS = {"little": "<", "big": ">"}
SPATIAL = ("domain", "space", "none", "???")  # kinds of axes; the last two say nothing


@dataclass(frozen=True)
class NrrdHead:
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
        return find_field(self.fields, "data file", "datafile")


def read_head(path: Path) -> NrrdHead:
    """The checked header of a file. Raises ImageError."""
    fields, start = _read_fields(path)
    try:
        head = _check_fields(fields, start)
    except ImageError:
        raise
    except Exception as error:  # fields that are missing, of another length, or no numbers
        raise describe_damage(path, error, EXPECTED) from error
    if head.data_name is not None:
        require_beside(path, head.data_name, IN_ONE_FILE)
    return head


def find_field(fields: Mapping[str, Any], name: str, other: str) -> Any:
    """A field that may be written in two ways; None where it is absent."""
    return fields.get(name, fields.get(other))


def _read_fields(path: Path) -> tuple[dict[str, Any], int]:
    """The header's fields, and where it ends."""
    import nrrd

    try:
        with path.open("rb") as file:
            lines = _read_lines(file)
        start = sum(len(line) for line in lines)
        if start >= HEADER_BYTES:
            message = f"has no header that ends within {HEADER_BYTES} bytes; expected {EXPECTED}"
            raise ImageError("unreadable", message)
        with np.errstate(invalid="ignore"):  # a size that is no number is refused later
            return nrrd.read_header(lines), start
    except ImageError:
        raise
    except Exception as error:  # pynrrd raises what its parsers raise
        raise describe_damage(path, error, EXPECTED) from error


def _read_lines(file: IO[bytes]) -> list[bytes]:
    """The lines of the header and the empty one that ends it; of a longer header about HEADER_BYTES."""
    lines: list[bytes] = []
    length = 0
    while length < HEADER_BYTES:
        line = file.readline(HEADER_BYTES)
        if not line:
            break
        lines.append(line)
        length += len(line)
        if LISTED.match(line):
            raise ImageError("unsafe", f"keeps its values in 'LIST'; expected {IN_ONE_FILE}")
        if not line.strip():
            break
    return lines


def _check_fields(fields: Mapping[str, Any], start: int) -> NrrdHead:
    """Raises ImageError, and KeyError, ValueError, IndexError or TypeError for fields that do not fit each other."""
    sizes = tuple(int(side) for side in fields["sizes"])
    count = int(fields["dimension"])
    directions = find_directions(fields)
    stated_kinds = fields.get("kinds", ["none"] * len(sizes))
    kinds = [kind.lower() for kind in stated_kinds]
    _require_one_count(count, sizes, kinds, directions)
    dtype = _find_type(fields)
    bounded(sizes, dtype.itemsize)

    # An axis is of space if it has a direction or, where no axis has one, if its kind allows it.
    if directions is None:
        spatial = [kind in SPATIAL for kind in kinds]
    else:
        spatial = [bool(np.isfinite(direction).all()) for direction in directions]
        kinds = _mark_axes_without_direction(kinds, spatial)
    axes: list[int] = []
    others: list[int] = []
    for axis in range(count):
        if spatial[axis]:
            axes.append(axis)
        elif sizes[axis] > 1:
            others.append(axis)

    _require_known_axes(sizes, axes, others, kinds)
    header = describe_place(fields, sizes, axes, directions)
    colour = others[0] if others else None
    return NrrdHead(header, sizes, colour, dtype, fields, start)


def _require_one_count(count: int, sizes: Sequence[int], kinds: Sequence[str], directions: Any) -> None:
    """Raise ValueError unless there is a size, a kind and a direction for each dimension."""
    lengths = [len(sizes), len(kinds)]
    if directions is not None:
        lengths.append(len(directions))
    if any(length != count for length in lengths):
        raise ValueError(f"other numbers of sizes, kinds or directions than its {count} dimensions")


def _mark_axes_without_direction(kinds: list[str], spatial: list[bool]) -> list[str]:
    """The kinds of all axes, for a message."""
    marked = []
    for kind, has_direction in zip(kinds, spatial, strict=True):
        marked.append(kind if has_direction else f"{kind}, without a direction")
    return marked


def _find_type(fields: Mapping[str, Any]) -> np.dtype:
    """Raises ValueError, or KeyError for a header that states no type."""
    stated = fields["type"]
    kind = TYPES.get(stated)
    if kind is None:
        raise ValueError(f"values of the type {stated}")
    endian = fields.get("endian", "")
    order = BYTE_ORDERS.get(endian, "")
    is_one_byte = kind.endswith("1")
    if not order and not is_one_byte:
        raise ValueError("a field endian of little or big is expected")
    return np.dtype(order + kind)


def _require_known_axes(sizes: tuple[int, ...], axes: list[int], others: list[int], kinds: list[str]) -> None:
    """Raise ImageError unless there are 2 or 3 axes of space, and at most one other, of channels."""
    channels = sizes[others[0]] if others else 1
    in_time = any(kinds[axis].startswith("time") for axis in others)
    has_known_channels = len(others) <= 1 and channels in CHANNELS
    if len(axes) in (2, 3) and has_known_channels and not in_time:
        return
    pairs = zip(sizes, kinds, strict=True)
    described = [f"{size} ({kind})" for size, kind in pairs]
    found = ", ".join(described)
    message = f"has axes of {found} values; expected 2 or 3 axes of space, and at most one of 1 or 3 channels"
    raise ImageError("unreadable", message)
