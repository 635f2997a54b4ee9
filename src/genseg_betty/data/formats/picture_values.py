"""What the pixels of a picture mean, as an image, as labels and as colours.

The pixels of a page are a picture of Pillow's, or an array [H, W, C] where Pillow has no mode for them: C is 1 or 3,
one more with alpha. Alpha is dropped and palettes are resolved. A mask whose labels could change by this is refused:
labels in alpha or in one channel of a colour, a palette that reads two ways or gives two labels one gray, white at 0.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from genseg_betty.data.formats.colours import pack, read_gray_value
from genseg_betty.data.formats.common import ImageError, whole_numbers
from genseg_betty.data.formats.palettes import has_gray_palette, read_palette_labels
from genseg_betty.data.formats.transparency import drop_alpha, require_idle_alpha

FEW_BITS = (2, 4)
MODES_OF_NUMBERS = ("I", "F")  # what Pillow's modes of more than 8 bits begin with
GRAY_MODES = ("1", "L", "LA", "La")


@dataclass(frozen=True)
class Page:
    """One picture, or one slice of a volume."""

    pixels: Image.Image | np.ndarray
    bits: int = 8  # of a sample in the file; Pillow spreads gray ones of 2 and 4 bits over 0..255
    white_is_zero: bool = False  # in the file; here white is the greatest value
    lossy: bool = False  # JPEG or WebP, which leave noise in colour


def read_page_intensities(page: Page) -> np.ndarray:
    """[H, W, C], C 1 or 3, in the numbers of the file."""
    pixels = page.pixels
    if isinstance(pixels, np.ndarray):
        return drop_alpha(pixels)
    if pixels.mode.startswith(MODES_OF_NUMBERS):
        array = np.asarray(pixels)
    elif _is_gray(pixels):
        array = np.asarray(_convert_to_gray(pixels))
    else:
        array = np.asarray(_convert_to_rgb(pixels))
    return array[:, :, None] if array.ndim == 2 else array


def read_page_labels(page: Page) -> np.ndarray:
    """[H, W] integers as stored; of 1-bit files bool, for what their 1 stands for is a question of the labels.

    Raises ImageError (`unexpected_label`).
    """
    pixels = page.pixels
    require_idle_alpha(pixels)
    if isinstance(pixels, np.ndarray):
        values = _read_labels_of_array(pixels, page.lossy)
    else:
        values = _read_labels_of_picture(pixels, page.lossy)

    greatest = 1 if values.dtype == bool else np.iinfo(values.dtype).max
    is_gray_picture = isinstance(pixels, Image.Image) and pixels.mode == "L"
    if page.bits in FEW_BITS and is_gray_picture:
        greatest = 2**page.bits - 1
        step = 255 // greatest
        values = values // step
    return _undo_white_at_zero(values, greatest) if page.white_is_zero else values


def read_page_colours(page: Page) -> np.ndarray:
    """[H, W] int32, each pixel's colour packed as `pack` does. Raises ImageError (`unexpected_label`)."""
    pixels = page.pixels
    require_idle_alpha(pixels)
    if isinstance(pixels, np.ndarray):
        kind = str(pixels.dtype)
        has_colours = pixels.dtype == np.uint8
    else:
        kind = pixels.mode
        has_colours = not kind.startswith(MODES_OF_NUMBERS)
    if not has_colours:
        message = f"holds values of more than 8 bits, or with a sign ({kind}), not colours; expected an RGB picture"
        raise ImageError("unexpected_label", message)
    if isinstance(pixels, Image.Image):
        return pack(np.asarray(_convert_to_rgb(pixels)))
    colours = drop_alpha(pixels)
    height, width = colours.shape[:2]
    return pack(np.broadcast_to(colours, (height, width, 3)))


def _read_labels_of_array(pixels: np.ndarray, lossy: bool) -> np.ndarray:
    channels = drop_alpha(pixels)
    is_gray = channels.shape[-1] == 1
    values = channels[..., 0] if is_gray else read_gray_value(channels, lossy)
    return whole_numbers(values)


def _read_labels_of_picture(picture: Image.Image, lossy: bool) -> np.ndarray:
    """The values that Pillow gives: those of 2 and 4 bits spread over 0..255, white as the greatest one."""
    if picture.mode == "1" or picture.mode.startswith("I"):
        return np.asarray(picture)
    if picture.mode == "F":
        return whole_numbers(np.asarray(picture))
    if picture.mode == "P":
        return read_palette_labels(picture)
    if _is_gray(picture):
        return np.asarray(_convert_to_gray(picture))
    rgb = np.asarray(_convert_to_rgb(picture))
    return read_gray_value(rgb, lossy)


def _undo_white_at_zero(values: np.ndarray, greatest: int) -> np.ndarray:
    """The labels of a mask whose white is 0: the values, or the greatest value less each, whichever are small numbers.

    `values` are as the standard reads them, white as the greatest. Programs that write such masks without meaning to
    (ImageJ's inverting look-up table) store the labels themselves, others store them turned over. A mask of black and
    white alone may be either, and is refused.
    """
    is_black_or_white = np.isin(values, (0, greatest))
    middle = greatest // 2
    if not is_black_or_white.all():
        if int(values.max()) <= middle:
            return values
        if int(values.min()) > middle:
            return greatest - values
    message = (
        "is a TIFF whose white is 0 (PhotometricInterpretation 0), so that its numbers and its looks say the "
        "opposite; expected labels that read in one way: save it as PNG"
    )
    raise ImageError("unexpected_label", message)


def _is_gray(picture: Image.Image) -> bool:
    if picture.mode == "P":
        return has_gray_palette(picture)
    return picture.mode in GRAY_MODES


def _convert_to_gray(picture: Image.Image) -> Image.Image:
    if picture.mode == "La":
        picture = picture.convert("LA")
    return picture.convert("L")


def _convert_to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "CMYK":
        message = "is in the inks of print (CMYK), whose colours depend on a profile; expected gray or RGB"
        raise ImageError("unreadable", f"{message}, save it as RGB")
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
