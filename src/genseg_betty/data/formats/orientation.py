"""The EXIF tag that says how a picture is to be turned before it is looked at."""

import numpy as np

ORIENTATION = 0x0112  # of EXIF and of TIFF
SIDEWAYS = (5, 6, 7, 8)  # its values that swap height and width
# Its values that mirror the picture, and that turn it upside down, after height and width are swapped.
MIRRORED = (2, 3, 6, 7)
UPSIDE_DOWN = (3, 4, 7, 8)


def upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """[H, W, ...] as stored -> as it is to be looked at."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in MIRRORED:
        pixels = pixels[:, ::-1]
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    return pixels
