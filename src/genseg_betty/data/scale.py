"""Black and white of the intensities in files: what makes the images of two datasets comparable."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from genseg_betty.data.formats import bit_depth
from genseg_betty.errors import UserError

Scale = tuple[float, float]
EIGHT_BIT: Scale = (0.0, 255.0)


def scale_of_files(paths: Iterable[Path], declared: Scale | None = None) -> Scale | None:
    """0 and 255 where all files are 8-bit, else what is declared; None: they have units of their own (CT, MRI).

    Raises ImageError for a file that cannot be opened.
    """
    are_eight_bit = all(bit_depth(path) == 8 for path in paths)
    return EIGHT_BIT if are_eight_bit else declared


def rescaled(image: np.ndarray, own: Scale | None, other: Scale | None) -> np.ndarray:
    """Intensities of one scale in the units of another; as they are where the two are equal, or both unknown.

    Raises UserError where only one of them is known.
    """
    require_comparable(own, other)
    if own is None or other is None or own == other:
        return image
    black, white = own
    low, high = other
    factor = (high - low) / (white - black)
    above_black = image.astype(np.float64) - black
    return (above_black * factor + low).astype(np.float32)


def require_comparable(own: Scale | None, other: Scale | None) -> None:
    """Raises UserError where one scale is known and the other is not."""
    if (own is None) != (other is None):
        found = _in_words(own)
        expected = _in_words(other)
        raise UserError(
            f"its intensities are {found}, those trained on are {expected}, so they do not compare; "
            "declare black and white of the files that are not 8-bit as dataset.range=[low, high], those trained on "
            "before training"
        )


def _in_words(scale: Scale | None) -> str:
    if scale is None:
        return "of more than 8 bits and of no declared range"
    if scale == EIGHT_BIT:
        return "8-bit"
    black, white = scale
    return f"within {black:g} to {white:g}"
