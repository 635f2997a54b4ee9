"""The header of a MetaImage: lines of "Key = value", the last of which names the file of the values.

ITK's own reader is not asked: it takes "Key : value" for "Key = value" and so reads other sizes and files than those
that are checked here, and gives what lies in memory where values are missing.
Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genseg_betty.data.formats.common import CHANNELS, Header, ImageError, bounded, describe_damage
from genseg_betty.data.formats.detached import require_beside
from genseg_betty.data.formats.place import LPS_TO_RAS, affine_from_axes, spacing_of

EXPECTED = "a MetaImage file (.mha, or .mhd beside its .raw)"
HEADER_BYTES = 65536
TYPES = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
# Keys that mean the same; where a header has several, ITK takes the first.
MATRIX = ("TransformMatrix", "Rotation", "Orientation")
ORIGIN = ("Origin", "Offset", "Position")
SPACING = ("ElementSpacing", "ElementSize")
BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
MILLIMETRES = {"um": 0.001, "cm": 10.0}  # of DistanceUnits; others are taken for mm
DATA_FILE = "ElementDataFile"
HERE = ("LOCAL", "Local", "local")  # the values follow the header
TRUE_STARTS = ("T", "t", "1")


@dataclass(frozen=True)
class MetaImageHead:
    """The lines of a header, and where they end; the file of the values is checked."""

    keys: Mapping[str, str]
    end: int

    @property
    def data_name(self) -> str | None:
        """The file of the values; None where they follow the header."""
        name = self.keys[DATA_FILE]
        return None if name in HERE else name

    @property
    def channels(self) -> int:
        """0 where the header states no number."""
        text = self.keys.get("ElementNumberOfChannels", "1")
        return int(text) if text.isdigit() else 0


def read_head(path: Path) -> MetaImageHead:
    """Read a header up to the line that names the file of the values. Raises ImageError."""
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError as error:
        raise describe_damage(path, error, EXPECTED) from error

    # The line that names the file of the values is the last one; what follows it may be values.
    keys: dict[str, str] = {}
    end = 0
    for line in start.split(b"\n"):
        end += len(line) + 1
        text = line.decode("latin-1")
        key, separator, value = text.partition("=")
        if not separator:
            break
        key = key.strip()
        keys[key] = value.strip()
        if key == DATA_FILE:
            _check_data_file(path, keys[key])
            return MetaImageHead(keys, end)
    raise ImageError("unreadable", f"has no line {DATA_FILE}; expected {EXPECTED}")


def describe_header(path: Path, head: MetaImageHead) -> Header:
    """Shape, spacing in mm and place. Raises ImageError."""
    keys = head.keys
    try:
        sides = _read_sides(keys)
        count = len(sides)
        stated_unit = keys.get("DistanceUnits", "mm")
        unit = MILLIMETRES.get(stated_unit.lower(), 1.0)
        steps = _read_numbers(keys, SPACING, count) or [1.0] * count
        spacing = tuple(unit * step for step in steps)
        affine = _find_affine(keys, spacing, unit)
    except (KeyError, ValueError) as error:
        raise describe_damage(path, error, EXPECTED) from error

    # The size is bounded before anything that depends on it.
    stored = (*sides, head.channels)
    bounded(stored, find_type(head).itemsize)
    if count not in (2, 3):
        raise ImageError("unreadable", f"has {count} dimensions; expected 2 or 3")
    if head.channels not in CHANNELS:
        raise ImageError("unreadable", f"holds {head.channels} channels; expected 1 or 3, keep one of them")

    # A volume of one slice is an image.
    if len(sides) == 3 and sides[2] == 1:
        sides = sides[:2]
        spacing = spacing[:2]
    shape = sides[::-1]
    slowest_first = spacing[::-1]
    if affine is None:
        return Header(shape, slowest_first)
    return Header(shape, spacing_of(affine, slowest_first), affine)


def find_type(head: MetaImageHead) -> np.dtype:
    """The type of a value, in the byte order of the file. Raises ImageError."""
    keys = head.keys
    stated = keys.get("ElementType", "none")
    name = stated.removeprefix("MET_").removesuffix("_ARRAY")
    if name not in TYPES:
        known = ", ".join(TYPES)
        raise ImageError("unreadable", f"holds values of the type {name}; expected one of {known}")
    if not is_true(keys, "BinaryData", "True"):
        raise ImageError("unreadable", "holds its values as text; expected binary values (BinaryData = True)")
    stated_orders = [key for key in BYTE_ORDER if key in keys]
    high_byte_first = bool(stated_orders) and is_true(keys, stated_orders[0])
    order = ">" if high_byte_first else "<"
    return np.dtype(order + TYPES[name])


def is_true(keys: Mapping[str, str], name: str, default: str = "False") -> bool:
    """Whether a key is set, as ITK takes it: by the first letter."""
    value = keys.get(name, default)
    return value[:1] in TRUE_STARTS


def _read_sides(keys: Mapping[str, str]) -> tuple[int, ...]:
    """The sizes along the axes, the fastest first. Raises KeyError and ValueError."""
    stated = keys["DimSize"].split()
    sides = tuple(int(side) for side in stated)
    count = int(keys.get("NDims", len(sides)))
    if count != len(sides):
        raise ValueError(f"{len(sides)} sizes for {count} dimensions")
    return sides


def _find_affine(keys: Mapping[str, str], spacing: tuple[float, ...], unit: float) -> np.ndarray | None:
    """The place, as ITK has it: a row of the matrix is the direction of an axis, in LPS. None where none is stated.

    The spacing is in mm, the header's origin in units of `unit` mm. Raises ValueError.
    """
    count = len(spacing)
    matrix = _read_numbers(keys, MATRIX, count * count)
    origin = _read_numbers(keys, ORIGIN, count)
    states_none = matrix is None and origin is None
    if count not in (2, 3) or states_none:
        return None
    directions = np.eye(count)
    if matrix is not None:
        numbers = np.array(matrix)
        directions = numbers.reshape(count, count)
    places = origin or [0.0] * count
    start = [unit * place for place in places]
    lengths = np.array(spacing)
    steps = directions * lengths[:, None]
    return LPS_TO_RAS @ affine_from_axes(steps, start)


def _read_numbers(keys: Mapping[str, str], names: tuple[str, ...], count: int) -> list[float] | None:
    """The numbers of the first of these keys that is stated; None where none is. Raises ValueError."""
    for name in names:
        text = keys.get(name)
        if not text:
            continue
        found = [float(number) for number in text.split()]
        if len(found) != count:
            raise ValueError(f"{name} has {len(found)} numbers, not {count}")
        return found
    return None


def _check_data_file(path: Path, name: str) -> None:
    """Raise ImageError for values in a file that is not beside the header."""
    if name not in HERE:
        require_beside(path, name, "LOCAL or the name of one file beside it")
