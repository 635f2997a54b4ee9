"""Colours as numbers: red, green and blue packed into one number, and the gray value of a mask saved as RGB."""

import numpy as np
import numpy.typing as npt

from genseg_betty.data.formats.common import ImageError

COLOUR_NOISE = 16  # JPEG leaves a gray RGB mask with channels this far apart
MAX_LABELS_IN_COLOUR = 16  # more colours than these, so close to gray, are noise and no labels
DARK = 127  # up to which numbers are labels rather than gray values


def pack(colours: npt.ArrayLike) -> np.ndarray:
    """Colours [..., 3], red, green and blue within 0..255, as one number each: [...] int32 r*65536 + g*256 + b."""
    parts = np.asarray(colours)
    rgb = parts[..., :3].astype(np.int32)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return (red << 16) | (green << 8) | blue


def unpack(number: int) -> tuple[int, int, int]:
    """The red, green and blue of a packed colour."""
    red = number >> 16
    green = number >> 8 & 255
    blue = number & 255
    return red, green, blue


def read_gray_value(rgb: np.ndarray, lossy: bool) -> np.ndarray:
    """[H, W, 3] -> the gray value [H, W]; it is green's where the three channels differ by noise.

    `lossy` pictures are JPEG or WebP. Raises ImageError (`unexpected_label`) for colours.
    """
    is_byte = rgb.dtype == np.uint8
    greatest = rgb.max(axis=2)
    least = rgb.min(axis=2)
    # Differences of signed numbers would overflow.
    spread = greatest - least if is_byte else greatest != least
    if not spread.any() or _is_noise(rgb, spread, lossy):
        return rgb[:, :, 1]

    # Show the pixel that is furthest from gray.
    strongest = spread.argmax()
    row, column = np.unravel_index(strongest, spread.shape)
    colour = rgb[row, column]
    found = tuple(value.item() for value in colour)
    if is_byte:
        mend = f"declare colours, as in 'dataset.labels={{background: [0, 0, 0], ulcer: {list(found)}}}'"
    else:
        mend = "save it as colours of 8 bits and declare these in dataset.labels"
    message = f"is in colour (RGB {found} at row {row}, column {column})"
    raise ImageError("unexpected_label", f"{message}; expected a gray value a label, or {mend}")


def _is_noise(rgb: np.ndarray, spread: np.ndarray, lossy: bool) -> bool:
    """Whether colours close to gray are the noise of JPEG, not labels in one channel, such as red 1 and red 2.

    A file may have been JPEG before it was saved as PNG. Noise comes in many colours, and in masks of 0 and 255. Few
    colours are noise where no two have the same green.
    """
    if rgb.dtype != np.uint8:  # JPEG has 8 bits
        return False
    if spread.max() > COLOUR_NOISE:
        return False
    if lossy:
        return True
    colours = np.unique(pack(rgb))
    reds = colours >> 16
    greens = (colours >> 8) & 255
    blues = colours & 255
    is_off_gray = (reds != greens) | (blues != greens)
    if is_off_gray.sum() > MAX_LABELS_IN_COLOUR:
        return bool(rgb.max() > DARK)
    distinct_greens = np.unique(greens)
    return len(distinct_greens) == len(colours)
