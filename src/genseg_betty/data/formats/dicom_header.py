"""The numbers of a DICOM header, each of which may be absent, empty or odd."""

import re
from typing import TYPE_CHECKING, Any

from genseg_betty.data.formats.common import ImageError, bounded

if TYPE_CHECKING:
    from pydicom import Dataset

LARGE = 1e12  # no length, place or rescale is larger
PALETTE = "PALETTE COLOR"  # one value a pixel, which names a colour
COLOURS = ("RGB", PALETTE, "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
INVERTED = "MONOCHROME1"  # gray whose large values are dark
GRAYS = (INVERTED, "MONOCHROME2")
MAX_SHOWN = 60  # characters of a value in a message


def read_sizes(data: "Dataset") -> tuple[int, int, int]:
    """Frames, rows and columns. Raises ImageError for more values than are read."""
    frames = read_whole(data, "NumberOfFrames") or 1
    rows = read_whole(data, "Rows") or 0
    columns = read_whole(data, "Columns") or 0
    bits = read_whole(data, "BitsAllocated") or 8
    channels = count_channels(data)
    itemsize = max(1, bits // 8)
    bounded((frames, rows, columns, channels), itemsize)
    return frames, rows, columns


def count_channels(data: "Dataset") -> int:
    """Channels of the image: a palette's colours are three."""
    if read_interpretation(data) in COLOURS:
        return 3
    return read_whole(data, "SamplesPerPixel") or 1


def read_interpretation(data: "Dataset") -> str:
    """How pixels stand for gray or colour, as MONOCHROME2; empty where the file does not say."""
    stated = data.get("PhotometricInterpretation") or ""
    return str(stated).strip()


def read_whole(data: "Dataset", keyword: str) -> int | None:
    """A whole number of the header, None where it is absent or empty. Raises ImageError for anything else."""
    found = read_number(data, keyword)
    return None if found is None else int(found)


def read_number(data: "Dataset", keyword: str) -> float | None:
    """A number of the header, None where it is absent or empty. Raises ImageError for anything else."""
    found = read_numbers(data, keyword, 1)
    return found[0] if found else None


def read_numbers(data: "Dataset", keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` numbers of the header, None where they are absent or empty. Raises ImageError for anything else."""
    try:
        values = _list_values(data, keyword)
        if not values or values == [""]:
            return None
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError, ArithmeticError):
        found = ()
    is_complete = len(found) == count
    is_bounded = all(abs(number) < LARGE for number in found)
    if not is_complete or not is_bounded:
        stated = str(data.get(keyword))
        shown = re.sub(r"\s+", " ", stated)[:MAX_SHOWN]
        expected = "a number" if count == 1 else f"{count} numbers"
        message = f"states {keyword} as {shown}; expected {expected}, mend its header"
        raise ImageError("unreadable", message)
    return found


def _list_values(data: "Dataset", keyword: str) -> list[Any]:
    """The values of an element as pydicom parses them, none where it is absent or empty."""
    if keyword not in data:
        return []
    value = data[keyword].value  # faster than get(), and asked often
    if isinstance(value, (str, int, float)):
        return [value]
    return list(value or ())
