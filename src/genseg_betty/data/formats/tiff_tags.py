"""The tags of a TIFF page that are looked at, by the names that the standard gives their values.

Tags: TIFF Revision 6.0 (Adobe, 1992), https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
"""

from typing import TYPE_CHECKING

from genseg_betty.data.formats.orientation import ORIENTATION

if TYPE_CHECKING:
    from tifffile import TiffPage

# PhotometricInterpretation.
PHOTOMETRIC = 262
WHITE_IS_ZERO = 0
BLACK_IS_ZERO = 1
RGB = 2
PALETTE = 3
YCBCR = 6
# SampleFormat.
UNSIGNED = 1
SIGNED = 2
FLOAT = 3
# Compression.
UNCOMPRESSED = 1
PACKBITS = 32773
JPEG = (6, 7)
DEFLATE = (8, 32946)
# Predictor.
NO_PREDICTOR = 1
HORIZONTAL = 2
# PlanarConfiguration.
SEPARATE = 2
# ExtraSamples: transparency that colours were multiplied by, or any.
MULTIPLIED = 1
ALPHA = (1, 2)
# NewSubfileType: a page of reduced resolution, or a transparency mask.
NO_SLICE = 0b101
# UIC2: as many values as planes lie in one page of a MetaMorph stack.
METAMORPH_PLANES = 33629


def shows_a_slice(page: "TiffPage") -> bool:
    """Whether a page is a picture of its own, no reduced copy of another."""
    return not page.subfiletype & NO_SLICE


def orientation_of(page: "TiffPage") -> int:
    """1 is upright."""
    stated = page.tags.valueof(ORIENTATION, default=1)
    return int(stated)


def is_of_bytes(page: "TiffPage") -> bool:
    """Whether the values of a page are unsigned and have up to 8 bits."""
    return page.sampleformat == UNSIGNED and page.bitspersample <= 8
