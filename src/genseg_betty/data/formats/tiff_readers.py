"""Which library reads a TIFF page as it is stored."""

from typing import TYPE_CHECKING

from genseg_betty.data.formats.tiff_tags import (
    BLACK_IS_ZERO,
    DEFLATE,
    FLOAT,
    HORIZONTAL,
    NO_PREDICTOR,
    PALETTE,
    SIGNED,
    UNCOMPRESSED,
    UNSIGNED,
    YCBCR,
    is_of_bytes,
)

if TYPE_CHECKING:
    from tifffile import TiffPage

WHOLE_BYTES = (8, 16, 32, 64)  # bits of a sample
# SampleFormat and bits of gray pages of more than 8 bits.
DEEP_BY_PILLOW = ((UNSIGNED, 16),)
LITTLE_ENDIAN_BY_PILLOW = ((UNSIGNED, 12), (SIGNED, 16), (SIGNED, 32), (FLOAT, 32))


def suits_tifffile(page: "TiffPage") -> bool:
    """Whether tifffile reads the page without further packages."""
    if page.dtype is None or page.dtype.kind not in "uif":
        return False
    if page.bitspersample not in WHOLE_BYTES:
        return False
    if page.photometric in (PALETTE, YCBCR):
        return False
    if page.compression in DEFLATE:
        return page.predictor in (NO_PREDICTOR, HORIZONTAL)
    return page.compression == UNCOMPRESSED


def suits_pillow(page: "TiffPage") -> bool:
    """Whether Pillow gives the values as they are stored.

    It does for unsigned values of up to 8 bits, and for deeper gray ones, also in compressions that tifffile cannot
    unpack. It would swap the bytes of big-endian values other than unsigned ones of 16 bits.
    """
    is_little_endian = page.parent.byteorder == "<"
    if page.parent.is_bigtiff and not is_little_endian:
        return False
    if is_of_bytes(page):
        return True
    is_gray = page.samplesperpixel == 1 and page.photometric == BLACK_IS_ZERO
    if not is_gray:
        return False
    kind = (page.sampleformat, page.bitspersample)
    if kind in DEEP_BY_PILLOW:
        return True
    return is_little_endian and kind in LITTLE_ENDIAN_BY_PILLOW


def is_for_tifffile(page: "TiffPage") -> bool:
    """Whether tifffile is to read a page: whatever it can, but pictures of 8 bits, which Pillow reads as well."""
    if not suits_tifffile(page):
        return False
    return not (is_of_bytes(page) and suits_pillow(page))
