"""Pictures to arrays and back, by Pillow: PNG, JPEG, BMP, GIF, TIFF and WebP.

A TIFF of several pages is a volume, a page a slice. EXIF orientation is applied, alpha dropped, palettes resolved.
A mask that this could change (a label in alpha alone, a palette that reads in two ways) is refused.
"""

import itertools
import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from genseg_betty.data.formats.common import Header, ImageError, as_image, bounded, require_short, whole_numbers
from genseg_betty.data.formats.jpeg import require_few_scans

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Only these decoders: a file's extension must not reach the others (EPS, for one, runs a program).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)  # where Pillow itself refuses: 178 956 970
MAX_PAGES = 4096  # Pillow takes the longer for a page the more there are
ORIENTATION = 0x0112  # the EXIF tag, and its values that swap height and width
SIDEWAYS = (5, 6, 7, 8)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
COLOUR_NOISE = 16  # JPEG leaves a gray RGB mask with channels this far apart


def read_image(path: Path) -> np.ndarray:
    """Read an image as [H, W, C], or a TIFF of pages as [D, H, W, C], float32 (8-bit: 0..255, 16-bit: 0..65535).

    C is 1 for gray files and 3 for colour. Raises ImageError with code `unreadable` or `too_large`.
    """
    return as_image(_joined(_intensities(page) for page in _pages(path)))


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as [H, W], or a TIFF of pages as [D, H, W], integers, the values as the file holds them.

    1-bit files give 0 and 1. A palette gives its gray values where the whole palette is gray, else the
    indices (PASCAL-style colour palettes). RGB gives the gray value where R = G = B, up to JPEG noise.
    Raises ImageError with code `unreadable`, `too_large` or, for colours and fractions, `unexpected_label`.
    """
    return _joined(_label_values(page) for page in _pages(path))


def read_colours(path: Path) -> np.ndarray:
    """Read a mask as [H, W], or a TIFF of pages as [D, H, W], int32: each pixel's colour packed as `pack` does.

    Palettes are resolved, gray is a colour of three equal parts, 1-bit files are black and white. Raises
    ImageError as `read_mask`; `unexpected_label` for 16-bit files and floats, which hold values, not colours.
    """
    return _joined(_packed_colours(page) for page in _pages(path))


def pack(colours: npt.ArrayLike) -> np.ndarray:
    """Colours [..., 3], red, green and blue within 0..255, as one number each: [...] int32 r*65536 + g*256 + b."""
    parts = np.asarray(colours)
    red, green, blue = (parts[..., index].astype(np.int32) for index in range(3))
    return (red << 16) | (green << 8) | blue


def unpack(number: int) -> tuple[int, int, int]:
    """The red, green and blue of a packed colour."""
    return number >> 16, number >> 8 & 255, number & 255


def read_header(path: Path) -> Header:
    """Height and width in pixels after EXIF orientation, pages before them; pictures know no spacing."""
    with _opened(path) as image:
        pages = _count(image)
        width, height = image.size
        # Image's own method: that of PNG would decode every pixel in search of a tag behind them.
        sideways = Image.Image.getexif(image).get(ORIENTATION) in SIDEWAYS
    size = (width, height) if sideways else (height, width)
    return Header(size if pages == 1 else (pages, *size))


def bit_depth(path: Path) -> int:
    """Bits of one intensity: 8 (also 1-bit files and palettes), 16 or 32. Raises ImageError."""
    with _opened(path) as image:
        if image.mode.startswith("I;16"):
            return 16
        return 32 if image.mode in ("I", "F") else 8


def write_mask(path: Path, mask: np.ndarray, colours: Sequence[Sequence[int]] = ()) -> None:
    """Write [H, W] label values (0..65535) as a gray PNG: 8-bit where they fit, else 16-bit.

    With `colours` (red, green, blue of each value 0..C-1, at most 256) the PNG has a palette: who reads indices
    gets the values, who reads colours gets these.
    """
    values = np.asarray(mask)
    highest = len(colours) - 1 if colours else 65535
    if values.ndim != 2 or (values.size and (values.min() < 0 or values.max() > highest)):
        raise ValueError(f"expected a [H, W] mask with values 0..{highest}, found shape {values.shape}")
    small = values.size == 0 or values.max() <= 255
    picture = Image.fromarray(values.astype(np.uint8 if small else np.uint16))
    if colours:
        picture.putpalette([part for colour in colours for part in colour])
    picture.save(path, format="PNG")


def mismatch(mask: Sequence[int], image: Sequence[int]) -> str:
    """The message of a size_mismatch; sizes are (height, width) or (depth, height, width)."""
    found, expected = ("x".join(str(side) for side in reversed(size)) for size in (mask, image))
    turned = tuple(mask) == tuple(image)[::-1]
    hint = " (turned: one of them has lost its EXIF orientation)" if turned and len(image) == 2 else ""
    unit = "pixels" if len(image) == 2 else "voxels"
    return f"mask is {found} {unit} and its image {expected}{hint}; expected equal sizes, bring both to one size"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a file and turn whatever goes wrong into an ImageError."""
    try:
        require_short(path)
        with Image.open(path, formats=FORMATS) as image:
            if image.format == "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS:
                # Pillow reads the rows of an uncompressed one at the wrong length.
                raise ImageError("unreadable", "is a TIFF turned by its orientation tag; save it upright")
            yield image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        message = f"has more than {MAX_PIXELS / 1e6:.0f} million pixels; scale it down"
        raise ImageError("too_large", message) from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise a dozen different types
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        message = f"cannot be read as an image ({reason}); expected one of {', '.join(EXTENSIONS)}"
        raise ImageError("unreadable", message) from error


def _pages(path: Path) -> Iterator[Image.Image]:
    """The pixels of each page in memory, turned upright."""
    with _opened(path) as image:
        count = _count(image)
        for page in range(count):
            if count > 1:
                image.seek(page)
            bounded((count, *image.size, 3 if image.mode in ("P", "PA") else len(image.getbands())))
            if isinstance(image, JpegImageFile) and image.fp:
                with mmap.mmap(image.fp.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    require_few_scans(content)
            image.load()  # before the next line: on loading, Pillow itself turns a TIFF and drops its tag
            yield ImageOps.exif_transpose(image)


def _count(image: Image.Image) -> int:
    """Pages of a TIFF; one of anything else. Raises ImageError for an animation, and for too many pages."""
    if image.format == "TIFF":
        return _count_pages(image)
    frames: int = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a photograph with previews behind it
        raise ImageError("unreadable", f"holds {frames} frames; expected one image a file")
    return 1


def _count_pages(image: Image.Image) -> int:
    try:
        for page in itertools.count(1):
            image.seek(page)
            if page == MAX_PAGES:
                raise ImageError("too_large", f"holds more than {MAX_PAGES} pages; split it, or save it as NIfTI")
    except EOFError:
        image.seek(0)
    return page


def _joined(pages: Iterable[np.ndarray]) -> np.ndarray:
    arrays = list(pages)
    if len({array.shape for array in arrays}) > 1:
        sizes = ", ".join(sorted({" x ".join(map(str, array.shape)) for array in arrays}))
        raise ImageError("unreadable", f"holds pages of different sizes ({sizes}); expected one size")
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)


def _intensities(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        array = np.asarray(image)
    elif image.mode in ("1", "L", "LA", "La") or (image.mode == "P" and _gray_palette(image)):
        array = np.asarray(image.convert("L"))
    else:
        array = np.asarray(_rgb(image))
    return array[:, :, None] if array.ndim == 2 else array


def _label_values(image: Image.Image) -> np.ndarray:
    _require_idle_alpha(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode == "F":
        return whole_numbers(np.asarray(image))
    if image.mode in ("L", "LA", "La") or (image.mode == "P" and _gray_palette(image)):
        return np.asarray(image.convert("L"))
    if image.mode == "P":
        return _indices(image)
    return _gray_value(np.asarray(_rgb(image)))


def _packed_colours(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        message = f"holds values of more than 8 bits (Pillow's mode {image.mode}), not colours; expected an RGB picture"
        raise ImageError("unexpected_label", message)
    _require_idle_alpha(image)
    return pack(np.asarray(_rgb(image)))


def _rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").convert("RGB") if "transparency" in image.info else image.convert("RGB")


def _require_idle_alpha(image: Image.Image) -> None:
    """Raise ImageError where pixels of one colour differ in alpha: which of them are labelled is in alpha alone."""
    if not image.has_transparency_data:
        return
    pixels = np.asarray(image.convert("RGBA"))
    colours, alpha = pack(pixels).ravel(), pixels[..., 3].ravel()
    if alpha.min() == alpha.max():
        return
    order = np.argsort(colours, kind="stable")
    same = np.diff(colours[order]) == 0
    if (same & (np.diff(alpha[order].astype(int)) != 0)).any():
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
    spread = rgb.max(axis=2) - rgb.min(axis=2)
    if spread.max() > COLOUR_NOISE:
        row, column = np.unravel_index(spread.argmax(), spread.shape)
        found = tuple(int(value) for value in rgb[row, column])
        message = (
            f"is in colour (RGB {found} at row {row}, column {column}); expected a gray value a label, or declare "
            "colours, as in dataset.labels={background: [0, 0, 0], ulcer: [255, 0, 0]}"
        )
        raise ImageError("unexpected_label", message)
    return rgb[:, :, 1]
