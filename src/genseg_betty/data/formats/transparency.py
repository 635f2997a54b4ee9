"""Alpha of pictures: it is dropped, and refused where a mask may have its labels in it."""

import numpy as np
from PIL import Image

from genseg_betty.data.formats.colours import pack
from genseg_betty.data.formats.common import ImageError

WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")  # Pillow's modes
CHANNELS_WITH_ALPHA = (2, 4)


def drop_alpha(pixels: np.ndarray) -> np.ndarray:
    """[H, W, C], C 1 to 4 -> its 1 or 3 channels without alpha."""
    return pixels[..., :-1] if _has_alpha(pixels) else pixels


def require_idle_alpha(pixels: Image.Image | np.ndarray) -> None:
    """Raise ImageError where pixels of one colour differ in alpha: which of them are labelled is in alpha alone."""
    found = _split_array(pixels) if isinstance(pixels, np.ndarray) else _split_picture(pixels)
    if found is None:
        return
    colours, alpha = found
    if alpha.min() == alpha.max():
        return
    # In the order of their colours, pixels of one colour follow each other.
    order = np.argsort(colours, kind="stable")
    sorted_colours = colours[order]
    sorted_alpha = alpha[order].astype(np.int64)
    has_same_colour = np.diff(sorted_colours) == 0
    has_other_alpha = np.diff(sorted_alpha) != 0
    if (has_same_colour & has_other_alpha).any():
        message = "has pixels of one colour that differ in transparency; expected an opaque mask, save it without alpha"
        raise ImageError("unexpected_label", message)


def _has_alpha(pixels: np.ndarray) -> bool:
    return pixels.shape[-1] in CHANNELS_WITH_ALPHA


def _split_array(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A number for the colour of each pixel, and its alpha, both [H * W]; None without alpha."""
    if not _has_alpha(pixels):
        return None
    channels = pixels.shape[-1]
    flat = pixels.reshape(-1, channels)
    colours = flat[:, :-1]
    alpha = flat[:, -1]
    _, numbers = np.unique(colours, axis=0, return_inverse=True)
    return numbers, alpha


def _split_picture(picture: Image.Image) -> tuple[np.ndarray, np.ndarray] | None:
    """As `_split_array`. None also where one colour is declared transparent: all its pixels have the same alpha."""
    has_transparent_indices = picture.mode == "P" and "transparency" in picture.info
    if picture.mode not in WITH_ALPHA and not has_transparent_indices:
        return None
    plain = picture.convert("LA") if picture.mode == "La" else picture
    whole = np.asarray(plain.convert("RGBA"))
    colours = pack(whole).ravel()
    alpha = whole[..., 3].ravel()
    return colours, alpha
