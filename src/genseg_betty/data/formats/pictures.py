"""Pictures to arrays and back: PNG, JPEG, BMP, GIF, TIFF and WebP.

Pillow reads them, except for those that it would convert without a word: PNG and TIFF of more than 8 bits in colour,
and the TIFF files that `tiff` names. A TIFF of several pages is a volume, a page a slice. EXIF orientation is applied.
"""

import itertools
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from genseg_betty.data.formats import tiff
from genseg_betty.data.formats.common import MAX_LABEL, Header, ImageError, as_image, bounded, require_short
from genseg_betty.data.formats.jpeg import require_few_scans, require_readable_frame
from genseg_betty.data.formats.orientation import ORIENTATION, SIDEWAYS, upright
from genseg_betty.data.formats.picture_values import (
    Page,
    read_page_colours,
    read_page_intensities,
    read_page_labels,
)
from genseg_betty.data.formats.png import is_turned_late, read_deep_png, read_png_header

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Only these decoders: a file's extension must not reach the others (EPS, for one, runs a program).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)  # where Pillow itself refuses: 178 956 970
OF_SEVERAL_FRAMES = ("TIFF", "MPO")  # MPO: a photograph with previews behind it
LOSSY = ("JPEG", "MPO", "WEBP")
JPEG_START = b"\xff\xd8"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")  # the last two against the standard


def read_image(path: Path) -> np.ndarray:
    """Read an image as [H, W, C], or a TIFF of pages as [D, H, W, C], float32 (8-bit: 0..255, 16-bit: 0..65535).

    C is 1 for gray files and 3 for colour. Raises ImageError with code `unreadable` or `too_large`.
    """
    return as_image(_read_pages(path, read_page_intensities))


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as [H, W], or a TIFF of pages as [D, H, W], integers, the values as the file holds them.

    1-bit files give bool, gray ones of 2 and 4 bits 0..3 and 0..15. A palette gives its gray values where the
    whole palette is gray, else the indices (PASCAL-style colour palettes). RGB gives the gray value where
    R = G = B, up to JPEG noise.
    Raises ImageError with code `unreadable`, `too_large` or, for colours and fractions, `unexpected_label`.
    """
    return _read_pages(path, read_page_labels)


def read_colours(path: Path) -> np.ndarray:
    """Read a mask as [H, W], or a TIFF of pages as [D, H, W], int32: each pixel's colour packed as `pack` does.

    Palettes are resolved, gray is a colour of three equal parts, 1-bit files are black and white. Raises
    ImageError as `read_mask`; `unexpected_label` for 16-bit files and floats, which hold values, not colours.
    """
    return _read_pages(path, read_page_colours)


def read_header(path: Path) -> Header:
    """Height and width in pixels after EXIF orientation, pages before them; pictures know no spacing."""
    with _tell_faults(path):
        if _is_tiff(path):
            return tiff.read_layout(path).header
        with _open_picture(path) as image:
            width, height = image.size
            # Image's own method: that of PNG would decode every pixel in search of a tag behind them.
            exif = image.getexif() if is_turned_late(path) else Image.Image.getexif(image)
            orientation = exif.get(ORIENTATION)
    if orientation in SIDEWAYS:
        return Header((width, height))
    return Header((height, width))


def bit_depth(path: Path) -> int:
    """Bits of one intensity: 8 (also 1-bit files and palettes), 16, 32 or 64. Raises ImageError."""
    with _tell_faults(path):
        if _is_tiff(path):
            return tiff.read_layout(path).bits
        header = read_png_header(path)
        if header:
            return max(8, header.bits)
        with _open_picture(path):
            return 8


def write_mask(path: Path, mask: np.ndarray, colours: Sequence[Sequence[int]] = ()) -> None:
    """Write [H, W] label values (0..65535) as a gray PNG: 8-bit where they fit, else 16-bit.

    With `colours` (red, green, blue of each value 0..C-1, at most 256) the PNG has a palette: its indices are the
    values, its colours are these.
    """
    values = np.asarray(mask)
    least = values.min(initial=0)
    greatest = values.max(initial=0)
    highest = len(colours) - 1 if colours else MAX_LABEL
    if values.ndim != 2 or least < 0 or greatest > highest:
        raise ValueError(f"expected a [H, W] mask with values 0..{highest}, found shape {values.shape}")
    kind = np.uint8 if greatest <= 255 else np.uint16
    picture = Image.fromarray(values.astype(kind))
    if colours:
        parts = itertools.chain.from_iterable(colours)
        picture.putpalette(list(parts))
    picture.save(path, format="PNG")


@contextmanager
def _tell_faults(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into an ImageError."""
    try:
        require_short(path)
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        message = f"has more than {MAX_PIXELS / 1e6:.0f} million pixels; scale it down"
        raise ImageError("too_large", message) from error
    except Exception as error:  # a damaged file makes the decoders raise a dozen different types
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        expected = ", ".join(EXTENSIONS)
        message = f"cannot be read as an image ({reason}); expected one of {expected}"
        raise ImageError("unreadable", message) from error


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(TIFF_STARTS)


@contextmanager
def _open_picture(path: Path) -> Iterator[Image.Image]:
    with path.open("rb") as file:
        if file.read(2) == JPEG_START:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                require_readable_frame(content)
                require_few_scans(content, whole=True)
    with Image.open(path, formats=FORMATS) as image:
        frames: int = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in OF_SEVERAL_FRAMES:
            raise ImageError("unreadable", f"holds {frames} frames; expected one image a file, split it")
        yield image


def _read_pages(path: Path, values_of: Callable[[Page], np.ndarray]) -> np.ndarray:
    with _tell_faults(path):
        if _is_tiff(path):
            arrays = [values_of(page) for page in _read_tiff_pages(path)]
        else:
            arrays = [values_of(_read_only_page(path))]
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)


def _read_tiff_pages(path: Path) -> Iterator[Page]:
    """The slices of a volume, or the one page of a picture."""
    layout = tiff.read_layout(path)
    if layout.by_tifffile:
        for values in tiff.read_pages(path, layout):
            yield Page(values, layout.stored_bits, layout.white_is_zero)
        return
    count = len(layout.indices)
    with _open_picture(path) as image:
        for index in layout.indices:
            image.seek(index)
            pixels = _load_page(image, count)
            yield Page(pixels, layout.stored_bits, layout.white_is_zero)


def _read_only_page(path: Path) -> Page:
    header = read_png_header(path)
    with _open_picture(path) as image:
        if header and header.deep:
            stored = read_deep_png(path, header)
            orientation = image.getexif().get(ORIENTATION)
            return Page(upright(stored, orientation), header.bits)
        bits = header.bits if header else 8
        pixels = _load_page(image, 1)
        return Page(pixels, bits, lossy=image.format in LOSSY)


def _load_page(image: Image.Image, count: int) -> Image.Image:
    """One of so many pages, in memory and upright."""
    has_palette = image.mode in ("P", "PA")
    channels = 3 if has_palette else len(image.getbands())
    bounded((count, *image.size, channels))
    image.load()  # before the next line: on loading, Pillow itself turns a TIFF and drops its tag
    return ImageOps.exif_transpose(image)
