"""What all readers share: the header of a file, its faults, and the bounds on what a file may claim to hold.

The memory that one file takes is bounded whatever it contains. What claims more than MAX_VALUES values, or more than
MAX_BYTES as they are stored, is refused by its header. A file that is read takes at most 32 bytes a value on its way to
float32, 8 GiB for the largest. A file that is refused takes at most 1.5 GiB, or twice its own length where that is
more. `genseg data check` reads up to four files at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from genseg_betty.errors import UserError

MAX_VALUES = 2**28  # values of one file that are read into memory: 1 GiB as float32
MAX_BYTES = 2**30  # of those values as a file stores them, and of a file that is read as a whole
CHANNELS = (1, 3)  # of an image: gray or colour
NEARLY_WHOLE = 1e-3  # by which a label may differ from a whole number
ROUNDING = 2**-22  # of a slope and of what it is multiplied by, with room for its computation
MAX_LABEL = 65535
MAX_SHOWN = 100  # characters of a size in a message: a header may claim thousands of digits
MAX_REASON = 300  # characters of another library's message in ours
MB = 1e6  # bytes


class ImageError(UserError):
    """A file that cannot be used; `code` is the finding of `genseg data check` that it belongs to."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of itself before its values are read."""

    shape: tuple[int, ...]  # (H, W) of an image, (D, H, W) of a volume; no channels
    spacing: tuple[float, ...] | None = None  # mm, in the order of `shape`; None where the format has none
    # [4, 4] float64, from voxel indices (i, j, k), the array's axes from last to first, to millimetres (x to the right,
    # y to the front, z up: RAS+); of an image k is the normal of its plane. None where the file states no place.
    affine: np.ndarray | None = field(default=None, compare=False)
    doubt: str = ""  # in which way the file contradicts itself, to be told; empty where it does not


def bounded(shape: Sequence[int], itemsize: int = 1) -> None:
    """Raise ImageError (`too_large`, or `unreadable` for an empty shape) for what a header claims.

    `itemsize` is the bytes of one value as stored.
    """
    sides = " x ".join(str(side) for side in shape)
    if len(sides) > MAX_SHOWN:
        sides = f"{sides[:MAX_SHOWN]}..."
    if not shape or min(shape) < 1:
        found = sides or "no"
        raise ImageError("unreadable", f"holds {found} values; expected at least one along each axis")
    count = math.prod(shape)
    if count > MAX_VALUES:
        most_millions = MAX_VALUES / 1e6
        raise ImageError(
            "too_large",
            f"holds {sides} values; expected at most {most_millions:.0f} million, scale it down or crop",
        )
    if count * itemsize > MAX_BYTES:
        raise ImageError(
            "too_large",
            f"holds {sides} values of {itemsize} bytes; expected at most {MAX_BYTES / MB:.0f} MB in all, "
            "store it in a smaller type, scale it down or crop",
        )


def require_short(path: Path) -> None:
    """Raise ImageError (`too_large`) for a file that is too long to be read as a whole. Raises OSError."""
    length = path.stat().st_size
    if length > MAX_BYTES:
        raise ImageError(
            "too_large",
            f"is {length / MB:.0f} MB long; expected at most {MAX_BYTES / MB:.0f} MB, scale it down or crop",
        )


def as_image(values: np.ndarray) -> np.ndarray:
    """[..., C] float32 from values in file units. Raises ImageError for NaN or infinity."""
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and are refused below
        array = values.astype(np.float32)
    if not np.isfinite(array).all():
        raise ImageError(
            "unreadable",
            "holds NaN or infinite intensities; expected finite numbers, write that of the background instead",
        )
    return array


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Label values as integers. Raises ImageError (`unexpected_label`) for fractions, NaN and complex numbers.

    Values next to whole numbers are rounded, as a header may scale them (by a slope of 1.00000006).
    """
    is_integer = np.issubdtype(values.dtype, np.integer)
    if is_integer or values.dtype == bool:
        return values
    expected = "expected whole label values such as 0 and 255"
    if np.iscomplexobj(values):
        raise ImageError("unexpected_label", f"holds complex numbers; {expected}")
    if not np.isfinite(values).all():
        raise ImageError("unexpected_label", f"holds NaN or infinite values; {expected}, write 0 in their place")
    whole = np.round(values)
    # A slope is a float32, wrong by up to 2^-24 of itself, and so are the labels that it scales.
    highest = float(whole.max(initial=0))
    allowed = NEARLY_WHOLE + ROUNDING * min(highest, MAX_LABEL)
    if _find_greatest_difference(values, whole) > allowed:
        raise ImageError("unexpected_label", f"holds fractions; {expected}")
    return whole.astype(np.int64)


def _find_greatest_difference(values: np.ndarray, others: np.ndarray) -> float:
    difference = values - others
    np.abs(difference, out=difference)  # in place, as an array of the largest size takes gigabytes
    return float(difference.max(initial=0))


def labels(values: np.ndarray) -> np.ndarray:
    """[..., C] values as stored -> [...] label values. Raises ImageError (`unexpected_label`) for several channels."""
    channels = values.shape[-1]
    if channels != 1:
        raise ImageError("unexpected_label", f"holds {channels} channels; expected one label a pixel or voxel")
    return whole_numbers(values[..., 0])


def describe_damage(path: Path, error: Exception, expected: str) -> ImageError:
    """The fault of a file whose reader raised `error`."""
    told = str(error).replace(str(path), path.name)
    reason = told.strip() or type(error).__name__
    first_line = reason.splitlines()[0]
    shown = first_line[:MAX_REASON]
    return ImageError("unreadable", f"cannot be read ({shown}); expected {expected}")
