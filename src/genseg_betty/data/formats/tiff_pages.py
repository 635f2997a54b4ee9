"""Which pages of a TIFF are read, by which library, and which are refused with what is wrong about them.

Tags: TIFF Revision 6.0 (Adobe, 1992), https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
Hyperstacks: their descriptions, by ImageJ (https://imagej.net) and OME (https://docs.openmicroscopy.org/ome-model)
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.orientation import ORIENTATION, SIDEWAYS

if TYPE_CHECKING:
    from tifffile import TiffPage

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6  # PhotometricInterpretation, tag 262
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, YCBCR: 3}  # samples of a pixel without alpha
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # SampleFormat
UNCOMPRESSED, PACKBITS, JPEG, DEFLATE = 1, 32773, (6, 7), (8, 32946)  # Compression
NO_PREDICTOR, HORIZONTAL = 1, 2  # Predictor
WHOLE_BYTES = (8, 16, 32, 64)  # bits of a sample
SEPARATE = 2  # PlanarConfiguration
MULTIPLIED, ALPHA = 1, (1, 2)  # ExtraSamples: transparency that colours were multiplied by, or any
NO_SLICE = 0b101  # NewSubfileType: a page of reduced resolution, or a transparency mask
METAMORPH_PLANES = 33629  # UIC2: as many values as planes lie in one page of a MetaMorph stack
COLOUR_STEP = 256  # by which a colour of 16 bits differs from the next one of 8
SIGNED_BITS = 16  # at least, of intensities that may lie outside of 0..255
# SampleFormat and bits of gray pages of more than 8 bits.
DEEP_BY_PILLOW = ((UNSIGNED, 16),)
LITTLE_ENDIAN_BY_PILLOW = ((UNSIGNED, 12), (SIGNED, 16), (SIGNED, 32), (FLOAT, 32))
COUNTS_OF_IMAGEJ = tuple(rf"(?m)^{name}=(\d{{1,9}})" for name in ("images", "channels", "frames"))
EXPECTED = "expected gray or RGB, save it as RGB"


def shows_a_slice(page: "TiffPage") -> bool:
    """Whether a page is a picture of its own, no reduced copy of another."""
    return not page.subfiletype & NO_SLICE


def orientation_of(page: "TiffPage") -> int:
    """1 is upright."""
    return int(page.tags.valueof(ORIENTATION, default=1))


def suits_tifffile(page: "TiffPage") -> bool:
    """Whether tifffile reads the page without further packages."""
    if page.dtype is None or page.dtype.kind not in "uif" or page.bitspersample not in WHOLE_BYTES:
        return False
    if page.photometric in (PALETTE, YCBCR):
        return False
    if page.compression in DEFLATE:
        return page.predictor in (NO_PREDICTOR, HORIZONTAL)
    return page.compression == UNCOMPRESSED


def suits_pillow(page: "TiffPage") -> bool:
    """Whether Pillow gives the values as they are stored.

    It does for unsigned ones of up to 8 bits, and for gray ones of more that are packed as tifffile cannot unpack
    them. Of big-endian ones it would swap the bytes of all but unsigned 16 bits.
    """
    little_endian = page.parent.byteorder == "<"
    if page.parent.is_bigtiff and not little_endian:
        return False
    kind = (page.sampleformat, page.bitspersample)
    if page.sampleformat == UNSIGNED and page.bitspersample <= 8:
        return True
    gray = page.samplesperpixel == 1 and page.photometric == BLACK_IS_ZERO
    return gray and (kind in DEEP_BY_PILLOW or (little_endian and kind in LITTLE_ENDIAN_BY_PILLOW))


def is_for_tifffile(page: "TiffPage") -> bool:
    """Whether tifffile is to read a page: whatever it can, but pictures of 8 bits, which Pillow reads as well."""
    plain = page.sampleformat == UNSIGNED and page.bitspersample <= 8
    return suits_tifffile(page) and not (plain and suits_pillow(page))


def require_readable(page: "TiffPage") -> None:
    """Raise ImageError for a page that no reader gives as it is stored."""
    fault = _fault_of_samples(page) or _fault_of_colour(page) or _fault_of_storage(page)
    if fault:
        raise ImageError("unreadable", fault)


def _fault_of_samples(page: "TiffPage") -> str:
    """What is wrong about the numbers of a pixel: their bits, their number."""
    if not isinstance(page.bitspersample, int):
        return f"holds channels of {page.bitspersample} bits; expected one depth, save it with 8 or 16"
    if 262 not in page.tags:
        return "does not state its PhotometricInterpretation; expected a TIFF that does, save it anew"
    if page.photometric not in COLOURS:
        return f"is a TIFF in colours of the kind {_show_name(page.photometric)}; {EXPECTED}"
    extra = page.samplesperpixel - COLOURS[page.photometric]
    has_alpha = extra == 1 and _marks_alpha(page)
    if extra and not has_alpha:
        expected = "expected one (gray), three (RGB), or one more that is marked as alpha"
        return f"holds {page.samplesperpixel} channels; {expected}: save those that you need"
    if has_alpha and page.extrasamples[0] == MULTIPLIED and is_for_tifffile(page):
        return "holds colours multiplied by their transparency; expected colours alone, save it without alpha"
    return ""


def _marks_alpha(page: "TiffPage") -> bool:
    """Whether there is one channel beside the colours, and it is transparency."""
    return len(page.extrasamples) == 1 and page.extrasamples[0] in ALPHA


def _fault_of_colour(page: "TiffPage") -> str:
    if page.photometric == YCBCR and page.compression not in JPEG:
        return f"is a TIFF in YCbCr without JPEG compression; {EXPECTED}"
    if page.photometric == WHITE_IS_ZERO and page.sampleformat != UNSIGNED:
        return "is a TIFF whose white is 0 and whose values are signed or floating point; expected black at 0"
    if page.photometric == PALETTE and (page.bitspersample > 8 or page.sampleformat != UNSIGNED):
        return f"is a TIFF with a palette for values of {page.bitspersample} bits; {EXPECTED}"
    if page.photometric == PALETTE and _has_dark_palette(page):
        return (
            f"is a TIFF whose palette has colours of 8 bits, and the format says 16, so that all are black; {EXPECTED}"
        )
    return ""


def _has_dark_palette(page: "TiffPage") -> bool:
    """Whether the colours of a palette, which are numbers of 16 bits, lie within 8: a fault of old programs."""
    return page.colormap is not None and 0 < page.colormap.max() < COLOUR_STEP


def _fault_of_storage(page: "TiffPage") -> str:
    """What is wrong about how the numbers are stored, where Pillow does not give them as they are."""
    planes = page.tags.get(METAMORPH_PLANES)
    depth = max(page.imagedepth, planes.count if planes is not None else 1)
    if depth > 1:
        return f"holds {depth} slices in one page; expected a page a slice, or NIfTI: save it so, as ImageJ does"
    if page.predictor != NO_PREDICTOR and page.compression in (UNCOMPRESSED, PACKBITS):
        return "states a predictor, which readers apply or ignore where nothing else compresses it; save it anew"
    if orientation_of(page) in SIDEWAYS:
        return "is a TIFF turned by its orientation tag; save it upright"
    if suits_pillow(page) or suits_tifffile(page):
        return ""
    kind = f"holds values of {page.bitspersample} bits in {page.samplesperpixel} channels"
    if page.compression in (UNCOMPRESSED, *DEFLATE) and page.predictor in (NO_PREDICTOR, HORIZONTAL):
        found = f"{kind} and of the kind {_show_name(page.sampleformat)}"
        return f"{found}; expected whole numbers of 8 or 16 bits, save it so"
    packed = f"compressed by {_show_name(page.compression)}, predictor {_show_name(page.predictor)}"
    return f"{kind}, {packed}; expected such values uncompressed or by deflate (ZIP), save it so"


def _show_name(value: object) -> str:
    return str(getattr(value, "name", value))


def require_alike(pages: Sequence["TiffPage"]) -> None:
    """Raise ImageError unless all pages have one size and one kind of values."""
    sizes = {f"{page.imagelength} x {page.imagewidth}" for page in pages}
    if len(sizes) > 1:
        found = ", ".join(sorted(sizes))
        raise ImageError("unreadable", f"holds pages of different sizes ({found}); expected one size")
    kinds = {(page.photometric, page.sampleformat, page.bitspersample, page.samplesperpixel) for page in pages}
    if len(kinds) > 1 or len({is_for_tifffile(page) for page in pages}) > 1:
        message = "holds pages of several kinds of colour, depth or compression; expected one kind, save each to a file"
        raise ImageError("unreadable", message)


def require_one_stack(description: str, pages: Sequence["TiffPage"]) -> None:
    """Raise ImageError where pages are channels or points in time, or where slices lie behind the last page.

    ImageJ and OME write down in the first page's description what the pages stand for.
    """
    if description.startswith("ImageJ="):
        series = 1
        images, channels, times = (_find_greatest(pattern, description) for pattern in COUNTS_OF_IMAGEJ)
        if images > len(pages):
            message = f"holds {images} slices behind {len(pages)} page; expected a page a slice, or NIfTI"
            raise ImageError("unreadable", f"{message}: save it so, as ImageJ does with less than 4 GB")
    elif "<OME" in description:
        series = description.count("<Image ")
        channels = _find_greatest(r'SizeC="(\d{1,9})"', description) // pages[0].samplesperpixel
        times = _find_greatest(r'SizeT="(\d{1,9})"', description)
    else:
        return
    if len(pages) > 1 and max(series, channels, times) > 1:
        found = f"{series} pictures, {channels} channels and {times} points in time"
        message = f"holds {len(pages)} pages of {found}; expected the slices of one channel at one time, split it"
        raise ImageError("unreadable", f"{message} as ImageJ or Bio-Formats does")


def _find_greatest(pattern: str, text: str) -> int:
    """The greatest number in the text that fits the pattern; 1 where there is none."""
    return max((int(found) for found in re.findall(pattern, text)), default=1)
