"""The EXIF tag that says how a picture is to be turned before it is looked at."""

import numpy as np

ORIENTATION = 0x0112  # of EXIF and of TIFF
SIDEWAYS = (5, 6, 7, 8)  # its values that swap height and width
MIRRORED, UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)  # once height and width are swapped; other values change nothing


def upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """[H, W, ...] as stored -> as it is to be looked at."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in MIRRORED:
        pixels = pixels[:, ::-1]
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    return pixels
