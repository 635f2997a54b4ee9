"""Why a TIFF page is refused: its samples, its colours, or how it is stored."""

from typing import TYPE_CHECKING

from genseg_betty.data.formats.common import ImageError
from genseg_betty.data.formats.orientation import SIDEWAYS
from genseg_betty.data.formats.tiff_readers import is_for_tifffile, suits_pillow, suits_tifffile
from genseg_betty.data.formats.tiff_tags import (
    ALPHA,
    BLACK_IS_ZERO,
    DEFLATE,
    HORIZONTAL,
    JPEG,
    METAMORPH_PLANES,
    MULTIPLIED,
    NO_PREDICTOR,
    PACKBITS,
    PALETTE,
    PHOTOMETRIC,
    RGB,
    UNCOMPRESSED,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
    orientation_of,
)

if TYPE_CHECKING:
    from tifffile import TiffPage

# Samples of a pixel without alpha, by PhotometricInterpretation.
COLOURS = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    YCBCR: 3,
}
COLOUR_STEP = 256  # by which a colour of 16 bits differs from the next one of 8
EXPECTED = "expected gray or RGB, save it as RGB"


def require_readable(page: "TiffPage") -> None:
    """Raise ImageError for a page that no reader gives as it is stored."""
    for find_fault in (_find_fault_of_samples, _find_fault_of_colour, _find_fault_of_storage):
        fault = find_fault(page)
        if fault:
            raise ImageError("unreadable", fault)


def _find_fault_of_samples(page: "TiffPage") -> str:
    """What is wrong about the numbers of a pixel: their bits, their number."""
    if not isinstance(page.bitspersample, int):
        return f"holds channels of {page.bitspersample} bits; expected one depth, save it with 8 or 16"
    if PHOTOMETRIC not in page.tags:
        return "does not state its PhotometricInterpretation; expected a TIFF that does, save it anew"
    if page.photometric not in COLOURS:
        return f"is a TIFF in colours of the kind {_show_name(page.photometric)}; {EXPECTED}"
    extra = page.samplesperpixel - COLOURS[page.photometric]
    if extra == 0:
        return ""
    has_alpha = extra == 1 and _marks_alpha(page)
    if not has_alpha:
        expected = "expected one (gray), three (RGB), or one more that is marked as alpha"
        return f"holds {page.samplesperpixel} channels; {expected}: save those that you need"
    if page.extrasamples[0] == MULTIPLIED and is_for_tifffile(page):
        return "holds colours multiplied by their transparency; expected colours alone, save it without alpha"
    return ""


def _marks_alpha(page: "TiffPage") -> bool:
    """Whether there is one channel beside the colours, and it is transparency."""
    return len(page.extrasamples) == 1 and page.extrasamples[0] in ALPHA


def _find_fault_of_colour(page: "TiffPage") -> str:
    """What is wrong about how the numbers stand for gray or colour."""
    is_unsigned = page.sampleformat == UNSIGNED
    if page.photometric == YCBCR and page.compression not in JPEG:
        return f"is a TIFF in YCbCr without JPEG compression; {EXPECTED}"
    if page.photometric == WHITE_IS_ZERO and not is_unsigned:
        return "is a TIFF whose white is 0 and whose values are signed or floating point; expected black at 0"
    if page.photometric != PALETTE:
        return ""
    if page.bitspersample > 8 or not is_unsigned:
        return f"is a TIFF with a palette for values of {page.bitspersample} bits; {EXPECTED}"
    if _has_dark_palette(page):
        found = "is a TIFF whose palette has colours of 8 bits, and the format says 16, so that all are black"
        return f"{found}; {EXPECTED}"
    return ""


def _has_dark_palette(page: "TiffPage") -> bool:
    """Whether the colours of a palette, which are numbers of 16 bits, lie within 8: a fault of old programs."""
    return page.colormap is not None and 0 < page.colormap.max() < COLOUR_STEP


def _find_fault_of_storage(page: "TiffPage") -> str:
    """What is wrong about how the numbers are stored, where Pillow does not give them as they are."""
    depth = _count_slices(page)
    if depth > 1:
        return f"holds {depth} slices in one page; expected a page a slice, or NIfTI: save it so, as ImageJ does"
    if page.predictor != NO_PREDICTOR and page.compression in (UNCOMPRESSED, PACKBITS):
        return "states a predictor, which readers apply or ignore where nothing else compresses it; save it anew"
    if orientation_of(page) in SIDEWAYS:
        return "is a TIFF turned by its orientation tag; save it upright"
    if suits_pillow(page) or suits_tifffile(page):
        return ""

    # No reader gives these values: say what keeps them from it, their type or their compression.
    kind = f"holds values of {page.bitspersample} bits in {page.samplesperpixel} channels"
    is_compression_known = page.compression in (UNCOMPRESSED, *DEFLATE)
    is_predictor_known = page.predictor in (NO_PREDICTOR, HORIZONTAL)
    if is_compression_known and is_predictor_known:
        found = f"{kind} and of the kind {_show_name(page.sampleformat)}"
        return f"{found}; expected whole numbers of 8 or 16 bits, save it so"
    packed = f"compressed by {_show_name(page.compression)}, predictor {_show_name(page.predictor)}"
    return f"{kind}, {packed}; expected such values uncompressed or by deflate (ZIP), save it so"


def _count_slices(page: "TiffPage") -> int:
    """How many slices lie in one page."""
    planes = page.tags.get(METAMORPH_PLANES)
    if planes is None:
        return max(page.imagedepth, 1)
    return max(page.imagedepth, planes.count)


def _show_name(value: object) -> str:
    return str(getattr(value, "name", value))
