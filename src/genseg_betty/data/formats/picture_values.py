"""What the pixels of a picture mean, as an image, as labels and as colours.

A page is a picture of Pillow's, or an array [H, W, C] of what Pillow has no mode for: C is 1 or 3, one more with alpha.
Alpha is dropped, palettes are resolved. A mask that this could change (a label in alpha alone, a palette that reads
in two ways, white at 0) is refused.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from genseg_betty.data.formats.common import ImageError, whole_numbers

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FEW_BITS = (2, 4)
COLOUR_NOISE = 16  # JPEG leaves a gray RGB mask with channels this far apart
WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")  # Pillow's modes
DECLARE = "declare colours, as in dataset.labels={background: [0, 0, 0], ulcer: [255, 0, 0]}"


@dataclass(frozen=True)
class Page:
    """One picture, or one slice of a volume."""

    pixels: Image.Image | np.ndarray
    bits: int = 8  # of a sample in the file; Pillow spreads gray ones of 2 and 4 bits over 0..255
    white_is_zero: bool = False  # in the file; here white is the greatest value


def intensities(page: Page) -> np.ndarray:
    """[H, W, C], C 1 or 3, in the numbers of the file."""
    pixels = page.pixels
    if isinstance(pixels, np.ndarray):
        return _without_alpha(pixels)
    if pixels.mode.startswith("I") or pixels.mode == "F":
        array = np.asarray(pixels)
    elif _is_gray(pixels):
        array = np.asarray(_gray(pixels))
    else:
        array = np.asarray(_rgb(pixels))
    return array[:, :, None] if array.ndim == 2 else array


def label_values(page: Page) -> np.ndarray:
    """[H, W] integers as stored; of 1-bit files bool, for what their 1 stands for is a question of the labels.

    Raises ImageError (`unexpected_label`).
    """
    values = _label_values(page.pixels)
    top = 1 if values.dtype == bool else np.iinfo(values.dtype).max
    if page.bits in FEW_BITS and isinstance(page.pixels, Image.Image) and page.pixels.mode == "L":
        top = 2**page.bits - 1
        values = values // (255 // top)
    return _as_stored(values, top) if page.white_is_zero else values


def _label_values(pixels: Image.Image | np.ndarray) -> np.ndarray:
    _require_idle_alpha(pixels)
    if isinstance(pixels, np.ndarray):
        colours = _without_alpha(pixels)
        return whole_numbers(colours[..., 0] if colours.shape[-1] == 1 else _gray_value(colours))
    if pixels.mode == "1" or pixels.mode.startswith("I"):
        return np.asarray(pixels)
    if pixels.mode == "F":
        return whole_numbers(np.asarray(pixels))
    if _is_gray(pixels):
        return np.asarray(_gray(pixels))
    if pixels.mode == "P":
        return _indices(pixels)
    return _gray_value(np.asarray(_rgb(pixels)))


def packed_colours(page: Page) -> np.ndarray:
    """[H, W] int32, each pixel's colour packed as `pack` does. Raises ImageError (`unexpected_label`)."""
    pixels = page.pixels
    _require_idle_alpha(pixels)
    if isinstance(pixels, np.ndarray):
        kind = f"{pixels.dtype}"
    else:
        kind = pixels.mode if pixels.mode.startswith("I") or pixels.mode == "F" else ""
    if kind:
        message = f"holds values of more than 8 bits ({kind}), not colours; expected an RGB picture"
        raise ImageError("unexpected_label", message)
    assert isinstance(pixels, Image.Image)
    return pack(np.asarray(_rgb(pixels)))


def pack(colours: npt.ArrayLike) -> np.ndarray:
    """Colours [..., 3], red, green and blue within 0..255, as one number each: [...] int32 r*65536 + g*256 + b."""
    parts = np.asarray(colours)
    red, green, blue = (parts[..., index].astype(np.int32) for index in range(3))
    return (red << 16) | (green << 8) | blue


def unpack(number: int) -> tuple[int, int, int]:
    """The red, green and blue of a packed colour."""
    return number >> 16, number >> 8 & 255, number & 255


def _as_stored(values: np.ndarray, top: int) -> np.ndarray:
    """The labels of a mask whose white is 0, read as its standard says: where those are none, as they are stored.

    Labels are small numbers. Programs that write masks so without meaning to (ImageJ's inverting look-up table)
    store labels, others store labels turned over; masks of black and white alone may be either.
    """
    least, greatest = int(values.min()), int(values.max())
    if not np.isin(values, (0, top)).all():
        if greatest <= top // 2:
            return values
        if least > top // 2:
            return top - values
    message = (
        "is a TIFF whose white is 0 (PhotometricInterpretation 0), so that its numbers and its looks say the "
        "opposite; expected labels that read in one way: save it as PNG"
    )
    raise ImageError("unexpected_label", message)


def _is_gray(pixels: Image.Image) -> bool:
    return pixels.mode in ("1", "L", "LA", "La") or (pixels.mode == "P" and _gray_palette(pixels))


def _gray(pixels: Image.Image) -> Image.Image:
    return pixels.convert("LA").convert("L") if pixels.mode == "La" else pixels.convert("L")


def _rgb(pixels: Image.Image) -> Image.Image:
    if pixels.mode == "CMYK":
        message = "is in the inks of print (CMYK), whose colours depend on a profile; expected gray or RGB"
        raise ImageError("unreadable", f"{message}, save it as RGB")
    return pixels.convert("RGBA").convert("RGB") if "transparency" in pixels.info else pixels.convert("RGB")


def _has_alpha(pixels: np.ndarray) -> bool:
    return pixels.shape[-1] in (2, 4)


def _without_alpha(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :-1] if _has_alpha(pixels) else pixels


def _require_idle_alpha(pixels: Image.Image | np.ndarray) -> None:
    """Raise ImageError where pixels of one colour differ in alpha: which of them are labelled is in alpha alone."""
    if isinstance(pixels, np.ndarray):
        if not _has_alpha(pixels):
            return
        _, colours = np.unique(pixels[..., :-1].reshape(-1, pixels.shape[-1] - 1), axis=0, return_inverse=True)
        alpha = pixels[..., -1].ravel()
    elif pixels.mode in WITH_ALPHA or (pixels.mode == "P" and "transparency" in pixels.info):
        plain = pixels.convert("LA") if pixels.mode == "La" else pixels
        whole = np.asarray(plain.convert("RGBA"))
        colours, alpha = pack(whole).ravel(), whole[..., 3].ravel()
    else:  # a colour that stands for transparency as a whole tells no pixels of one colour apart
        return
    if alpha.min() == alpha.max():
        return
    order = np.argsort(colours, kind="stable")
    same = np.diff(colours[order]) == 0
    if (same & (np.diff(alpha[order].astype(np.int64)) != 0)).any():
        message = "has pixels of one colour that differ in transparency; expected an opaque mask, save it without alpha"
        raise ImageError("unexpected_label", message)


def _indices(image: Image.Image) -> np.ndarray:
    """The indices of a palette in colour, unless only its black and white are used and stand in reverse."""
    indices = np.asarray(image)
    parts = image.getpalette("RGB") or []
    used = {tuple(parts[3 * index : 3 * index + 3]): index for index in np.unique(indices).tolist()}
    if used.keys() <= {BLACK, WHITE} and used.get(WHITE, 256) < used.get(BLACK, 256):
        message = (
            f"has a palette in which white is index {used[WHITE]}, so that its indices and its colours say the "
            "opposite; expected labels that read in one way: save it as gray, or declare colours, as in "
            "dataset.labels={background: [0, 0, 0], ulcer: [255, 255, 255]}"
        )
        raise ImageError("unexpected_label", message)
    return indices


def _gray_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _gray_value(rgb: np.ndarray) -> np.ndarray:
    eight_bit = rgb.dtype == np.uint8  # others are never JPEG
    spread = rgb.max(axis=2) - rgb.min(axis=2) if eight_bit else rgb.max(axis=2) != rgb.min(axis=2)
    if spread.max() > (COLOUR_NOISE if eight_bit else 0):
        row, column = np.unravel_index(spread.argmax(), spread.shape)
        found = tuple(value.item() for value in rgb[row, column])
        message = f"is in colour (RGB {found} at row {row}, column {column}); expected a gray value a label, or "
        raise ImageError("unexpected_label", message + DECLARE)
    return rgb[:, :, 1]
