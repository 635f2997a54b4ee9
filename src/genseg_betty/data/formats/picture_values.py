"""What the pixels of a picture mean, as an image, as labels and as colours.

A page is a picture of Pillow's, or an array [H, W, C] of what Pillow has no mode for: C is 1 or 3, one more with alpha.
Alpha is dropped, palettes are resolved. A mask that this could change is refused: a label in alpha alone or in one
channel of a colour, a palette that reads in two ways or gives two labels one gray, white at 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from genseg_betty.data.formats.common import ImageError, whole_numbers

Colour = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FEW_BITS = (2, 4)
COLOUR_NOISE = 16  # JPEG leaves a gray RGB mask with channels this far apart
MAX_SHOWN = 8  # indices named in one message
MAX_LABELS_IN_COLOUR = 16  # more colours than these, so close to gray, are noise and no labels
DARK = 127  # up to which numbers are labels rather than gray values
MODES_OF_NUMBERS = ("I", "F")  # what Pillow's modes of more than 8 bits begin with
WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")  # Pillow's modes


@dataclass(frozen=True)
class Page:
    """One picture, or one slice of a volume."""

    pixels: Image.Image | np.ndarray
    bits: int = 8  # of a sample in the file; Pillow spreads gray ones of 2 and 4 bits over 0..255
    white_is_zero: bool = False  # in the file; here white is the greatest value
    lossy: bool = False  # JPEG or WebP, which leave noise in colour


def intensities(page: Page) -> np.ndarray:
    """[H, W, C], C 1 or 3, in the numbers of the file."""
    pixels = page.pixels
    if isinstance(pixels, np.ndarray):
        return _without_alpha(pixels)
    if pixels.mode.startswith(MODES_OF_NUMBERS):
        array = np.asarray(pixels)
    elif _is_gray(pixels):
        array = np.asarray(_to_gray(pixels))
    else:
        array = np.asarray(_to_rgb(pixels))
    return array[:, :, None] if array.ndim == 2 else array


def label_values(page: Page) -> np.ndarray:
    """[H, W] integers as stored; of 1-bit files bool, for what their 1 stands for is a question of the labels.

    Raises ImageError (`unexpected_label`).
    """
    values = _label_values(page.pixels, page.lossy)
    top = 1 if values.dtype == bool else np.iinfo(values.dtype).max
    if page.bits in FEW_BITS and isinstance(page.pixels, Image.Image) and page.pixels.mode == "L":
        top = 2**page.bits - 1
        values = values // (255 // top)
    return _as_stored(values, top) if page.white_is_zero else values


def _label_values(pixels: Image.Image | np.ndarray, lossy: bool) -> np.ndarray:
    _require_idle_alpha(pixels)
    if isinstance(pixels, np.ndarray):
        colours = _without_alpha(pixels)
        is_gray = colours.shape[-1] == 1
        return whole_numbers(colours[..., 0] if is_gray else _read_gray_value(colours, lossy))
    if pixels.mode == "1" or pixels.mode.startswith("I"):
        return np.asarray(pixels)
    if pixels.mode == "F":
        return whole_numbers(np.asarray(pixels))
    if pixels.mode == "P":
        return _values_of_palette(pixels)
    if _is_gray(pixels):
        return np.asarray(_to_gray(pixels))
    return _read_gray_value(np.asarray(_to_rgb(pixels)), lossy)


def packed_colours(page: Page) -> np.ndarray:
    """[H, W] int32, each pixel's colour packed as `pack` does. Raises ImageError (`unexpected_label`)."""
    pixels = page.pixels
    _require_idle_alpha(pixels)
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
        return pack(np.asarray(_to_rgb(pixels)))
    colours = _without_alpha(pixels)
    return pack(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def pack(colours: npt.ArrayLike) -> np.ndarray:
    """Colours [..., 3], red, green and blue within 0..255, as one number each: [...] int32 r*65536 + g*256 + b."""
    parts = np.asarray(colours)
    red, green, blue = np.moveaxis(parts[..., :3].astype(np.int32), -1, 0)
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
    if pixels.mode == "P":
        return _has_gray_palette(pixels)
    return pixels.mode in ("1", "L", "LA", "La")


def _to_gray(pixels: Image.Image) -> Image.Image:
    return pixels.convert("LA").convert("L") if pixels.mode == "La" else pixels.convert("L")


def _to_rgb(pixels: Image.Image) -> Image.Image:
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
        flat = pixels.reshape(-1, pixels.shape[-1])
        alpha = flat[:, -1]
        colours = np.unique(flat[:, :-1], axis=0, return_inverse=True)[1]
    elif pixels.mode in WITH_ALPHA or (pixels.mode == "P" and "transparency" in pixels.info):
        plain = pixels.convert("LA") if pixels.mode == "La" else pixels
        whole = np.asarray(plain.convert("RGBA"))
        alpha = whole[..., 3].ravel()
        colours = pack(whole).ravel()
    else:  # a colour that stands for transparency as a whole tells no pixels of one colour apart
        return
    if alpha.min() == alpha.max():
        return
    order = np.argsort(colours, kind="stable")
    same_colour = np.diff(colours[order]) == 0
    other_alpha = np.diff(alpha[order].astype(np.int64)) != 0
    if (same_colour & other_alpha).any():
        message = "has pixels of one colour that differ in transparency; expected an opaque mask, save it without alpha"
        raise ImageError("unexpected_label", message)


def _values_of_palette(image: Image.Image) -> np.ndarray:
    """The grays of a palette that is gray as a whole, the indices of one in colour; neither where they contradict."""
    indices = np.asarray(image)
    parts = image.getpalette("RGB") or []
    palette = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    colours = dict(enumerate(palette))
    used = np.unique(indices).tolist()
    if not _has_gray_palette(image):
        _require_upright_palette({colours[index]: index for index in used if index in colours})
        return indices
    _require_own_grays(colours, used)
    return np.asarray(_to_gray(image))


def _require_own_grays(colours: Mapping[int, Colour], used: Sequence[int]) -> None:
    """Raise ImageError where labels get lost because a gray palette, as one that is black alone, shows them alike."""
    compared = used if len(used) > 1 else sorted({0, *used})
    shown = {colours.get(index) for index in compared}
    if None in shown or len(shown) < len(compared):
        more = ", ..." if len(compared) > MAX_SHOWN else ""
        found = ", ".join(map(str, compared[:MAX_SHOWN])) + more
        message = f"has a gray palette in which not each of the indices {found} has a gray of its own; "
        message += "expected labels that read in one way: save the indices as gray, without a palette"
        raise ImageError("unexpected_label", message)


def _require_upright_palette(used: Mapping[Colour, int]) -> None:
    """Raise ImageError where only black and white of a palette in colour are used, and stand in reverse."""
    if used.keys() <= {BLACK, WHITE} and used.get(WHITE, 256) < used.get(BLACK, 256):
        message = (
            f"has a palette in which white is index {used[WHITE]}, so that its indices and its colours say the "
            "opposite; expected labels that read in one way: save it as gray, or declare colours, as in "
            "dataset.labels={background: [0, 0, 0], ulcer: [255, 255, 255]}"
        )
        raise ImageError("unexpected_label", message)


def _has_gray_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _read_gray_value(rgb: np.ndarray, lossy: bool) -> np.ndarray:
    """[H, W, 3] -> the gray value [H, W], green where noise in colour surrounds it."""
    greatest, least = rgb.max(axis=2), rgb.min(axis=2)
    # Differences of signed numbers would overflow.
    spread = greatest - least if rgb.dtype == np.uint8 else greatest != least
    if spread.any() and not _is_noise(rgb, spread, lossy):
        row, column = np.unravel_index(spread.argmax(), spread.shape)
        found = tuple(value.item() for value in rgb[row, column])
        declare = f"declare colours, as in dataset.labels={{background: [0, 0, 0], ulcer: {list(found)}}}"
        mend = declare if rgb.dtype == np.uint8 else "save it as colours of 8 bits and declare these in dataset.labels"
        message = f"is in colour (RGB {found} at row {row}, column {column}); expected a gray value a label, or {mend}"
        raise ImageError("unexpected_label", message)
    return rgb[:, :, 1]


def _is_noise(rgb: np.ndarray, spread: np.ndarray, lossy: bool) -> bool:
    """Whether colours close to gray are the noise of JPEG, not labels in one channel, such as red 1 and red 2.

    A file may have been JPEG before it was saved as PNG. Noise comes in many colours and in masks of 0 and 255; of few
    colours green alone must tell each from the others.
    """
    if rgb.dtype != np.uint8 or spread.max() > COLOUR_NOISE:  # of more bits is no JPEG
        return False
    if lossy:
        return True
    colours = np.unique(pack(rgb))
    greens = (colours >> 8) & 255
    is_off_gray = (colours >> 16 != greens) | (colours & 255 != greens)
    if is_off_gray.sum() > MAX_LABELS_IN_COLOUR:
        return bool(rgb.max() > DARK)
    return len(np.unique(greens)) == len(colours)
